"""The storage service's rows: buckets of users, what they hold, and who did what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from services.common.web.paging import Keyset, Page, PageQuery
from spawners.common.database import Database

from . import tables

MIGRATIONS = Path(__file__).parent / "migrations"
NAMED = 5
"""How many names an entry of the audit log tells, beside how many there were."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str
    action: str
    bucket: str
    detail: str


async def open_database(url: str) -> Database:
    """Return the service's database, up to date."""
    return await Database.open(url, MIGRATIONS, what="database of storage")


class SealedRows:
    """Users' own keys, as they were sealed; see ``drivers.brought.SealedKeys``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user: str) -> bytes | None:
        """Return what :meth:`set` kept."""
        t = tables.keys
        query = sa.select(t.c.sealed).where(t.c.user == user)
        return await self._database.read(lambda c: c.scalar(query))

    async def set(self, user: str, sealed: bytes) -> None:
        """Keep it in place of an earlier one."""
        t = tables.keys
        row = {"user": user, "sealed": sealed, "created": datetime.now(UTC)}

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(t).where(t.c.user == user))
            connection.execute(sa.insert(t), [row])

        await self._database.run(work)

    async def remove(self, user: str) -> None:
        """Forget it."""
        t = tables.keys
        delete = sa.delete(t).where(t.c.user == user)
        await self._database.run(lambda c: c.execute(delete))


class Rows:
    """Buckets, usage and audit. Sharing and keys have modules of their own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add_bucket(self, name: str, owner: str, *, most: int) -> bool:
        """Write down a new bucket of ``owner``; False if there are ``most``.

        Raises:
            IntegrityError: the name is taken.
        """
        t = tables.buckets

        def work(connection: Connection) -> bool:
            count = sa.select(sa.func.count()).where(t.c.owner == owner)
            if (connection.scalar(count) or 0) >= most:
                return False
            row = {"name": name, "owner": owner, "created": datetime.now(UTC)}
            connection.execute(sa.insert(t), [row])
            return True

        return await self.database.run(work)

    async def remove_bucket(self, name: str) -> None:
        """Forget a bucket, what it held and who it was shared with."""

        def work(connection: Connection) -> None:
            for table in (tables.usage, tables.shares, tables.links):
                connection.execute(sa.delete(table).where(table.c.bucket == name))
            t = tables.buckets
            connection.execute(sa.delete(t).where(t.c.name == name))

        await self.database.run(work)

    async def bucket_count(self, owner: str) -> int:
        """Return how many buckets ``owner`` made."""
        t = tables.buckets
        count = sa.select(sa.func.count()).where(t.c.owner == owner)
        return await self.database.read(lambda c: c.scalar(count) or 0)

    async def buckets_of(self, owner: str) -> list[str]:
        """Return the buckets that ``owner`` made here."""
        t = tables.buckets
        query = sa.select(t.c.name).where(t.c.owner == owner)
        return await self.database.read(lambda c: list(c.scalars(query)))

    async def note(
        self,
        actor: str,
        action: str,
        bucket: str,
        **detail: str | int | Sequence[str],
    ) -> None:
        """Append to the audit log."""
        row = {
            "at": datetime.now(UTC),
            "actor": actor,
            "action": action,
            "bucket": bucket,
            "detail": json.dumps(detail),
        }
        insert = sa.insert(tables.audit)
        await self.database.run(lambda c: c.execute(insert, [row]))

    async def audit(
        self,
        actor: str,
        buckets: Sequence[str],
        asked: PageQuery,
        *,
        before: int,
    ) -> Page[AuditEntry]:
        """Return a page of what ``actor`` did and what was done to ``buckets``.

        Args:
            actor: whose log it is.
            buckets: hers.
            asked: which page, the newest first.
            before: only entries with smaller ids; 0: all.

        Raises:
            BadRequest: it is no page of that.
        """
        t = tables.audit
        query = sa.select(t).where(
            sa.or_(t.c.actor == actor, t.c.bucket.in_(list(buckets)))
        )
        if before:
            query = query.where(t.c.id < before)
        newest = Keyset("audit", (t.c.id,), lambda row: AuditEntry(**dict(row)))
        return await self.database.read(newest.page(query, asked))
