"""Cookies that a page planted beside the hub's: which counts, which is forgotten."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from hub.sessions.planted_cookies import forget_planted
from hub.sessions.signed_in import SETTING, SignedIn

_ID = "jupyterhub-session-id"


class Recorder:
    """A handler that remembers the headers of its answer."""

    def __init__(self, host: str) -> None:
        self.request = SimpleNamespace(host=host)
        self.gone: set[str] = set()

    def add_header(self, name: str, value: str) -> None:
        assert name == "Set-Cookie"
        assert value.startswith("x=; Max-Age=0; ")
        self.gone.add(value.removeprefix("x=; Max-Age=0; "))


@pytest.mark.parametrize("host", ["lab.hub.example.org", "lab.hub.example.org:8000"])
def test_also_those_of_the_domains_above_are_forgotten(host):
    """A host beside the hub's can plant cookies there, if nowhere else."""
    handler: Any = Recorder(host)
    forget_planted(handler, "x", "/hub/home", "/")
    above = {
        f"Path={path}; Domain={domain}"
        for path in ("/", "/hub", "/hub/", "/hub/home", "/hub/home/")
        for domain in ("hub.example.org", "example.org")
    }
    assert above <= handler.gone
    assert "Path=/hub/; Domain=lab.hub.example.org" in handler.gone
    # The hub's own is kept, and nothing is said of a domain that is everybody's.
    assert not {"Path=/", "Path=/; Domain=lab.hub.example.org"} & handler.gone
    assert not any(gone.endswith("Domain=org") for gone in handler.gone)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_an_address_has_no_domain_above(host):
    handler: Any = Recorder(host)
    forget_planted(handler, "x", "/hub/home", "/")
    domains = {gone.partition("Domain=")[2] for gone in handler.gone}
    assert domains <= {"", "localhost"}


_LIVE = {"a" * 32: "alice", "b" * 32: "bob"}


class Sessions:
    """Two that live: alice's and bob's."""

    def find(self, session_id: str, user: str | None = None) -> Any:
        found = _LIVE.get(session_id)
        return found if found and user in (None, found) else None


class Behind:
    """As much of JupyterHub's handler as decides here."""

    def get_session_cookie(self) -> str:
        return "whatever comes last"

    def _user_for_cookie(self, name: str, value: Any = None) -> Any:
        return SimpleNamespace(name="alice")


def session_of(cookies: list[str], login: str) -> str | None:
    class Handler(SignedIn, Behind):
        """The hub's, with a request that brings these cookies."""

    handler = Handler()
    handler.settings = {SETTING: Sessions()}
    handler.hub = SimpleNamespace(cookie_name=login)
    sent = "; ".join(f"{_ID}={cookie}" for cookie in cookies)
    handler.request = SimpleNamespace(headers=HTTPHeaders({"Cookie": sent}))
    return handler.get_session_cookie()


def test_of_two_that_live_the_one_of_whom_a_bound_cookie_names_counts():
    alice, bob = "a" * 32, "b" * 32
    for sent in ([alice, bob], [bob, alice], [bob, alice, bob, "c" * 32]):
        assert session_of(sent, "__Host-jupyterhub-hub-login") == alice
        # Without that, either may have been planted: none counts.
        assert session_of(sent, "jupyterhub-hub-login") is None
    assert session_of([bob, "c" * 32], "__Host-jupyterhub-hub-login") == bob
    assert session_of([bob, bob], "jupyterhub-hub-login") == bob
