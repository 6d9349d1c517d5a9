"""Asks the hub, in the service's own name, about people who are not the caller."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any  # JSON
from urllib.parse import quote, urlsplit

import httpx

from spawners.common.metrics import timed_call
from spawners.common.request_id import request_headers
from spawners.common.sockets import socket_of_url

from ..web.auth import AWAY_SECONDS, CACHE_SECONDS, hub_is_away
from ..web.errors import NotReady

_TIMEOUT_SECONDS = 10.0
_MOST_KNOWN = 10_000
_NOT_FOUND = 404
# Of one question; the hub takes no more.
_MOST_ASKED = 5_000


class HubDirectory:
    """Who there is at the hub. Answers are kept for :data:`..web.auth.CACHE_SECONDS`.

    While no hub runs they count for :data:`..web.auth.AWAY_SECONDS`.

    Args:
        api_url: the hub's, as JupyterHub gives it to services: of its socket.
        token: the service's; needs ``read:users:name``, ``read:users:groups`` and
            ``read:groups``.
    """

    def __init__(self, api_url: str, token: str) -> None:
        path = socket_of_url(api_url)
        self._asked_at = api_url
        # By a socket a name is only for the Host header.
        self._api_url = api_url.rstrip("/")
        if path:
            self._api_url = f"http://hub{urlsplit(self._api_url).path}"
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=path) if path else None,
            headers={"Authorization": f"token {token}"},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )
        self._known: dict[str, tuple[float, Any]] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._client.aclose()

    async def groups_of(self, user: str) -> frozenset[str] | None:
        """Return the groups that ``user`` is in; ``None`` if there is no such user."""
        model = await self._ask(f"users/{quote(user, safe='')}")
        if model is None:
            return None
        return frozenset(str(group) for group in model.get("groups") or ())

    async def members_of(self, groups: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return who is in each of these groups now; nobody where there is none such.

        One call to the hub for thousands of them.

        Raises:
            NotReady: it is not known.
        """
        names = list(groups)
        members: dict[str, frozenset[str]] = {}
        for some in _parts(names):
            told = (await self._known_among({"groups": some}))["groups"]
            if not isinstance(told, dict) or not {*some} <= {*told}:
                raise _odd()
            for group in some:
                members[group] = frozenset(str(name) for name in told[group])
        return members

    async def unknown_among(self, users: Iterable[str]) -> frozenset[str]:
        """Return which of these users have no account at the hub now.

        One call to the hub for thousands of them.

        Raises:
            NotReady: it is not known.
        """
        names = list(users)
        known: set[str] = set()
        for some in _parts(names):
            told = (await self._known_among({"users": some}))["users"]
            known.update(str(name) for name in told)
        return frozenset(names) - known

    async def has_group(self, name: str) -> bool:
        """Whether the hub has such a group."""
        return await self._ask(f"groups/{quote(name, safe='')}") is not None

    async def refused_accounts(self) -> frozenset[str]:
        """Return whose accounts the hub sees gone, locked or expired now."""
        # A hub without the answer looks at no accounts.
        model = await self._fetch("landbridge/accounts/refused") or {}
        return frozenset(str(name) for name in model.get("users") or ())

    async def sign_in_of(self, user: str) -> Mapping[str, Any] | None:
        """Return what the hub kept of a user's sign-in; ``None`` for nothing.

        Needs the scope ``admin:auth_state`` and an authenticator that keeps it. It is
        a secret, asked each time and not kept here.
        """
        model = await self._fetch(f"users/{quote(user, safe='')}")
        state = (model or {}).get("auth_state")
        return state if isinstance(state, dict) else None

    async def _known_among(self, names: Mapping[str, Sequence[str]]) -> Any:
        """Return the hub's word about all of these names, now."""
        answer = await self._call("POST", "landbridge/accounts/known", names)
        if not isinstance(answer, dict) or not {*names} <= {*answer}:
            # Somebody else's answer, or an older hub's, says nothing about anybody.
            raise _odd()
        return answer

    async def _ask(self, path: str) -> Any:
        now = time.monotonic()
        known = self._known.get(path)
        if known is not None and now - known[0] < CACHE_SECONDS:
            return known[1]
        try:
            model = await self._fetch(path)
        except NotReady:
            is_old = known is None or now - known[0] > AWAY_SECONDS
            if known is None or is_old or not hub_is_away(self._asked_at):
                raise
            return known[1]
        if isinstance(model, dict):
            model.pop("auth_state", None)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[path] = (now, model)
        return model

    async def _fetch(self, path: str) -> Any:
        return await self._call("GET", path)

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            with timed_call("hub", path.partition("/")[0]):
                answer = await self._client.request(
                    method,
                    f"{self._api_url}/{path}",
                    json=body,
                    headers=request_headers(),
                )
        except httpx.HTTPError as error:
            raise NotReady("The hub cannot be asked.", hint="Try again.") from error
        if answer.status_code == _NOT_FOUND:
            return None
        if not answer.is_success:
            raise _odd()
        try:
            return answer.json()
        except ValueError:
            raise _odd() from None


def _odd() -> NotReady:
    return NotReady("The hub does not answer about people.", hint="Try again.")


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _MOST_ASKED):
        yield names[start : start + _MOST_ASKED]
