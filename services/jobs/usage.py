"""The table of what jobs used, beside the batch core's own.

A job of the batch core is told of by its record, and by nobody else. Notebook servers
of the last release report kernels that are none of ours; that goes one release later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from spawners.batch.errors import InvalidSpec, LimitReached
from spawners.batch.jobs import tables as rows
from spawners.batch.jobs.store import JobStore
from spawners.batch.jobs.usage import JobUsage, Used
from spawners.batch.jobs.usage_rows import write_used

_MOST_ROWS = 5000
_CLOCKS_DIFFER = timedelta(minutes=2)
_LONGEST = timedelta(days=366)
# A server tells of its kernels every two minutes, and of the last of them in vain if
# it was stopped: its token ends first.
_UNTOLD = timedelta(minutes=3)


class UsageLedger:
    """The table of what was used.

    Methods raise :class:`~spawners.common.errors.DatabaseUnavailable`.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._read_to = datetime.now(UTC) - timedelta(days=30)

    async def report(self, user: str, jobs: Sequence[JobUsage]) -> None:
        """Take over what a user's server tells of its kernels.

        A job's start stays as first told, and its end never moves back.

        Raises:
            LimitReached: more jobs than anybody has.
            InvalidSpec: one is a job of the batch core's; nothing is taken.
        """
        now = datetime.now(UTC)
        usable = [job for job in map(lambda j: _bounded(j, now), jobs) if job]

        def work(connection: Connection) -> None:
            count = sa.select(sa.func.count()).where(
                rows.usage.c.user_name == user,
                rows.usage.c.until > now - timedelta(days=1),
            )
            if (connection.scalar(count) or 0) + len(usable) > _MOST_ROWS:
                raise LimitReached("Nobody has so many jobs in a day.")
            _refuse_ours(connection, user, [job.name for job in usable])
            for job in usable:
                _write_claim(connection, user, job)

        await self._store.transact(work)

    async def take_records(self) -> None:
        """Take over what the batch core's records tell since the last time."""
        now, since = datetime.now(UTC), self._read_to

        def work(connection: Connection) -> None:
            query = sa.select(rows.jobs).where(
                sa.or_(rows.jobs.c.updated >= since, rows.jobs.c.is_open)
            )
            for row in connection.execute(query).mappings().all():
                try:
                    record = rows.from_row(row)
                except ValueError:
                    continue  # the store tells of damaged rows
                used = write_used(connection, record, now)
                if used is not None and used.kind == "server" and used.usage.ended:
                    _count_kernels_to(connection, used.user, used.usage.until)

        await self._store.transact(work)
        self._read_to = now - _CLOCKS_DIFFER

    async def read(self, user: str | None, since: datetime) -> list[Used]:
        """Return a user's jobs, or everybody's, that ran since then, newest first."""

        def work(connection: Connection) -> list[Used]:
            table = rows.usage
            query = sa.select(table).where(table.c.until >= since)
            if user is not None:
                query = query.where(table.c.user_name == user)
            query = query.order_by(table.c.started.desc())
            return [_used(row) for row in connection.execute(query).mappings()]

        return await self._store.read(work)


def _bounded(job: JobUsage, now: datetime) -> JobUsage | None:
    """Return a report with times that can be, ``None`` for one that cannot."""
    until = min(job.until, now)
    if job.started > until + _CLOCKS_DIFFER or until - job.started > _LONGEST:
        return None
    return replace(job, until=max(until, job.started))


def _refuse_ours(connection: Connection, user: str, names: list[str]) -> None:
    """Refuse reports of jobs that are the batch core's to tell of."""
    used = rows.usage.c
    submitted = sa.select(rows.jobs.c.name).where(rows.jobs.c.name.in_(names))
    reported = sa.select(used.name).where(
        used.user_name == user, used.name.in_(names), used.kind != "kernel"
    )
    if (name := connection.scalar(sa.union(submitted, reported))) is not None:
        raise InvalidSpec("jobs", f"{name} is a job of the gateway's.")


def _write_claim(connection: Connection, user: str, job: JobUsage) -> None:
    table = rows.usage
    same = sa.and_(table.c.user_name == user, table.c.name == job.name)
    known = connection.execute(sa.select(table).where(same)).mappings().first()
    values = asdict(job) | {"user_name": user, "kind": "kernel"}
    if known is None:
        connection.execute(sa.insert(table), [values])
    elif job.until > known["until"] or (job.ended and not known["ended"]):
        change = {"until": max(job.until, known["until"]), "ended": job.ended}
        connection.execute(sa.update(table).where(same).values(change))


def _count_kernels_to(connection: Connection, user: str, end: datetime) -> None:
    """Count kernels that ran when they were last told of to their server's end."""
    table = rows.usage
    ran = sa.and_(
        table.c.user_name == user,
        table.c.kind == "kernel",
        sa.not_(table.c.ended),
        table.c.name.not_in(sa.select(rows.jobs.c.name)),
        table.c.until.between(end - _UNTOLD, end),
    )
    connection.execute(sa.update(table).where(ran).values(until=end))


def _used(row: RowMapping) -> Used:
    values = {item.name: row[item.name] for item in fields(JobUsage)}
    return Used(row["user_name"], row["kind"], JobUsage(**values))
