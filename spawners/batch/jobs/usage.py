"""What jobs used, as values that travel: CPU-, GPU- and memory-hours, by user.

The batch core's own records tell it. Kernels of the last release had none: their
notebook servers report what they use, every few minutes and at their end, and such
numbers are a claim of their user's own process. All of it is for people who look after
what they use; who bills takes the scheduler's accounting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any  # Any: JSON

from pydantic import AwareDatetime, Field, StringConstraints
from pydantic_core import to_jsonable_python

from .record import JobRecord

_MOST_JOBS = 100
_GIB = 1024**3

_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+:\[\]-]{1,64}$")]
_Line = Annotated[str, StringConstraints(max_length=120, pattern=r"^[ -~]*$")]


@dataclass(frozen=True, slots=True)
class JobUsage:
    """What one job used.

    Attributes:
        name: the job's random name.
        job_id: the scheduler's.
        started: when it came to its node.
        until: last known to run.
        ended: whether that was its end.
        cpus, gpus, memory: of the whole job; memory in bytes.
        title: the kernel's.
    """

    name: _Word
    job_id: _Word
    started: AwareDatetime
    until: AwareDatetime
    ended: bool
    cpus: Annotated[int, Field(ge=0, le=10_000_000)]
    gpus: Annotated[int, Field(ge=0, le=1_000_000)]
    memory: Annotated[int, Field(ge=0, le=2**62)]
    title: _Line = ""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What a notebook server of the last release tells of its user's kernels."""

    jobs: Annotated[tuple[JobUsage, ...], Field(max_length=_MOST_JOBS)]


@dataclass(frozen=True, slots=True)
class Used:
    """One job that is written down: whose it was, and what ran in it."""

    user: str
    kind: str
    usage: JobUsage

    @property
    def hours(self) -> float:
        """How long it ran."""
        return (self.usage.until - self.usage.started) / timedelta(hours=1)

    def to_json(self) -> dict[str, Any]:
        """Return it for people, with its hours."""
        shown = to_jsonable_python(asdict(self.usage))
        del shown["name"]
        return {"user": self.user, "kind": self.kind, **shown, **hours_of([self])}


@dataclass(frozen=True, slots=True)
class Usage:
    """The jobs that ran in a period, the newest first."""

    jobs: tuple[Used, ...]


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


def usage_of(record: JobRecord, now: datetime) -> JobUsage | None:
    """Return what a job used so far; ``None`` if it never started."""
    status, resources = record.status, record.resources
    if status.started is None or record.job is None:
        return None
    until = status.ended or (now if record.live else record.updated)
    return JobUsage(
        name=record.name,
        job_id=record.job.id,
        started=status.started,
        until=max(until, status.started),
        ended=not record.live,
        cpus=resources.cpus * resources.nodes,
        gpus=resources.gpus * resources.nodes,
        memory=(resources.memory or 0) * resources.nodes,
        title=record.facts.get("title", "")[:120].encode("ascii", "replace").decode(),
    )
