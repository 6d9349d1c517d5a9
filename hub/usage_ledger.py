"""What jobs used: CPU-, GPU- and memory-hours, by user.

Of servers the hub's own records tell; of kernels their notebook server does, every
few minutes and at their end, with its own token. So kernels' numbers are a claim of
their user's own process: good for people who look after what they use. Who bills by
it takes the scheduler's accounting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any  # Any: JSON

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.engine import Connection, RowMapping

from spawners.batch.jobs import tables as rows
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.store import JobStore

_MOST_JOBS = 100
_MOST_ROWS = 5000
_CLOCKS_DIFFER = timedelta(minutes=2)
_LONGEST = timedelta(days=366)
# A server tells of its kernels every two minutes, and of the last of them in vain if
# it was stopped: its token ends first.
_UNTOLD = timedelta(minutes=3)
_GIB = 1024**3

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+:\[\]-]{1,64}$")]
Line = Annotated[str, StringConstraints(max_length=120, pattern=r"^[ -~]*$")]


class TooMuch(Exception):
    """A user's server reports more jobs than anybody has."""


class NoKernel(Exception):
    """A report names a job that the hub's own records tell of."""


class JobUsage(BaseModel):
    """One job as its notebook server tells of it.

    Attributes:
        name: the job's random name.  job_id: the scheduler's.  title: the kernel's.
        started: when it came to its node.  until: last known to run.
        ended: whether that was its end.
        cpus, gpus, memory: of the whole job; memory in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Word
    job_id: Word
    title: Line = ""
    started: AwareDatetime
    until: AwareDatetime
    ended: bool
    cpus: int = Field(ge=0, le=10_000_000)
    gpus: int = Field(ge=0, le=1_000_000)
    memory: int = Field(ge=0, le=2**62)


class Report(BaseModel):
    """The body of ``POST usage``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: Annotated[tuple[JobUsage, ...], Field(max_length=_MOST_JOBS)]


@dataclass(frozen=True, slots=True)
class Used:
    """One stored job."""

    user: str
    kind: str
    usage: JobUsage

    @property
    def hours(self) -> float:
        """How long it ran."""
        return (self.usage.until - self.usage.started) / timedelta(hours=1)

    def to_json(self) -> dict[str, Any]:
        """Return it with its hours."""
        shown = self.usage.model_dump(mode="json", exclude={"name"})
        return {"user": self.user, "kind": self.kind, **shown, **hours_of([self])}


def hours_of(jobs: Iterable[Used]) -> dict[str, float]:
    """Return the sums: ``cpu_hours``, ``gpu_hours``, ``memory_gib_hours``."""
    cpu = gpu = memory = 0.0
    for job in jobs:
        cpu += job.hours * job.usage.cpus
        gpu += job.hours * job.usage.gpus
        memory += job.hours * job.usage.memory / _GIB
    return {
        "cpu_hours": round(cpu, 4),
        "gpu_hours": round(gpu, 4),
        "memory_gib_hours": round(memory, 4),
    }


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
            TooMuch: too many jobs for one user.
            NoKernel: a job is none of a notebook server's; nothing is taken.
        """
        now = datetime.now(UTC)
        usable = [job for job in map(lambda j: _bounded(j, now), jobs) if job]

        def work(connection: Connection) -> None:
            count = sa.select(sa.func.count()).where(
                rows.usage.c.user_name == user,
                rows.usage.c.until > now - timedelta(days=1),
            )
            if (connection.scalar(count) or 0) + len(usable) > _MOST_ROWS:
                raise TooMuch
            _refuse_ours(connection, user, [job.name for job in usable])
            for job in usable:
                _write(connection, user, "kernel", job)

        await self._store.transact(work)

    async def take_servers(self) -> None:
        """Take over what the hub's own records tell of servers since the last time."""
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
                if (job := of_record(record, now)) is not None:
                    kind, _, rest = record.owner.partition(":")
                    name = rest.partition("/")[0] or record.user
                    _write(connection, name, kind[:16], job)
                    if kind == "server" and job.ended:
                        _count_kernels_to(connection, name, job.until)

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


def of_record(record: JobRecord, now: datetime) -> JobUsage | None:
    """Return what a job of the hub's used so far; ``None`` if it never started."""
    status, resources = record.status, record.resources
    if status.started is None or record.job is None:
        return None
    until = status.ended or (now if record.live else record.updated)
    return JobUsage(
        name=record.name,
        job_id=record.job.id,
        title=record.facts.get("title", "")[:120].encode("ascii", "replace").decode(),
        started=status.started,
        until=max(until, status.started),
        ended=not record.live,
        cpus=resources.cpus * resources.nodes,
        gpus=resources.gpus * resources.nodes,
        memory=(resources.memory or 0) * resources.nodes,
    )


def _bounded(job: JobUsage, now: datetime) -> JobUsage | None:
    """Return a report with times that can be, ``None`` for one that cannot."""
    until = min(job.until, now)
    if job.started > until + _CLOCKS_DIFFER or until - job.started > _LONGEST:
        return None
    return job.model_copy(update={"until": max(until, job.started)})


def _refuse_ours(connection: Connection, user: str, names: list[str]) -> None:
    """Raise :class:`NoKernel` if one of these jobs is the hub's to tell of."""
    used = rows.usage.c
    submitted = sa.select(rows.jobs.c.name).where(rows.jobs.c.name.in_(names))
    reported = sa.select(used.name).where(
        used.user_name == user, used.name.in_(names), used.kind != "kernel"
    )
    if (name := connection.scalar(sa.union(submitted, reported))) is not None:
        raise NoKernel(name)


def _write(connection: Connection, user: str, kind: str, job: JobUsage) -> None:
    table = rows.usage
    same = sa.and_(table.c.user_name == user, table.c.name == job.name)
    known = connection.execute(sa.select(table).where(same)).mappings().first()
    values = job.model_dump() | {"user_name": user, "kind": kind}
    if known is None:
        connection.execute(sa.insert(table), [values])
    elif known["kind"] == "kernel" and kind != "kernel":
        # What the hub knows stands, whatever was claimed of its job before.
        connection.execute(sa.update(table).where(same).values(values))
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
        table.c.until.between(end - _UNTOLD, end),
    )
    connection.execute(sa.update(table).where(ran).values(until=end))


def _used(row: RowMapping) -> Used:
    values = {name: row[name] for name in JobUsage.model_fields}
    return Used(row["user_name"], row["kind"], JobUsage.model_construct(**values))
