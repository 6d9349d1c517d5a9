"""Keys, values and files of the map."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub.utils import url_escape_path

from services.edge.config import default_max_connections, default_threads, runtime_path
from services.edge.errors import BadRoute
from services.edge.maps import (
    Route,
    Target,
    journal_line,
    journal_text,
    key_of,
    load_routes,
    map_text,
    routespec_of,
    split_target,
)
from spawners.common.files import write_whole

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1
)


@given(names, names)
def test_a_key_is_one_safe_word_and_leads_back(user, server):
    spec = f"/user/{url_escape_path(user)}/{url_escape_path(server)}/"
    key = key_of(spec)
    assert key.isascii()
    assert not set(key) & set(" \t\r\n;\\#|")
    assert routespec_of(key) == spec


@given(names, names)
def test_two_names_never_share_a_key(one, other):
    keys = {key_of(f"/user/{url_escape_path(name)}/") for name in (one, other)}
    assert len(keys) == len({one, other})


@given(names)
def test_no_key_is_the_beginning_of_another_users(name):
    key = key_of(f"/user/{url_escape_path(name)}/")
    assert not key_of(f"/user/{url_escape_path(name + 'x')}/").startswith(key)


def test_an_encoded_slash_is_not_a_slash():
    assert key_of("/user%2Falice/") == "%2Fuser%00alice%2F"
    assert routespec_of("%2Fuser%00alice%2F") == "/user%2Falice/"


@pytest.mark.parametrize("spec", ["/user/alice", "", "/user/a%0Ab/", "/a%00/"])
def test_a_routespec_that_is_none_is_refused(spec):
    with pytest.raises(BadRoute):
        key_of(spec)


@pytest.mark.parametrize(
    "target",
    [
        Target("10.0.0.7", 41234, "j-1.landbridge.internal"),
        Target("fe80::1", 1024),
        Target("127.0.0.1", 65535),
    ],
)
def test_a_value_leads_back_to_its_target(target):
    assert Target.from_value(target.value) == target


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [
        ("0.0.0.0", 1, None),
        ("::", 1, None),
        ("224.0.0.1", 1, None),
        ("host", 1, None),
        ("1.2.3.4|5", 1, None),
        ("1.2.3.4", 0, None),
        ("1.2.3.4", 65536, None),
        ("1.2.3.4", 1, ""),
        ("1.2.3.4", 1, "-"),
        ("1.2.3.4", 1, "10.0.0.1"),
        ("1.2.3.4", 1, "a b"),
        ("1.2.3.4", 1, "A.example"),
        ("1.2.3.4", 1, "*.example"),
        ("1.2.3.4", 1, "a..b"),
        ("1.2.3.4", 1, "a|b"),
        ("1.2.3.4", 1, "a\n"),
    ],
)
def test_a_target_that_nobody_can_prove_or_reach_is_refused(address, port, name):
    with pytest.raises(BadRoute):
        Target(address, port, name)


def test_a_target_url_is_a_scheme_a_host_and_a_port():
    assert split_target("https://J-1.landbridge.internal:8/") == (
        "https",
        "j-1.landbridge.internal",
        8,
    )
    assert split_target("http://[::1]:8888") == ("http", "::1", 8888)


def test_routes_survive_the_file_and_a_torn_file_is_known_as_one(directory):
    path = directory / "routes.json"
    route = Route("/user/a/", "http://1.2.3.4:5", Target("1.2.3.4", 5), {"user": "a"})
    hub = Route("/", "http://hub:1", None, {"hub": True})
    text = journal_text(map(journal_line, [route, hub])).decode()
    write_whole(path, text)
    assert load_routes(path) == [route, hub]
    for damaged in (text[:-3], text.replace("1.2.3.4", "6.6.6.6"), "", "[]", "null"):
        write_whole(path, damaged)
        assert load_routes(path) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(directory):
    path = directory / "routes.map"
    write_whole(path, map_text({"b": "2", "a": "1"}))
    assert path.read_text() == "a 1\nb 2\n"
    with pytest.raises(TypeError):
        write_whole(path, 5)
    assert [one.name for one in directory.iterdir()] == ["routes.map"]


def test_a_long_directory_gets_a_short_socket_of_its_own(directory):
    assert runtime_path(directory) == directory / "runtime.sock"
    path = runtime_path(directory / ("x" * 100))
    assert len(str(path)) < 90
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path == runtime_path(directory / ("x" * 100))
    path.parent.rmdir()


def test_defaults_fit_this_machine():
    assert 1 <= default_threads() <= 4
    assert 100 <= default_max_connections() <= 20_000
