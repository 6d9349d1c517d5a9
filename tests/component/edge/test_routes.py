"""Routing: which request reaches whom, and when."""

from __future__ import annotations

import pytest

from services.edge.errors import BadRoute


async def test_a_route_counts_as_soon_as_add_route_returns(make_edge, make_origin):
    edge = await make_edge()
    alice = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", alice.url, {"user": "alice"})
    assert await edge.origin_of("/user/alice/lab") == "alice"
    await edge.proxy.delete_route("/user/alice/")
    assert await edge.origin_of("/user/alice/lab") == "hub"


async def test_the_longest_prefix_wins_at_a_slash(make_edge, make_origin):
    edge = await make_edge()
    specs = ["/user/a/", "/user/alice/", "/user/al/", "/user/alice/named/", "/user/"]
    for spec in specs:
        origin = await make_origin(spec)
        await edge.proxy.add_route(spec, origin.url, {})
    for path, spec in {
        "/user/al/lab": "/user/al/",
        "/user/al": "/user/al/",
        "/user/alice": "/user/alice/",
        "/user/alice/namedx/": "/user/alice/",
        "/user/alice/named": "/user/alice/named/",
        "/user/alice/named/api?x=/user/a/": "/user/alice/named/",
        "/user/alicia/": "/user/",
        "/users/": "hub",
        "/": "hub",
        "//user/alice/": "hub",
    }.items():
        assert await edge.origin_of(path) == spec, path


async def test_a_changed_target_replaces_the_old_one(make_edge, make_origin):
    edge = await make_edge()
    for name in ("one", "two", "three"):
        origin = await make_origin(name)
        await edge.proxy.add_route("/user/alice/", origin.url, {})
        assert await edge.origin_of("/user/alice/") == name
    routes = await edge.proxy.get_all_routes()
    assert list(routes) == ["/user/alice/"]


async def test_deleting_a_route_that_is_not_there_is_no_error(make_edge):
    edge = await make_edge()
    await edge.proxy.delete_route("/user/nobody/")


@pytest.mark.parametrize(
    "target",
    [
        "ftp://127.0.0.1:80",
        "http+unix://%2Ftmp%2Fx.sock",
        "http://0.0.0.0:80",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:80/path",
        "https://127.0.0.1:80",
        "http://user@127.0.0.1:80",
        "http://no-such-host.invalid:80",
    ],
)
async def test_a_target_that_we_may_not_reach_is_refused(make_edge, target):
    edge = await make_edge()
    with pytest.raises(BadRoute):
        await edge.proxy.add_route("/user/alice/", target, {})
    assert await edge.proxy.get_all_routes() == {}
