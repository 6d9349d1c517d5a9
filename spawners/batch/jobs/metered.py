"""A scheduler that counts what it is asked, for metrics and benchmarks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from datetime import datetime

from ..errors import BatchError
from ..models import BatchJob, JobSpec, JobStatus, Resources
from ..scheduler import ClusterSnapshot, Scheduler, UserLimits


class MeteredScheduler:
    """Passes every call on to another scheduler, and counts it.

    Attributes:
        calls: number of calls by method since the start.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.name = scheduler.name
        self.calls: Counter[str] = Counter()
        self._scheduler = scheduler
        self._recent: deque[float] = deque(maxlen=10_000)

    @property
    def per_minute(self) -> int:
        """Number of calls in the last 60 s."""
        horizon = time.monotonic() - 60
        while self._recent and self._recent[0] < horizon:
            self._recent.popleft()
        return len(self._recent)

    async def submit(self, spec: JobSpec, *, user: str) -> BatchJob:
        """See :class:`Scheduler`."""
        return await self._count("submit").submit(spec, user=user)

    async def submit_set(
        self, spec: JobSpec, count: int, *, user: str
    ) -> tuple[BatchJob, ...]:
        """See :class:`Scheduler`."""
        return await self._count("submit_set").submit_set(spec, count, user=user)

    async def status(self, jobs: Collection[BatchJob]) -> Mapping[BatchJob, JobStatus]:
        """See :class:`Scheduler`."""
        return await self._count("status").status(jobs)

    async def cancel(self, job: BatchJob) -> None:
        """See :class:`Scheduler`."""
        await self._count("cancel").cancel(job)

    async def cancel_many(
        self, jobs: Collection[BatchJob]
    ) -> Mapping[BatchJob, BatchError | None]:
        """See :class:`Scheduler`."""
        return await self._count("cancel_many").cancel_many(jobs)

    async def find(self, name: str, *, user: str) -> tuple[BatchJob, ...]:
        """See :class:`Scheduler`."""
        return await self._count("find").find(name, user=user)

    async def check(self, resources: Resources, *, user: str) -> None:
        """See :class:`Scheduler`."""
        await self._count("check").check(resources, user=user)

    async def snapshot(self) -> ClusterSnapshot:
        """See :class:`Scheduler`."""
        return await self._count("snapshot").snapshot()

    async def limits(self, user: str) -> UserLimits:
        """See :class:`Scheduler`."""
        return await self._count("limits").limits(user)

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """See :class:`Scheduler`."""
        return await self._count("estimate").estimate(spec, user=user)

    async def read_output(
        self, job: BatchJob, path: str, *, max_bytes: int = 16_384
    ) -> str:
        """See :class:`Scheduler`."""
        scheduler = self._count("read_output")
        return await scheduler.read_output(job, path, max_bytes=max_bytes)

    async def close(self) -> None:
        """See :class:`Scheduler`."""
        await self._scheduler.close()

    def _count(self, method: str) -> Scheduler:
        self.calls[method] += 1
        self._recent.append(time.monotonic())
        return self._scheduler
