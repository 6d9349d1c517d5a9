"""The seam between Landbridge and a batch system.

``Scheduler`` has three verbs and the questions around them. Implementations are
found by name through the entry-point group ``landbridge.schedulers``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from .errors import BatchError
from .models import BatchJob, JobSpec, JobStatus, Resources

#: ``JobStatus.reason`` of an ``UNKNOWN`` reading that is good and complete, names
#: the job nowhere, and finds no end of it in the accounting either.
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class GpuPool:
    """GPUs of one model in one partition.

    Attributes:
        model: the scheduler's name for it, ``""`` where nodes do not tell.
        total: GPUs on nodes that are up.
        idle: of those, not allocated now (on nodes that take new jobs).
        per_node: the most GPUs of this model on one node.
    """

    model: str
    total: int
    idle: int
    per_node: int


@dataclass(frozen=True, slots=True)
class Partition:
    """What one partition has and allows now.

    Attributes:
        name: as the scheduler spells it.
        up: False when it takes or starts no jobs.
        default: True for the one used when none is named.
        max_time, default_time: limits, ``None`` for unlimited or unset.
        nodes: nodes that are up.  idle_nodes: of those, wholly free.
        cpus, idle_cpus: cores on nodes that are up.
        max_cpus_per_node, max_memory_per_node: of its largest node (bytes).
        max_nodes: the most nodes per job, ``None`` for no limit of its own.
        gpus: by model.
        allow_accounts: only these accounts, ``None`` for all.
        deny_accounts, allow_qos, allow_groups: likewise.
    """

    name: str
    up: bool = True
    default: bool = False
    max_time: timedelta | None = None
    default_time: timedelta | None = None
    nodes: int = 0
    idle_nodes: int = 0
    cpus: int = 0
    idle_cpus: int = 0
    max_cpus_per_node: int = 0
    max_memory_per_node: int = 0
    max_nodes: int | None = None
    gpus: tuple[GpuPool, ...] = ()
    allow_accounts: frozenset[str] | None = None
    deny_accounts: frozenset[str] = frozenset()
    allow_qos: frozenset[str] | None = None
    allow_groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The cluster at one moment.

    Attributes:
        taken_at: aware UTC; a page shows the age.
        partitions: in the scheduler's order, the default one first.
        node_addresses: host name to the address that answers on it.
        left_out: nodes and partitions that the scheduler named in a way that could
            not be read; they are missing here.
    """

    taken_at: datetime
    partitions: tuple[Partition, ...]
    node_addresses: Mapping[str, str]
    left_out: int = 0

    def partition(self, name: str | None) -> Partition | None:
        """Return the named partition, or the default one for ``None``."""
        for partition in self.partitions:
            if partition.name == name or (name is None and partition.default):
                return partition
        return None


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What the scheduler allows one user.

    Attributes:
        accounts: account name to the QoS usable with it; empty means that the
            site keeps no accounts (then nothing is checked).
        default_account: used when none is named, or ``None``.
        max_jobs, max_submit: numbers of jobs, ``None`` for no limit.
        max_gpus: group limit of GPUs per account (``GrpTRES``), where one is set.
        max_time: longest time limit per account (``MaxWall``), where one is set.
        max_time_qos: the same per QoS.
    """

    accounts: Mapping[str, frozenset[str]]
    default_account: str | None = None
    max_jobs: int | None = None
    max_submit: int | None = None
    max_gpus: Mapping[str, int] | None = None
    max_time: Mapping[str, timedelta] | None = None
    max_time_qos: Mapping[str, timedelta] | None = None


class Scheduler(Protocol):
    """A batch system. Methods run on the event loop and never block it.

    Any method may raise :class:`~spawners.batch.errors.SchedulerUnavailable` or
    :class:`~spawners.batch.errors.AuthenticationBroken`: nothing is known then.
    """

    name: str

    async def submit(self, spec: JobSpec, *, user: str) -> BatchJob:
        """Submit ``spec`` as ``user``.

        Raises:
            SubmitRejected: it can never run as asked (``LimitReached``: not now).
            SubmitUncertain: the answer was lost; use :meth:`find`, never resubmit
                under the same name.
        """

    async def submit_set(
        self, spec: JobSpec, count: int, *, user: str
    ) -> tuple[BatchJob, ...]:
        """Submit ``count`` equal jobs at once, named after ``spec.name``.

        The answer has them by index, each named by :func:`~.models.task_name`; from
        then on each is a job like any other. A task finds its index in its
        environment, as ``SLURM_ARRAY_TASK_ID`` or ``LANDBRIDGE_TASK``.

        The set is taken as a whole or not at all; what its user's limits do not allow
        at once waits.

        Args:
            spec: what each of them runs.
            count: 1 to :data:`~.models.MOST_TASKS`.
            user: account to run as.

        Raises:
            SubmitRejected: none of them was taken (``LimitReached``: not now).
            SubmitUncertain: the answer was lost, for all of them; :meth:`find` of
                the set's name tells which tasks there are.
        """

    async def status(self, jobs: Collection[BatchJob]) -> Mapping[BatchJob, JobStatus]:
        """Read all ``jobs`` at once; every one of them is a key of the answer.

        A job that this reading says nothing certain about is ``UNKNOWN``; whether
        it is lost is decided over several readings by the caller.
        """

    async def cancel(self, job: BatchJob) -> None:
        """Ask for the end of ``job``, as its user; returning means "asked".

        Asking twice, or for a job that ended, is no error. The identity is
        checked first: an id that now belongs to another job is left alone.
        """

    async def cancel_many(
        self, jobs: Collection[BatchJob]
    ) -> Mapping[BatchJob, BatchError | None]:
        """Do what :meth:`cancel` does for all ``jobs``, by few commands.

        Every one of them is a key of the answer; ``None`` means "asked", or that
        there was nothing to ask for. What went wrong with one is no other's matter,
        and nothing is raised.
        """

    async def find(self, name: str, *, user: str) -> tuple[BatchJob, ...]:
        """Return the jobs of ``user`` that were submitted under ``name``.

        For the name of a set these are all its tasks, for a task's it alone.
        Based on an answer of the controller given *after* this call began.
        """

    async def check(self, resources: Resources, *, user: str) -> None:
        """Refuse what the scheduler would accept and then never start.

        Raises:
            SubmitRejected: naming the field and saying what is allowed.
        """

    async def snapshot(self) -> ClusterSnapshot:
        """Read partitions, nodes and GPUs now (one or two commands)."""

    async def limits(self, user: str) -> UserLimits:
        """Read the accounts, QoS and limits of ``user``."""

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess when ``spec`` would start if submitted now. Never a promise."""

    async def read_output(
        self, job: BatchJob, path: str, *, max_bytes: int = 16_384
    ) -> str:
        """Return the end of the job's output file, read as its user; may be ``""``."""

    async def close(self) -> None:
        """Release connections; jobs go on."""
