"""A scheduler in memory, moved by hand: for tests of anything above the batch core.

It keeps the whole protocol, starts nothing by itself, and fails on request::

    scheduler = FakeScheduler()
    job = await scheduler.submit(spec, user="alice")
    scheduler.move(job, JobState.RUNNING, node="n01")
    scheduler.fail_next("status")  # the next reading fails
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from .errors import (
    BatchError,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUncertain,
)
from .models import (
    BatchJob,
    JobSpec,
    JobState,
    JobStatus,
    Resources,
    checked_count,
    submitted_name,
    task_name,
)
from .scheduler import ABSENT, ClusterSnapshot, GpuPool, Partition, UserLimits


@dataclass(slots=True)
class _Job:
    job: BatchJob
    spec: JobSpec
    status: JobStatus
    output: str = ""
    cancels: int = field(default=0)


class FakeScheduler:
    """Jobs in a dictionary. See the module for how to drive it.

    Attributes:
        calls: how often each method was called.
        cancels_work: set to False for jobs that ignore a cancel.
        partitions: what :meth:`snapshot` shows.
    """

    name = "fake"

    def __init__(self, *, cancels_work: bool = True) -> None:
        self.calls: Counter[str] = Counter()
        self.cancels_work = cancels_work
        self.partitions: tuple[Partition, ...] = (
            Partition(
                "main",
                default=True,
                nodes=2,
                idle_nodes=2,
                cpus=16,
                idle_cpus=16,
                max_cpus_per_node=8,
                max_memory_per_node=32 * 1024**3,
                gpus=(GpuPool("a100", 4, 4, 2),),
            ),
        )
        self.addresses: dict[str, str] = {"n01": "127.0.0.1", "n02": "127.0.0.1"}
        self.user_limits = UserLimits(accounts={})
        self._jobs: dict[str, _Job] = {}
        self._failures: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self._cancel_failures: dict[str, BatchError] = {}
        self._lost: deque[bool] = deque()
        self._held: list[tuple[JobSpec, int | None, str]] = []
        self._next_id = 1

    # By hand

    def move(
        self,
        job: BatchJob,
        state: JobState,
        *,
        node: str | None = None,
        reason: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        queue_place: int | None = None,
        output: str | None = None,
    ) -> JobStatus:
        """Put ``job`` into ``state``; return what the next reading will tell.

        Args:
            job: as answered by :meth:`submit` or :meth:`find`.
            state: any state, in any order: schedulers surprise.
            node: host that it runs on from now on.
            reason: the scheduler's reason, verbatim.
            exit_code: of the script, once ended.
            signal: that ended it.
            queue_place: place in the queue.
            output: what :meth:`read_output` returns from now on.
        """
        entry = self._jobs[job.id]
        now = datetime.now(UTC)
        old = entry.status
        limit = entry.spec.resources.time_limit
        started = old.started or (now if state.on_nodes else None)
        entry.status = JobStatus(
            state,
            reason=reason,
            exit_code=exit_code,
            signal=signal,
            nodes=(node,) if node else (() if state.queued else old.nodes),
            queue_place=queue_place,
            started=None if state.queued else started,
            ends=started + limit if started and limit and state.on_nodes else None,
            ended=now if state.ended else None,
            restarts=old.restarts + (state.queued and old.state.on_nodes),
        )
        if output is not None:
            entry.output = output
        return entry.status

    def fail_next(
        self, method: str, error: Exception | None = None, *, times: int = 1
    ) -> None:
        """Make the next calls of ``method`` raise (default: no answer)."""
        for _ in range(times):
            self._failures[method].append(
                error or SchedulerUnavailable("The fake scheduler does not answer.")
            )

    def fail_cancel(self, job: BatchJob, error: BatchError | None = None) -> None:
        """Let no cancel of ``job`` arrive until :meth:`heal`; of others they do."""
        self._cancel_failures[job.id] = error or SchedulerUnavailable(
            f"The fake scheduler does not answer about {job.id}."
        )

    def heal(self) -> None:
        """Take back every failure that was asked for and has not happened."""
        self._failures.clear()
        self._cancel_failures.clear()
        self._lost.clear()

    def lose_answer(self, *, accepted: bool = True) -> None:
        """Lose the answer to the next submission.

        Args:
            accepted: whether the job, or set, exists at once; if not, it may
                still come, with :meth:`deliver`.
        """
        self._lost.append(accepted)

    def deliver(self) -> list[BatchJob]:
        """Let submissions that were held back arrive, as late twins."""
        held, self._held = self._held, []
        return [
            job for spec, count, user in held for job in self._accept(spec, count, user)
        ]

    def forget(self, job: BatchJob) -> None:
        """Drop a job from every listing, as a controller's crash does."""
        del self._jobs[job.id]

    def live(self, *, user: str | None = None) -> list[BatchJob]:
        """Return the jobs that have not ended."""
        return [
            entry.job
            for entry in self._jobs.values()
            if not entry.status.state.ended and user in (None, entry.job.user)
        ]

    def spec(self, job: BatchJob) -> JobSpec:
        """Return what ``job`` was submitted with."""
        return self._jobs[job.id].spec

    def cancels(self, job: BatchJob) -> int:
        """Return how often the end of ``job`` was asked for."""
        return self._jobs[job.id].cancels

    # The protocol

    async def submit(self, spec: JobSpec, *, user: str) -> BatchJob:
        """Queue ``spec``."""
        await self._called("submit")
        return self._submit(spec, None, user)[0]

    async def submit_set(
        self, spec: JobSpec, count: int, *, user: str
    ) -> tuple[BatchJob, ...]:
        """Queue ``count`` equal jobs."""
        checked_count(spec, count)
        await self._called("submit_set")
        return self._submit(spec, count, user)

    async def status(self, jobs: Collection[BatchJob]) -> Mapping[BatchJob, JobStatus]:
        """Read the jobs; a forgotten one is ``UNKNOWN`` and ``ABSENT``."""
        await self._called("status")
        now = datetime.now(UTC)
        answer = {}
        for job in jobs:
            entry = self._jobs.get(job.id)
            if entry is None or not _same(entry.job, job):
                answer[job] = JobStatus(JobState.UNKNOWN, reason=ABSENT, read_at=now)
            else:
                answer[job] = replace(entry.status, read_at=now)
        return answer

    async def cancel(self, job: BatchJob) -> None:
        """End the job at once, unless :attr:`cancels_work` is off."""
        await self._called("cancel")
        if (error := self._cancel(job)) is not None:
            raise error

    async def cancel_many(
        self, jobs: Collection[BatchJob]
    ) -> Mapping[BatchJob, BatchError | None]:
        """Do for each what :meth:`cancel` does."""
        try:
            await self._called("cancel_many")
        except BatchError as error:
            return dict.fromkeys(jobs, error)
        return {job: self._cancel(job) for job in jobs}

    def _cancel(self, job: BatchJob) -> BatchError | None:
        if (failure := self._cancel_failures.get(job.id)) is not None:
            return failure
        entry = self._jobs.get(job.id)
        if entry is None or not _same(entry.job, job):
            return None
        entry.cancels += 1
        if self.cancels_work and not entry.status.state.ended:
            self.move(entry.job, JobState.CANCELLED)
        return None

    async def find(self, name: str, *, user: str) -> tuple[BatchJob, ...]:
        """Return the jobs of that name and user, ended ones too."""
        await self._called("find")
        return tuple(
            entry.job
            for entry in self._jobs.values()
            if name in (entry.job.name, submitted_name(entry.job.name))
            and entry.job.user == user
        )

    async def check(self, resources: Resources, *, user: str) -> None:
        """Refuse an unknown partition and more than a node has."""
        await self._called("check")
        cluster = self._snapshot()
        partition = cluster.partition(resources.partition)
        if partition is None:
            raise SubmitRejected(
                f"There is no partition {resources.partition!r}.", field="partition"
            )
        if resources.cpus > partition.max_cpus_per_node:
            raise SubmitRejected(
                f"{resources.cpus} CPUs asked, a node has at most"
                f" {partition.max_cpus_per_node}.",
                field="cpus",
            )

    async def snapshot(self) -> ClusterSnapshot:
        """Return :attr:`partitions` as of now."""
        await self._called("snapshot")
        return self._snapshot()

    async def limits(self, user: str) -> UserLimits:
        """Return :attr:`user_limits`."""
        await self._called("limits")
        return self.user_limits

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess one minute, always."""
        await self._called("estimate")
        return datetime.now(UTC) + timedelta(minutes=1)

    async def read_output(
        self, job: BatchJob, path: str, *, max_bytes: int = 16_384
    ) -> str:
        """Return what :meth:`move` was given as output."""
        await self._called("read_output")
        entry = self._jobs.get(job.id)
        return entry.output[-max_bytes:] if entry else ""

    async def close(self) -> None:
        """Do nothing; the jobs stay."""

    async def _called(self, method: str) -> None:
        self.calls[method] += 1
        await asyncio.sleep(0)
        if self._failures[method]:
            raise self._failures[method].popleft()

    def _submit(
        self, spec: JobSpec, count: int | None, user: str
    ) -> tuple[BatchJob, ...]:
        if self._lost:
            if self._lost.popleft():
                self._accept(spec, count, user)
            else:
                self._held.append((spec, count, user))
            raise SubmitUncertain("The answer was lost.")
        return self._accept(spec, count, user)

    def _accept(
        self, spec: JobSpec, count: int | None, user: str
    ) -> tuple[BatchJob, ...]:
        number, now = str(self._next_id), datetime.now(UTC)
        self._next_id += 1
        names = {number: spec.name}
        if count is not None:
            names = {f"{number}_{n}": task_name(spec.name, n) for n in range(count)}
        jobs = tuple(
            BatchJob(n, name, user, submitted=now) for n, name in names.items()
        )
        for job in jobs:
            self._jobs[job.id] = _Job(job, spec, JobStatus(JobState.PENDING))
        return jobs

    def _snapshot(self) -> ClusterSnapshot:
        return ClusterSnapshot(
            datetime.now(UTC), self.partitions, MappingProxyType(dict(self.addresses))
        )


def _same(known: BatchJob, asked: BatchJob) -> bool:
    """Tell whether an identity is that of the job we know under its id."""
    return (known.name, known.user) == (asked.name, asked.user) and (
        asked.submitted is None or asked.submitted == known.submitted
    )
