"""Where a browser may be sent on to, and which cookies are no longer ours."""

from __future__ import annotations

import pytest

from hub.sessions.planted_cookies import beginnings
from hub.sessions.visits import owner_of


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("/user/bob/", "bob"),
        ("/user/bob", "bob"),
        ("/user/bob/lab?x=/../y&z=//evil.example", "bob"),
        ("/user/zo%C3%A9%40x/lab", "zoé@x"),
        ("/%75ser/bob/", "bob"),
        ("/user/a%2Fb/", "a/b"),
    ],
)
def test_the_owner_is_in_the_address(address: str, owner: str) -> None:
    assert owner_of(address, "/") == owner
    assert owner_of(f"/hub/x{address}", "/hub/x/") == owner


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "/user/",
        "/user//bob",
        "/hub/home",
        "//evil.example/user/bob/",
        "///user/bob/",
        "https://evil.example/user/bob/",
        "javascript:alert(1)//user/bob/",
        "/\\evil.example/user/bob/",
        "/user/bob/\\..\\..",
        "/user/bob/../../hub/home",
        "/user/bob/%2e%2e/%2E%2E/hub",
        "/user/./bob/",
        "/user/bob/ x",
        "/user/bob/\tx",
        "/user/bob/\nx",
        "/user/bob/#x",
        "user/bob/",
        "/services/user/bob/",
    ],
)
def test_nothing_else_is_gone_on_to(address: str) -> None:
    assert owner_of(address, "/") is None


def test_every_path_whose_cookies_are_sent_is_thought_of() -> None:
    assert list(beginnings("/user/zo%C3%A9/a;b\r?x")) == [
        "/",
        "/user",
        "/user/",
        "/user/zo%C3%A9",
        "/user/zo%C3%A9/",
        "/user/zo%C3%A9/a%3Bb%0D",
        "/user/zo%C3%A9/a%3Bb%0D/",
    ]
