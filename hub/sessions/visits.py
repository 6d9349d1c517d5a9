"""``/hub/visit``: before a browser loads anything from somebody else's server.

The edge sends a window here that asks for ``/user/NAME/`` and is not known to be
NAME's. Whoever is signed in as NAME is sent on at once. Anybody else must have been
given access by NAME (JupyterHub's shares, or a role of the site), and is asked first:
what such a server sends runs in the visitor's browser. The answer is kept with the
session, and ends with it, with the access, and after :data:`LASTING`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from jupyterhub import orm, scopes
from jupyterhub.handlers.base import SESSION_COOKIE_NAME, BaseHandler
from tornado import web

from .planted_cookies import forget_planted
from .sessions import Session, Sessions

LASTING = timedelta(hours=12)
_ACCESS = "access:servers"
_LOOP_SECONDS = 20.0
_LOOP_TURNS = 4


class Turns:
    """Counts how often a session is sent on to the same server in a short while.

    The edge would send it back each time if the browser told it another session.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def too_many(self, session: Session, owner: str) -> bool:
        """Count one more."""
        now = time.monotonic()
        key = (session.key, owner)
        recent = [at for at in self._seen.pop(key, []) if now - at < _LOOP_SECONDS]
        self._seen[key] = [*recent, now]
        while len(self._seen) > 10_000:
            self._seen.popitem(last=False)
        return len(recent) >= _LOOP_TURNS


def owner_of(address: str, base_url: str) -> str | None:
    """Return whose server an address below the gateway's own names, if it names one.

    Only a plain path is one: nothing that a browser could take for another host, or
    for another path than it seems.
    """
    if any(ord(sign) < 0x21 or sign in "\\#" for sign in address):
        return None
    parts = [unquote(part) for part in address.partition("?")[0].split("/")]
    before = f"{base_url}user".split("/")
    if parts[: len(before)] != before or {".", ".."}.intersection(parts):
        return None
    return next(iter(parts[len(before) :]), None) or None


def may_open(db: Any, visitor: Any, owner: str) -> bool:
    """Whether a user may open any of the owner's servers, by shares or roles."""
    orm_owner = orm.User.find(db, owner)
    if orm_owner is None:
        return False
    parsed = scopes.parse_scopes(scopes.get_scopes_for(visitor))
    allowed = parsed.get(_ACCESS)
    if allowed is None:
        return False
    if allowed is scopes.Scope.ALL:
        return True
    if owner in allowed.get("user", ()):
        return True
    if any(name.startswith(f"{owner}/") for name in allowed.get("server", ())):
        return True
    groups = {group.name for group in orm_owner.groups}
    return bool(groups & set(allowed.get("group", ())))


class VisitHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """Sends a browser on to a user's server, once it may load it."""

    # From the class that is put in front of each handler.
    sessions: Sessions
    live_session: Any

    def initialize(self, turns: Turns) -> None:
        """Share what is counted."""
        self.turns = turns

    @web.authenticated
    async def get(self) -> None:
        """Send who is at home on; ask a visitor; refuse everybody else."""
        address, owner, session = self._asked()
        if owner == session.user or owner in session.visits:
            await self._send_on(address, owner, session)
            return
        self._require_access(owner)
        page = await self.render_template(
            "visit.html", owner=owner, address=address, hours=_hours(LASTING)
        )
        self.finish(page)

    @web.authenticated
    async def post(self) -> None:
        """Take the visitor's word that she trusts the owner."""
        address, owner, session = self._asked()
        if owner != session.user:
            self._require_access(owner)
            self.sessions.agree(session, owner, LASTING)
            self.log.info("%s opens servers of %s", session.user, owner)
            await self.sessions.flush()
        await self._send_on(address, owner, session)

    def _asked(self) -> tuple[str, str, Session]:
        user = self.current_user
        session = self.live_session(user.name)
        address = self.get_argument("next", "", strip=False)
        owner = owner_of(address, self.base_url)
        if session is None or owner is None:
            raise web.HTTPError(404)
        return address, owner, session

    def _require_access(self, owner: str) -> None:
        if not may_open(self.db, self.current_user, owner):
            raise web.HTTPError(
                403, "This is a server of %s, who has not shared it with you.", owner
            )

    async def _send_on(self, address: str, owner: str, session: Session) -> None:
        if self.turns.too_many(session, owner):
            raise web.HTTPError(
                400,
                "Your browser holds more than one session of this gateway. Delete the "
                "cookies of this site in your browser, then sign in again.",
            )
        if not await self.settings["landbridge_admit"]():
            raise web.HTTPError(503, "The gateway is restarting; try again.")
        # What somebody has planted there would have the edge send her back.
        forget_planted(self, SESSION_COOKIE_NAME, address, self.base_url)
        visited = self.find_user(owner)
        # Where each user has a host of her own, it is not this one.
        self.redirect(f"{visited.host if visited else ''}{address}", status=303)


def _hours(span: timedelta) -> int:
    return int(span / timedelta(hours=1))


handlers: list[tuple[Any, ...]] = [(r"/visit", VisitHandler, {"turns": Turns()})]
"""Routes below the hub's prefix, for ``JupyterHub.extra_handlers``."""
