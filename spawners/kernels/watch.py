"""One quiet look at all kernel jobs of this process, at most once a tick."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from spawners.batch.models import BatchJob, JobState, JobStatus
from spawners.batch.scheduler import ABSENT, Scheduler
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError

log = logging.getLogger(__name__)

Told = Callable[[JobStatus], None]

_FIRST_SECONDS = 0.5
_QUEUED_SECONDS = 10.0
_STEADY_SECONDS = 60.0
_LONGEST_SECONDS = 120.0
# Between the two good listings that show a job is nowhere.
_LOST_SECONDS = 10.0


class _Watched:
    def __init__(self, told: Told) -> None:
        self.told = told
        self.urgent_since: float | None = monotonic()
        self.absent_since: float | None = None


class KernelWatch:
    """Asks the scheduler about jobs, often while something is about to happen.

    For the tunnels' loop only.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._jobs: dict[BatchJob, _Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def add(self, job: BatchJob, told: Told) -> None:
        """Tell each trustworthy reading of ``job`` from now on."""
        self._jobs[job] = _Watched(told)
        self._start()

    def hurry(self, job: BatchJob) -> None:
        """Look soon: something happened to ``job``."""
        if (watched := self._jobs.get(job)) is not None:
            watched.urgent_since = monotonic()
            self._start()

    def settle(self, job: BatchJob) -> None:
        """Look seldom: its launcher tells what happens."""
        if (watched := self._jobs.get(job)) is not None:
            watched.urgent_since = None

    def remove(self, job: BatchJob) -> None:
        """Stop asking about ``job``."""
        self._jobs.pop(job, None)

    def _start(self) -> None:
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _pause(self) -> float:
        now, pause = monotonic(), _STEADY_SECONDS
        for watched in self._jobs.values():
            if watched.urgent_since is not None:
                # Ever slower: an hour in the queue needs no second-by-second news.
                age = now - watched.urgent_since
                pause = min(pause, max(_FIRST_SECONDS, min(_QUEUED_SECONDS, age / 6)))
        return pause

    async def _run(self) -> None:
        failed, pauses = 0.0, growing(1.0, _LONGEST_SECONDS)
        while self._jobs:
            self._wake.clear()
            try:
                async with asyncio.timeout(failed or self._pause()):
                    await self._wake.wait()
                await asyncio.sleep(_FIRST_SECONDS)  # more may come together
            except TimeoutError:
                self._wake.clear()
            try:
                await self._look()
                failed, pauses = 0.0, growing(1.0, _LONGEST_SECONDS)
            except GatewayError as error:
                failed = next(pauses)
                log.warning("Cannot ask about kernel jobs: %s", error)

    async def _look(self) -> None:
        if not self._jobs:
            return
        readings = await self.scheduler.status(list(self._jobs))
        for job, status in readings.items():
            watched = self._jobs.get(job)
            if watched is not None and (known := _judge(watched, status)) is not None:
                watched.told(known)


def _judge(watched: _Watched, status: JobStatus) -> JobStatus | None:
    """Return a reading that may be acted on, ``None`` for one that proves nothing."""
    if status.state is not JobState.UNKNOWN:
        watched.absent_since = None
        return status
    if status.reason != ABSENT:
        return None
    now = monotonic()
    if watched.absent_since is None:
        watched.absent_since = now
        watched.urgent_since = now
        return None
    if now - watched.absent_since < _LOST_SECONDS:
        return None
    return JobStatus(JobState.LOST, reason=ABSENT, read_at=status.read_at)
