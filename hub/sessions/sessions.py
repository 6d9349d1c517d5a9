"""Who is signed in: the live sessions of browsers, and what was agreed to in them.

JupyterHub's sign-in cookie is a signed name that is good for days, wherever it was
copied to. Here it counts only together with a session that lives: one row for each
sign-in, found by the hash of the cookie ``jupyterhub-session-id``. Signing out ends
the session, and with it everything that the cookies of that browser could do.

All of it is in memory, so a request asks no database; changes are written behind, in
their order, and :meth:`Sessions.flush` says that they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from spawners.common.database import Database
from spawners.common.errors import DatabaseUnavailable

from . import tables

log = logging.getLogger(__name__)

_WHAT = "database of sessions"
_SEEN_EVERY = timedelta(minutes=10)
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Session:
    """One browser in which somebody is signed in.

    Attributes:
        key: SHA-256 of the session's id, in hexadecimal.
        user: the name of who is signed in.
        made, seen, ends: when it began, was used last, and is over at the latest.
        visits: owners whose servers may be opened in it, and until when.
    """

    key: str
    user: str
    made: datetime
    seen: datetime
    ends: datetime
    visits: Mapping[str, datetime] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """Return its row."""
        return {
            "key": self.key,
            "user_name": self.user,
            "made": self.made,
            "seen": self.seen,
            "ends": self.ends,
        }


def key_of(session_id: str) -> str:
    """Return what a session is found by: its id is kept nowhere."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def new_session_id() -> str:
    """Return an id that nobody can guess, in JupyterHub's own shape."""
    return secrets.token_hex(16)


class Sessions:
    """All live sessions. Make one with :meth:`open`.

    Attributes:
        changed: called after each change with a session as it was and as it is now;
            ``None`` where there was none, and where it has ended.
    """

    def __init__(
        self,
        database: Database,
        lifetime: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._lifetime = lifetime
        self._clock = clock
        self._live: dict[str, Session] = {}
        self._unwritten: set[str] = set()
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._writer: asyncio.Task[None] | None = None
        self.changed: Callable[[Session | None, Session | None], None] = (
            lambda _before, _after: None
        )

    @classmethod
    async def open(cls, url: str, lifetime: timedelta) -> Sessions:
        """Read the sessions that an earlier hub knew.

        Args:
            url: an SQLAlchemy URL of the database.
            lifetime: of a session, from sign-in.

        Raises:
            DatabaseUnavailable, DatabaseIncompatible: an operator has to act.
        """
        sessions = cls(
            await Database.open(url, tables.MIGRATIONS, what=_WHAT), lifetime
        )
        await sessions._load()
        sessions._writer = asyncio.create_task(sessions._write_behind())
        return sessions

    async def close(self) -> None:
        """Write what is not written yet, and disconnect."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        try:
            await self._write()
        except DatabaseUnavailable as error:
            log.error("Changes of sessions are lost: %s", error)  # noqa: TRY400
        await self._database.close()

    # -- what is asked -------------------------------------------------------------

    @property
    def live(self) -> list[Session]:
        """Every live session."""
        return list(self._live.values())

    def find(self, session_id: str | None, user: str | None = None) -> Session | None:
        """Return the live session with this id, if it is of this user."""
        session = self._live.get(key_of(session_id)) if session_id else None
        if session is None or session.ends <= self._clock():
            return None
        return session if user in (None, session.user) else None

    # -- what changes ----------------------------------------------------------------

    def begin(self, session_id: str, user: str) -> Session:
        """Begin a session: somebody has just proven who they are."""
        now = self._clock()
        session = Session(key_of(session_id), user, now, now, now + self._lifetime)
        self._put(session)
        return session

    def adopt(self, known: Iterable[tuple[str, str]]) -> int:
        """Take sessions over that were begun before we kept any; ids and users."""
        return len({self.begin(session_id, user).key for session_id, user in known})

    def touch(self, session: Session) -> None:
        """Note that a session is being used."""
        now = self._clock()
        if session.key in self._live and now - session.seen > _SEEN_EVERY:
            self._live[session.key] = replace(session, seen=now)
            self._note(session.key)

    def end(self, session: Session) -> None:
        """End a session for good, here and in every copy of its cookies."""
        if self._live.pop(session.key, None) is not None:
            self._note(session.key)
            self.changed(session, None)

    def end_all(self, user: str) -> list[Session]:
        """Sign a user out everywhere; return the sessions that this ended."""
        ended = [live for live in self._live.values() if live.user == user]
        for session in ended:
            self.end(session)
        return ended

    def agree(self, session: Session, owner: str, lasting: timedelta) -> None:
        """Let a session open the servers of ``owner`` for a while."""
        ends = min(self._clock() + lasting, session.ends)
        self._put(replace(session, visits={**session.visits, owner: ends}))

    def withdraw(self, session: Session, owners: Collection[str]) -> None:
        """Take that back."""
        kept = {name: end for name, end in session.visits.items() if name not in owners}
        self._put(replace(session, visits=kept))

    def expire(self) -> list[Session]:
        """End what is over by now: visits, and sessions, which are returned."""
        now = self._clock()
        ended = [live for live in self._live.values() if live.ends <= now]
        for session in ended:
            self.end(session)
        for session in self.live:
            kept = {name: end for name, end in session.visits.items() if end > now}
            if len(kept) < len(session.visits):
                self._put(replace(session, visits=kept))
        return ended

    async def flush(self) -> None:
        """Return when every change is written down.

        Raises:
            DatabaseUnavailable: it is not yet; it is tried again.
        """
        try:
            async with asyncio.timeout(10):
                await self._written.wait()
        except TimeoutError:
            raise DatabaseUnavailable(f"The {_WHAT} does not answer.") from None

    # -- inside --------------------------------------------------------------------

    def _put(self, session: Session) -> None:
        before = self._live.get(session.key)
        self._live[session.key] = session
        self._note(session.key)
        self.changed(before, session)

    def _note(self, key: str) -> None:
        self._unwritten.add(key)
        self._written.clear()
        self._wake.set()

    async def _load(self) -> None:
        now = self._clock()

        def work(connection: Connection) -> None:
            visits: dict[str, dict[str, datetime]] = {}
            for row in connection.execute(sa.select(tables.visits)).mappings():
                mine = visits.setdefault(row["session_key"], {})
                mine[row["owner"]] = row["ends"]
            for row in connection.execute(sa.select(tables.sessions)).mappings():
                session = Session(
                    row["key"],
                    row["user_name"],
                    row["made"],
                    row["seen"],
                    # A site that shortens sessions means those that it has, too.
                    min(row["ends"], row["made"] + self._lifetime),
                    visits.get(row["key"], {}),
                )
                self._live[session.key] = session

        await self._database.read(work)
        log.info("%d sessions, read at %s", len(self._live), now)

    async def _write_behind(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except DatabaseUnavailable as error:
                log.error("Cannot write down sessions: %s", error)  # noqa: TRY400
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def _write(self) -> None:
        keys, self._unwritten = self._unwritten, set()
        sessions = {key: self._live.get(key) for key in keys}

        def work(connection: Connection) -> None:
            if keys:
                _replace(connection, sessions)

        try:
            await self._database.run(work)
        except BaseException:
            self._unwritten |= keys
            raise
        if not self._unwritten:
            self._written.set()


def _replace(connection: Connection, sessions: Mapping[str, Session | None]) -> None:
    """Write each session as it is now, or take its rows away."""
    by_key, keys = tables.sessions.c.key, list(sessions)
    for table, column in (
        (tables.visits, tables.visits.c.session_key),
        (tables.sessions, by_key),
    ):
        connection.execute(sa.delete(table).where(column.in_(keys)))
    live = [session for session in sessions.values() if session is not None]
    if live:
        connection.execute(
            sa.insert(tables.sessions), [session.row() for session in live]
        )
    agreed = [
        {"session_key": session.key, "owner": owner, "ends": ends}
        for session in live
        for owner, ends in session.visits.items()
    ]
    if agreed:
        connection.execute(sa.insert(tables.visits), agreed)
