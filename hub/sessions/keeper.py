"""Keeps JupyterHub, its proxy and its accounts at one with the sessions that live.

Whose session ends loses the tokens that were made in it, and the edge hears of it at
once; who is deleted, renamed or blocked loses all sessions; what somebody agreed to
visit ends with the right to it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from jupyterhub import orm

from services.edge.admissions import OWN, VISIT, Admissions, admission_key

from .sessions import Session, Sessions
from .signed_in import end_tokens, follow_accounts, known_sessions
from .visits import may_open

log = logging.getLogger(__name__)

# How often it is looked whose session, or right to visit, is over.
_LOOK_SECONDS = 10.0


class SessionKeeper:
    """The one who changes things when sessions change. Make one with :meth:`open`.

    Attributes:
        sessions: who is signed in.
    """

    def __init__(self, app: Any, sessions: Sessions) -> None:
        self.sessions = sessions
        self._app = app
        self._watch: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[bool]] = set()

    @classmethod
    async def open(cls, app: Any, url: str, lifetime: timedelta) -> SessionKeeper:
        """Know who is signed in; of an older release, by what JupyterHub remembers.

        Args:
            app: the hub.
            url: an SQLAlchemy URL of the sessions' database.
            lifetime: of a session.

        Raises:
            StoreUnavailable, StoreIncompatible: an operator has to act.
        """
        sessions = await Sessions.open(url, lifetime)
        if not sessions.live:
            count = sessions.adopt(known_sessions(app.db))
            log.info("Took %d sessions over from JupyterHub", count)
        names = {name for (name,) in app.db.query(orm.User.name)}
        for gone in {session.user for session in sessions.live} - names:
            sessions.end_all(gone)
        keeper = cls(app, sessions)
        sessions.changed = keeper._changed
        if keeper._admissions is not None:
            entries: dict[str, str] = {}
            for session in sessions.live:
                entries |= admitted(session)
            keeper._admissions.replace(entries)
        loop = asyncio.get_running_loop()
        follow_accounts(lambda name: loop.call_soon(sessions.end_all, name))
        keeper._watch = asyncio.create_task(keeper._look_after())
        return keeper

    async def close(self) -> None:
        """Write down what is not yet, and stop."""
        if self._watch is not None:
            self._watch.cancel()
        await self.sessions.close()

    async def admit(self) -> bool:
        """Return whether the edge knows by now who may load what."""
        return self._admissions is None or await self._admissions.tell()

    @property
    def _admissions(self) -> Admissions | None:
        proxy = self._app.proxy
        if not (proxy.has_trait("guard_users") and proxy.guard_users):
            return None
        admissions: Admissions = proxy.admissions
        return admissions

    def _changed(self, before: Session | None, after: Session | None) -> None:
        if before is not None and after is None:
            end_tokens(self._app.db, before)
        if self._admissions is not None:
            gone = admitted(before) if before else {}
            come = admitted(after) if after else {}
            self._admissions.change(gone, come)
            task = asyncio.ensure_future(self._admissions.tell())
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self.sessions.expire()
                self._end_blocked()
                self._end_visits()
            except Exception:
                log.exception("Looking after sessions")

    def _end_blocked(self) -> None:
        for name in {session.user for session in self.sessions.live}:
            if not self._app.authenticator.check_blocked_users(name, None):
                self.sessions.end_all(name)

    def _end_visits(self) -> None:
        for session in self.sessions.live:
            if not session.visits:
                continue
            visitor = orm.User.find(self._app.db, session.user)
            lost = {
                owner
                for owner in session.visits
                if visitor is None or not may_open(self._app.db, visitor, owner)
            }
            if lost:
                self.sessions.withdraw(session, lost)


def admitted(session: Session) -> dict[str, str]:
    """Return the edge's entries for a session."""
    visits = {admission_key(session.key, owner): VISIT for owner in session.visits}
    return visits | {admission_key(session.key, session.user): OWN}
