"""Names: of buckets from users, and of files from keys; never two for one."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.common.web.errors import Forbidden, NotThere
from services.storage.access.rights import (
    Right,
    bucket_word,
    group_bucket,
    own_bucket_name,
    require,
    require_owner,
    site_rights,
    user_bucket,
)
from services.storage.api.downloads import attachment, file_name, reachable
from services.storage.s3.values import Grant, Mode
from services.storage.settings import BucketRule, StorageSettings

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
USERS = st.text(min_size=1, max_size=60) | st.from_regex(
    r"[a-z][a-z0-9-]{0,40}", fullmatch=True
)


@given(USERS, USERS)
def test_two_users_never_have_one_bucket(one, other):
    settings = StorageSettings()
    first, second = user_bucket(settings, one), user_bucket(settings, other)
    assert BUCKET.fullmatch(first)
    assert (first == second) == (one == other)


@given(
    USERS, USERS, st.from_regex(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", fullmatch=True)
)
def test_no_bucket_that_a_user_makes_is_anothers(one, other, name):
    made = own_bucket_name(one, name)
    assert BUCKET.fullmatch(made)
    assert made != bucket_word(other)
    if one != other:
        assert not made.startswith(f"{bucket_word(other)}--")


@given(st.text(max_size=200))
def test_a_downloads_name_is_harmless(key):
    name = file_name(key)
    assert name
    assert not set(name) & set('/\\<>:"|?*;')
    assert not name.startswith(".")
    assert all(not unicodedata.category(char).startswith("C") for char in name)
    header = attachment(key)
    assert header.isascii()
    assert "\n" not in header
    plain, encoded = re.fullmatch(
        r"attachment; filename=\"([^\"\\]*)\"; filename\*=UTF-8''(\S*)", header
    ).groups()
    assert plain
    assert unquote(encoded) == name


@pytest.mark.parametrize(
    ("key", "can"),
    [
        ("a/b", True),
        ("a..b/..c", True),
        ("a//b", True),
        ("..", False),
        ("a/./b", False),
        ("a/..", False),
        ("a\\..\\b", False),
        ("a/..;x", False),
    ],
)
def test_which_names_a_browser_can_ask_for(key, can):
    assert reachable(key) is can


SITE = StorageSettings(
    group_bucket="group-{group}",
    buckets=(
        BucketRule(bucket="sets", prefix="open/", users=frozenset({"*"})),
        BucketRule(bucket="lab", groups=frozenset({"crew"}), mode="read-write"),
    ),
)


@pytest.mark.parametrize("user", ["group-crew", "sets", "lab", "landbridge-probe"])
def test_a_users_name_gives_nobody_a_bucket_that_is_there_for_others(user):
    (own, *_) = site_rights(SITE, user, [])
    assert own.bucket.startswith("x--")
    assert user_bucket(SITE, "crew") == "crew"


@given(USERS, USERS)
def test_no_users_bucket_is_a_groups(user, group):
    assert user_bucket(SITE, user) != group_bucket(SITE, group)


@pytest.mark.parametrize("pattern", ["{group}", "{group}--x", "group", "G-{group}"])
def test_a_pattern_that_cannot_keep_them_apart_is_refused(pattern):
    with pytest.raises(ValidationError):
        StorageSettings(group_bucket=pattern)


def test_the_settings_give_own_group_and_site_buckets():
    rights = site_rights(SITE, "alice", ["crew"])
    assert [(r.bucket, r.prefix, r.mode.value, r.why) for r in rights] == [
        ("alice", "", "read-write", "own"),
        ("group-crew", "", "read-write", "group"),
        ("sets", "open/", "read", "site"),
        ("lab", "", "read-write", "site"),
    ]


def test_a_right_covers_what_is_under_it_and_nothing_else():
    rights = site_rights(SITE, "alice", [])
    assert require(rights, Grant("sets", "open/x", Mode.READ)).why == "site"
    for grant in (
        Grant("sets", "", Mode.READ),
        Grant("sets", "ope", Mode.READ),
        Grant("sets", "open/x", Mode.READ_WRITE),
    ):
        with pytest.raises(Forbidden):
            require(rights, grant)
    for bucket in ("lab", "bob", "Alice"):
        with pytest.raises(NotThere):
            require(rights, Grant(bucket, "", Mode.READ))


def test_only_the_owner_owns():
    shared = Right("bob", "", Mode.READ_WRITE, "share", owner="bob", share="1")
    rights = [*site_rights(SITE, "alice", ["crew"]), shared]
    assert require_owner(rights, "alice").bucket == "alice"
    for bucket in ("bob", "lab", "group-crew"):
        with pytest.raises(Forbidden):
            require_owner(rights, bucket)
