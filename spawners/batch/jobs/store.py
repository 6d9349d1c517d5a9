"""The job store: what must outlive this process, in SQLite or PostgreSQL.

All access runs on one thread of the store's own, in the order of the calls, in short
transactions; the event loop never waits for a disk. A call that fails raises
:class:`~spawners.common.errors.DatabaseUnavailable` and has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from spawners.common.database import Database
from spawners.common.errors import DatabaseIncompatible, DatabaseUnavailable

from . import tables as rows
from .launches import Alongside
from .record import JobEvent, JobRecord, Retain, utc_now
from .usage_rows import write_used

log = logging.getLogger(__name__)
T = TypeVar("T")

_WHAT = "database of jobs"
_MIGRATIONS = Path(__file__).parent / "migrations"

_ALL_FIELDS = frozenset(field.name for field in fields(JobRecord))


class OwnerTaken(Exception):
    """The owner has a live record in the database already."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as loaded, with the number of its last event (0 for none)."""

    record: JobRecord
    last_seq: int


@dataclass(frozen=True, slots=True)
class Change:
    """What to write of one record: these fields of it, and these new events."""

    record: JobRecord
    fields: frozenset[str] = frozenset()
    events: tuple[JobEvent, ...] = ()


class JobStore:
    """The records of one keeper (a process that submits jobs: hub, a service).

    Make one with :meth:`open`. Several keepers may share a database; each sees only
    its own records, but an owner has one live job among all of them.
    """

    def __init__(self, database: Database, keeper: str) -> None:
        self._database = database
        self._keeper = keeper

    @classmethod
    async def open(
        cls, url: str, *, keeper: str = "hub", timeout_seconds: float = 5.0
    ) -> JobStore:
        """Connect to ``url`` and bring its tables up to date.

        Args:
            url: an SQLAlchemy URL (``sqlite:////var/lib/x.sqlite``,
                ``postgresql+psycopg://…``).
            keeper: whose records these are.
            timeout_seconds: how long a call waits for a lock of somebody else.

        Raises:
            DatabaseUnavailable: it cannot be reached or written to.
            DatabaseIncompatible: a newer release made it.
        """
        database = await Database.open(
            url, _MIGRATIONS, what=_WHAT, timeout_seconds=timeout_seconds
        )
        return cls(database, keeper)

    async def close(self) -> None:
        """Finish what was asked for and disconnect."""
        await self._database.close()

    async def load(self) -> list[Stored]:
        """Return every record that is open, and the newest of each owner.

        Of an owner of whom nothing is kept, only what is open.
        """

        def work(connection: Connection) -> list[Stored]:
            newest = (
                sa.select(
                    rows.jobs.c.owner, sa.func.max(rows.jobs.c.generation).label("top")
                )
                .group_by(rows.jobs.c.owner)
                .subquery()
            )
            last = (
                sa.select(rows.events.c.name, sa.func.max(rows.events.c.seq).label("n"))
                .group_by(rows.events.c.name)
                .subquery()
            )
            query = (
                sa.select(rows.jobs, sa.func.coalesce(last.c.n, 0).label("last_seq"))
                .join(newest, newest.c.owner == rows.jobs.c.owner)
                .outerjoin(last, last.c.name == rows.jobs.c.name)
                .where(rows.jobs.c.keeper == self._keeper)
                .where(
                    sa.or_(
                        rows.jobs.c.is_open,
                        sa.and_(
                            rows.jobs.c.generation == newest.c.top,
                            rows.jobs.c.retain != Retain.NONE.value,
                        ),
                    )
                )
                .order_by(rows.jobs.c.created)
            )
            return [
                Stored(rows.from_row(row), row["last_seq"])
                for row in connection.execute(query).mappings()
            ]

        return await self.read(work)

    async def get(self, name: str) -> Stored | None:
        """Return any record, also an old one."""

        def work(connection: Connection) -> Stored | None:
            row = (
                connection.execute(
                    sa.select(rows.jobs).where(
                        rows.jobs.c.name == name, rows.jobs.c.keeper == self._keeper
                    )
                )
                .mappings()
                .first()
            )
            if row is None:
                return None
            last = connection.scalar(
                sa.select(sa.func.max(rows.events.c.seq)).where(
                    rows.events.c.name == name
                )
            )
            return Stored(rows.from_row(row), last or 0)

        return await self.read(work)

    async def insert_all(
        self, records: Sequence[JobRecord], *, alongside: Alongside | None = None
    ) -> None:
        """Commit new records, and what ``alongside`` writes, or nothing.

        Raises:
            OwnerTaken: an owner has a live record, or one of this generation.
            DatabaseUnavailable: nothing was written.
        """

        def work(connection: Connection) -> None:
            keeper = {"keeper": self._keeper}
            values = [rows.to_row(record, _ALL_FIELDS) | keeper for record in records]
            connection.execute(sa.insert(rows.jobs), values)
            if alongside is not None:
                alongside(connection)

        try:
            await self._run(work)
        except IntegrityError as error:
            raise OwnerTaken(", ".join(r.owner for r in records[:5])) from error

    async def save(self, changes: Sequence[Change]) -> None:
        """Commit all ``changes``, or none of them.

        What a job was to start is erased with the change after which it never asks.

        Raises:
            DatabaseUnavailable: nothing was written.
        """

        def work(connection: Connection) -> None:
            for change in changes:
                if change.fields:
                    connection.execute(
                        sa.update(rows.jobs)
                        .where(rows.jobs.c.name == change.record.name)
                        .values(rows.to_row(change.record, change.fields))
                    )
                _insert_events(connection, change.events)
                _erase_launch(connection, change)

        try:
            await self._run(work)
        except IntegrityError as error:
            raise DatabaseUnavailable("The database refused a change.") from error

    async def events(self, name: str, after: int = 0) -> list[JobEvent]:
        """Return the events of a record with ``seq > after``, in order."""

        def work(connection: Connection) -> list[JobEvent]:
            query = (
                sa.select(rows.events)
                .where(rows.events.c.name == name, rows.events.c.seq > after)
                .order_by(rows.events.c.seq)
            )
            return [
                rows.event_from_row(row) for row in connection.execute(query).mappings()
            ]

        return await self.read(work)

    async def event_by(self, name: str, key: str) -> JobEvent | None:
        """Return the event of a record that came by the request with this key."""
        query = sa.select(rows.events).where(
            rows.events.c.name == name, rows.events.c.request_key == key
        )

        def work(connection: Connection) -> JobEvent | None:
            row = connection.execute(query).mappings().first()
            return None if row is None else rows.event_from_row(row)

        return await self.read(work)

    async def name_of(self, owner: str, generation: int) -> str | None:
        """Return the name of an owner's record of that generation."""

        def work(connection: Connection) -> str | None:
            return connection.scalar(
                sa.select(rows.jobs.c.name).where(
                    rows.jobs.c.owner == owner,
                    rows.jobs.c.generation == generation,
                    rows.jobs.c.keeper == self._keeper,
                )
            )

        return await self.read(work)

    async def prune(self, before: datetime) -> int:
        """Delete closed records last changed before then; return how many.

        The newest record of each owner stays, with its events; of owners of whom
        nothing is kept, all that is closed goes, however new. Launches that nobody
        asks for any more go, whoever left them: an earlier version knows of none.
        """

        def work(connection: Connection) -> int:
            newer = rows.jobs.alias("newer")
            condition = sa.and_(
                rows.jobs.c.keeper == self._keeper,
                sa.not_(rows.jobs.c.is_open),
                sa.or_(
                    rows.jobs.c.retain == Retain.NONE.value,
                    sa.and_(
                        rows.jobs.c.updated < before,
                        sa.exists().where(
                            newer.c.owner == rows.jobs.c.owner,
                            newer.c.generation > rows.jobs.c.generation,
                        ),
                    ),
                ),
            )
            names = list(
                connection.scalars(
                    sa.select(rows.jobs.c.name).where(condition).limit(500)
                )
            )
            _delete(connection, names)
            connection.execute(
                sa.delete(rows.proofs).where(
                    rows.proofs.c.created < before,
                    rows.proofs.c.name.not_in(sa.select(rows.jobs.c.name)),
                )
            )
            awaited = sa.select(rows.jobs.c.name).where(rows.AWAITS_LAUNCH)
            connection.execute(
                sa.delete(rows.launches).where(rows.launches.c.name.not_in(awaited))
            )
            return len(names)

        return await self._run(work)

    async def delete(self, names: Sequence[str]) -> None:
        """Delete records with all that hangs on them.

        Raises:
            DatabaseUnavailable: nothing was deleted.
        """

        def work(connection: Connection) -> None:
            for start in range(0, len(names), 500):
                some = names[start : start + 500]
                _delete(connection, some)
                connection.execute(
                    sa.delete(rows.proofs).where(rows.proofs.c.name.in_(some))
                )

        await self._run(work)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a table of another module, in one transaction.

        Raises:
            DatabaseUnavailable: nothing was written.
        """
        return await self._run(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, on a table of another module.

        Raises:
            DatabaseUnavailable: nothing was read.
        """
        return await self._run(work, reads=True)

    async def _run(self, work: Callable[[Connection], T], *, reads: bool = False) -> T:
        run = self._database.read if reads else self._database.run
        try:
            return await run(work)
        except ValueError as error:
            raise DatabaseIncompatible(
                "The database of jobs holds a damaged record.",
                hint="Restore a backup.",
            ) from error


def _insert_events(connection: Connection, events: Sequence[JobEvent]) -> None:
    if events:
        connection.execute(
            sa.insert(rows.events), [rows.event_to_row(event) for event in events]
        )


def _delete(connection: Connection, names: Sequence[str]) -> None:
    _keep_used(connection, names)
    for table in (rows.events, rows.launches, rows.jobs):
        connection.execute(sa.delete(table).where(table.c.name.in_(names)))


def _keep_used(connection: Connection, names: Sequence[str]) -> None:
    """Write down what jobs used whose records go: nobody may have asked yet."""
    query = sa.select(rows.jobs).where(rows.jobs.c.name.in_(names))
    for row in connection.execute(query).mappings().all():
        try:
            record = rows.from_row(row)
        except ValueError:
            log.warning(
                "What job %s used is not known: its row is damaged", row["name"]
            )
            continue
        write_used(connection, record, utc_now())


def _erase_launch(connection: Connection, change: Change) -> None:
    if change.fields & rows.LAUNCH_FIELDS and change.record.settled:
        name = change.record.name
        connection.execute(sa.delete(rows.launches).where(rows.launches.c.name == name))
