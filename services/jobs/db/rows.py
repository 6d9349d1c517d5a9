"""The rows of the jobs service. Every method may raise ``DatabaseUnavailable``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from spawners.common.database import Database

from . import tables

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for by a name.

    Attributes:
        digest: of the submission, ``""`` for none.
        cancelled: whether its end was asked for before there was a job.
        written: whether there was a record of it, or of each job of a set.
    """

    digest: str = ""
    cancelled: bool = False
    written: bool = False


async def open_rows(url: str) -> Rows:
    """Return the service's rows in the database at ``url``, brought up to date.

    Raises:
        DatabaseUnavailable: it cannot be reached or written to.
        DatabaseIncompatible: a newer release made it.
    """
    return Rows(await Database.open(url, _MIGRATIONS, what="database of jobs"))


class Rows:
    """Requests by client and name, and the hashes of jobs' tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close(self) -> None:
        """Disconnect."""
        await self._database.close()

    async def request(self, client: str, name: str) -> Request | None:
        """Return what ``client`` asked for by ``name``, or ``None``."""

        def work(connection: Connection) -> Request | None:
            return _request(connection, client, name)

        return await self._database.read(work)

    async def asked(
        self, client: str, name: str, digest: str, token_hash: str = ""
    ) -> Request:
        """Keep what ``client`` asks for by ``name``; return what was kept first.

        With the hash of the token that the job may have, if it has one.
        """

        def work(connection: Connection) -> Request:
            known = _request(connection, client, name)
            if known is not None:
                return known
            _insert(connection, client, name, Request(digest))
            if token_hash:
                _insert_token(connection, name, token_hash)
            return Request(digest)

        return await self._database.run(work)

    async def cancelled(self, client: str, name: str, most: int) -> bool:
        """Keep that nothing may come by ``name`` from ``client`` any more.

        Returns False if ``client`` has kept ``most`` names in this way already.
        """
        t = tables.requests
        mine = sa.and_(t.c.client == client, t.c.name == name)

        def work(connection: Connection) -> bool:
            if _request(connection, client, name) is not None:
                connection.execute(sa.update(t).where(mine).values(cancelled=True))
                return True
            alone = sa.select(sa.func.count()).where(
                t.c.client == client, t.c.cancelled, t.c.digest == ""
            )
            if (connection.scalar(alone) or 0) >= most:
                return False
            _insert(connection, client, name, Request(cancelled=True))
            return True

        return await self._database.run(work)

    async def cancelled_names(self, client: str | None = None) -> set[str]:
        """Return the names whose end was asked for before there was a job.

        By one client, or by all.
        """
        t = tables.requests
        query = sa.select(t.c.name).where(t.c.cancelled)
        if client is not None:
            query = query.where(t.c.client == client)
        return await self._database.read(lambda c: set(c.scalars(query)))

    async def written(self, names: Collection[str]) -> None:
        """Keep that there were records of what was asked for by these names."""
        t, asked = tables.requests, list(names)

        def work(connection: Connection) -> None:
            for start in range(0, len(asked), 500):
                new = sa.and_(t.c.name.in_(asked[start : start + 500]), ~t.c.written)
                connection.execute(sa.update(t).where(new).values(written=True))

        await self._database.run(work)

    async def add_token(self, name: str, token_hash: str) -> None:
        """Keep the hash of a token that the job called ``name`` may have."""
        await self._database.run(lambda c: _insert_token(c, name, token_hash))

    async def has_token(self, name: str, token_hash: str) -> bool:
        """Return whether a token with this hash was given to the job ``name``."""
        t = tables.tokens
        query = sa.select(t.c.hash).where(t.c.name == name, t.c.hash == token_hash)
        return await self._database.read(lambda c: c.scalar(query)) is not None

    async def prune(self, before: datetime, live: Callable[[str], bool]) -> int:
        """Delete what is older than ``before`` and not of a live job; return how many.

        Args:
            before: a time.
            live: tells whether a job of this name has not ended.
        """
        old = [
            sa.select(table.c.name).where(table.c.created < before)
            for table in (tables.requests, tables.tokens)
        ]
        names = await self._database.read(
            lambda c: {name for query in old for name in c.scalars(query)}
        )
        over = [name for name in names if not live(name)]

        def work(connection: Connection) -> None:
            for start in range(0, len(over), 500):
                some = over[start : start + 500]
                for table in (tables.requests, tables.tokens):
                    condition = sa.and_(
                        table.c.name.in_(some), table.c.created < before
                    )
                    connection.execute(sa.delete(table).where(condition))

        await self._database.run(work)
        return len(over)


def _request(connection: Connection, client: str, name: str) -> Request | None:
    t = tables.requests
    query = sa.select(t.c.digest, t.c.cancelled, t.c.written).where(
        t.c.client == client, t.c.name == name
    )
    row = connection.execute(query).first()
    return None if row is None else Request(*row)


def _insert(connection: Connection, client: str, name: str, request: Request) -> None:
    row = {
        "name": name,
        "client": client,
        "digest": request.digest,
        "cancelled": request.cancelled,
        "created": datetime.now(UTC),
    }
    connection.execute(sa.insert(tables.requests), [row])


def _insert_token(connection: Connection, name: str, token_hash: str) -> None:
    row = {"name": name, "hash": token_hash, "created": datetime.now(UTC)}
    connection.execute(sa.insert(tables.tokens), [row])
