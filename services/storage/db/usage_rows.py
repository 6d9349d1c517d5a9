"""The rows of usage and quota: what was counted, and what is still to come."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from spawners.common.database import Database

from . import tables

_MOST_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bucket held; ``complete`` is False where it holds at least that."""

    bytes: int
    objects: int
    complete: bool
    measured: datetime


@dataclass(frozen=True, slots=True)
class Promise:
    """Room for one object that is still to come, or has come uncounted."""

    id: str
    key: str
    created: datetime


class UsageRows:
    """What buckets hold and expect. An object is counted at most once too often."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, names: Sequence[str]) -> dict[str, Measured]:
        """Return what was counted of these buckets."""
        t = tables.usage
        query = sa.select(t).where(t.c.bucket.in_(list(names)))

        def work(connection: Connection) -> dict[str, Measured]:
            measured = {}
            for row in connection.execute(query).mappings():
                values = dict(row)
                name = str(values.pop("bucket"))
                measured[name] = Measured(**values)
            return measured

        return await self._database.read(work)

    async def set(
        self, bucket: str, measured: Measured, arrived: Collection[str]
    ) -> None:
        """Write down a measurement.

        Args:
            bucket: its name.
            measured: what it holds.
            arrived: ids of the promises whose objects are among that.
        """
        t, p = tables.usage, tables.promises
        row = {
            "bucket": bucket,
            "bytes": measured.bytes,
            "objects": measured.objects,
            "complete": measured.complete,
            "measured": measured.measured,
        }
        over = sa.and_(p.c.bucket == bucket, p.c.until < datetime.now(UTC))

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(t).where(t.c.bucket == bucket))
            connection.execute(sa.insert(t), [row])
            connection.execute(sa.delete(p).where(over))
            for promise in arrived:
                connection.execute(sa.delete(p).where(p.c.id == promise))

        await self._database.run(work)

    async def measured_before(self, moment: datetime) -> list[tuple[str, datetime]]:
        """Return buckets that were measured before then, and when; oldest first."""
        t = tables.usage
        query = (
            sa.select(t.c.bucket, t.c.measured)
            .where(t.c.measured < moment)
            .order_by(t.c.measured)
            .limit(_MOST_ROWS)
        )
        return await self._database.read(
            lambda c: [(row.bucket, row.measured) for row in c.execute(query)]
        )

    async def forget(self, bucket: str) -> None:
        """Forget what a bucket held that is gone."""
        t = tables.usage
        delete = sa.delete(t).where(t.c.bucket == bucket)
        await self._database.run(lambda c: c.execute(delete))

    async def held(self, names: Sequence[str]) -> int:
        """Return the bytes that buckets hold or expect."""
        return await self._database.read(lambda c: _held(c, names))

    async def promise(
        self,
        bucket: str,
        objects: Sequence[tuple[str, int]],
        life: timedelta,
        *,
        quota: int | None = None,
        among: Sequence[str] = (),
    ) -> list[str] | None:
        """Reserve room for objects; ``None`` if there is none, else the ids.

        Args:
            bucket: where they go.
            objects: key and size of each.
            life: how long they may take to come, and to be seen.
            quota: of all that ``among`` hold; ``None`` for no limit.
            among: ``bucket``, and those that it shares the quota with.
        """
        now = datetime.now(UTC)
        rows = [
            {
                "id": secrets.token_hex(12),
                "bucket": bucket,
                "key": json.dumps(key),
                "size": size,
                "created": now,
                "until": now + life,
            }
            for key, size in objects
        ]
        size = sum(size for _, size in objects)

        def work(connection: Connection) -> bool:
            if quota is not None and _held(connection, among) + size > quota:
                return False
            if rows:
                connection.execute(sa.insert(tables.promises), rows)
            return True

        kept = await self._database.run(work)
        return [str(row["id"]) for row in rows] if kept else None

    async def take_back(self, ids: Sequence[str]) -> None:
        """Forget promises that are counted otherwise now."""
        p = tables.promises
        delete = sa.delete(p).where(p.c.id.in_(list(ids)))
        await self._database.run(lambda c: c.execute(delete))

    async def promises(self, bucket: str) -> list[Promise]:
        """Return what is to come in a bucket."""
        p = tables.promises
        query = sa.select(p.c.id, p.c.key, p.c.created).where(p.c.bucket == bucket)
        return await self._database.read(
            lambda c: [
                Promise(row.id, json.loads(row.key), row.created)
                for row in c.execute(query)
            ]
        )


def _held(connection: Connection, names: Sequence[str]) -> int:
    """Sum what was counted, what was promised and not seen, and open uploads."""
    t, p, u = tables.usage, tables.promises, tables.uploads
    some = list(names)
    now = datetime.now(UTC)
    parts = (
        sa.select(sa.func.sum(t.c.bytes)).where(t.c.bucket.in_(some)),
        sa.select(sa.func.sum(p.c.size)).where(p.c.bucket.in_(some), p.c.until > now),
        sa.select(sa.func.sum(u.c.size)).where(u.c.bucket.in_(some)),
    )
    return sum(int(connection.scalar(part) or 0) for part in parts)
