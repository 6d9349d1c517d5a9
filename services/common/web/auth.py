"""Who asks: JupyterHub's word about a browser's session or a program's token.

A browser comes with the service's own OAuth cookie, a program with
``Authorization: Bearer TOKEN`` (or ``token``). The hub says whose it is and what it
may; the answer is kept for :data:`CACHE_SECONDS`, so a revoked token is dead by then.
While no hub is there at all its last answer about somebody counts on, for a while:
nobody can revoke anything then, and the service does not depend on a hub that is being
restarted. A hub that is there, however slow or confused, is never gone past.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError, RequestHandler

from spawners.common.sockets import is_deserted, socket_of_url

from .errors import Forbidden, NotReady, NotSignedIn, SessionEnded

# The hub sees within five seconds that a group was left, keys are settled every ten:
# after half a minute nobody has keys by a group that is not hers.
CACHE_SECONDS = 15
# How old the hub's word may be where there is no hub to ask.
AWAY_SECONDS = 900
_ASK_SECONDS = 20.0
_MOST_REMEMBERED = 10_000
_SERVER_FAULT = 500


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: the user's, or the service's.
        is_user: False for a service of the hub.
        groups: of the user.
        scopes: what the session or token may.
        by_token: True for a program, False for a browser.
        key: the id of the bearer key by which a program asks in ``name``'s name; the
            hub knows nothing of it, so ``groups`` and the hub's scopes are missing.
        is_admin: an administrator of the hub; good for showing them the way, no more.
    """

    name: str
    is_user: bool = True
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    by_token: bool = False
    key: str = ""
    is_admin: bool = False

    def may(self, scope: str) -> bool:
        """Whether this session or token has ``scope``."""
        return scope in self.scopes


KEY_BEGINNING = "lbk_"
"""How every bearer key of a service begins; no token of the hub does."""


class ShownKey(Protocol):
    """A bearer key that is good for what is asked."""

    @property
    def id(self) -> str:
        """Names it."""

    @property
    def owner(self) -> str:
        """The user in whose name it acts."""


class KeyVerifier(Protocol):
    """Knows a service's bearer keys (:mod:`..access.bearer_keys`)."""

    async def check(
        self, text: str, resource: str, verb: str, *, source: str
    ) -> ShownKey:
        """Return the key that is shown, if it opens ``resource`` for ``verb``.

        Raises:
            Refusal: it does not.
        """


def caller_from(model: Mapping[str, Any], *, by_token: bool) -> Caller:
    """Return the caller that the hub's ``/api/user`` describes."""
    return Caller(
        name=str(model["name"]),
        is_user=model.get("kind", "user") == "user",
        groups=frozenset(str(group) for group in model.get("groups") or ()),
        scopes=frozenset(str(scope) for scope in model.get("scopes") or ()),
        by_token=by_token,
        is_admin=bool(model.get("admin")),
    )


COOKIES = {"samesite": "Lax"}
"""What is said of each cookie: another site's forms and frames come without it."""


def hub_is_away(api_url: str) -> bool:
    """Whether it is certain that no hub runs, so that nothing can be ended at it.

    Only a socket tells that: a port that does not answer may have a hub behind it.
    """
    path = socket_of_url(api_url)
    return path is not None and is_deserted(path)


class PatientAuth(HubOAuth):  # type: ignore[misc]  # JupyterHub is untyped
    """Believes the hub's last answer about a token or session while no hub runs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._last: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def _check_hub_authorization(
        self,
        url: str,
        api_token: str,
        cache_key: str | None = None,
        use_cache: bool = True,  # noqa: FBT001, FBT002 -- as JupyterHub has it
    ) -> Any:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                model = await super()._check_hub_authorization(
                    url, api_token, cache_key=cache_key, use_cache=use_cache
                )
        except TimeoutError as error:
            raise HTTPError(504, "The hub does not answer who asks.") from error
        except HTTPError:
            said_at, model = self._last.get(cache_key or "", (0.0, None))
            is_old = time.monotonic() - said_at > AWAY_SECONDS
            if model is None or is_old or not hub_is_away(self.api_url):
                raise
            return model
        self._remember(cache_key or "", model)
        return model

    def _remember(self, key: str, model: Any) -> None:
        self._last.pop(key, None)
        if model and key:
            self._last[key] = (time.monotonic(), model)
        while len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)


def hub_auth() -> HubOAuth:
    """Return the process's one connection to the hub's OAuth."""
    auth: HubOAuth = PatientAuth.instance(
        cache_max_age=CACHE_SECONDS,
        cookie_options=dict(COOKIES),
        # A page of a user's server, at a host beside ours, could set other cookies in
        # the place of ours. JupyterHub tells this to users' servers only.
        cookie_host_prefix_enabled=own_url(os.environ).startswith("https://"),
    )
    return auth


def own_url(environment: Mapping[str, str]) -> str:
    """Return the service's URL for browsers where its host is not the hub's, or ``""``.

    It ends with a slash.
    """
    here = environment.get("JUPYTERHUB_PUBLIC_URL", "")
    hub = environment.get("JUPYTERHUB_PUBLIC_HUB_URL", "")
    return here if urlsplit(here).hostname != urlsplit(hub).hostname else ""


async def identify(auth: HubOAuth, handler: RequestHandler) -> Caller | None:
    """Return who asks; ``None`` for nobody that the hub knows.

    A browser's session counts only with its XSRF token, except for pages that are
    opened and files that a page shows.

    Raises:
        Forbidden: somebody who may not use this service.
        NotReady: the hub cannot be asked.
    """
    try:
        model = await auth.get_user(handler, sync=False)
    except HTTPError as error:
        if error.status_code < _SERVER_FAULT:
            raise
        raise NotReady(
            "The hub cannot be asked who you are.", hint="Try again in a few seconds."
        ) from error
    if not model:
        return None
    by_token = bool(getattr(handler, "_token_authenticated", False))
    if not by_token and not _same_session(model, auth.get_session_id(handler)):
        return None
    if auth.access_scopes and not auth.check_scopes(auth.access_scopes, model):
        raise Forbidden(
            "This token or account may not use this service.",
            hint=f"It needs the scope {' or '.join(sorted(auth.access_scopes))}.",
        )
    return caller_from(model, by_token=by_token)


def _same_session(model: Mapping[str, Any], session: str) -> bool:
    """Whether a browser's cookie was made in the session that its hub cookies name.

    The hub ends what was made in a session when somebody signs out of that. Where its
    cookies went another way (deleted, or another person's by now), it does not.
    """
    made_in = model.get("session_id")
    return not made_in or made_in == session


def unknown_caller(handler: RequestHandler, auth: HubOAuth) -> NotSignedIn | Forbidden:
    """Return why a call without a caller is refused."""
    if auth.get_token(handler, in_cookie=False):
        return NotSignedIn(
            "This token is not good, or not any more.", hint="Make another one."
        )
    if handler.get_cookie(auth.cookie_name):
        return SessionEnded(
            "This session has ended, or the request does not carry its XSRF token.",
            hint="Reload the page; send the cookie _xsrf also as X-XSRFToken.",
        )
    return NotSignedIn(
        "Nobody is signed in.", hint="Send Authorization: Bearer TOKEN, or sign in."
    )
