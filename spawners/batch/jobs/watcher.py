"""One quiet watcher for all jobs: one listing per tick, never two at a time.

It asks quickly while something changes, slowly when all is steady, hardly at all
when the controller is slow or away, and not at all when nobody needs to know. Periods
are monotonic: a process that was stopped for an hour asks once when it goes on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

from ..models import BatchJob, JobStatus
from ..scheduler import ClusterSnapshot, Scheduler, UserLimits
from .record import JobRecord
from .settings import Policy

log = logging.getLogger(__name__)

Reading = Mapping[BatchJob, JobStatus] | None


@dataclass(slots=True)
class _Limits:
    value: UserLimits
    read_at: float


class JobWatcher:
    """Reads the scheduler for everybody in this process.

    Attributes:
        healthy: False from a failed reading to the next good one.
        problem: words of the last failure, or ``""``.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        policy: Policy,
        *,
        wanted: Callable[[], list[JobRecord]],
        urgency: Callable[[JobRecord], float],
        apply: Callable[[list[JobRecord], Reading], Awaitable[None]],
    ) -> None:
        """Make a watcher; :meth:`run` and :meth:`run_snapshots` do the work.

        Args:
            scheduler: whom to ask.
            policy: periods.
            wanted: the records to ask about, at each tick.
            urgency: for how long (s) a record's job has been as it is;
                infinity for one that needs no attention.
            apply: what to do with a reading (``None``: it failed).
        """
        self.healthy = True
        self.problem = ""
        self._scheduler = scheduler
        self._policy = policy
        self._wanted = wanted
        self._urgency = urgency
        self._apply = apply
        self._one = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._snapshot: ClusterSnapshot | None = None
        self._snapshot_read_at = float("-inf")
        self._snapshot_asked = asyncio.Event()
        self._snapshot_new = asyncio.Event()
        self._limits: dict[str, _Limits] = {}
        self._limit_reads: dict[str, asyncio.Task[UserLimits]] = {}
        self._took = 0.0
        self._failures = 0

    def nudge(self) -> None:
        """Read soon: something was submitted, cancelled or reported."""
        self._nudged.set()

    async def run(self) -> None:
        """Read at the right moments, for ever."""
        while True:
            records = self._wanted()
            rest = self._rest()
            if not records:
                await self._nudged.wait()
                self._nudged.clear()
                await asyncio.sleep(rest)
                await self.tick()
                continue
            period = max(self._period(records), rest)
            period *= random.uniform(0.9, 1.1)  # noqa: S311 -- jitter, no secret
            began = time.monotonic()
            await pause(period, self._nudged)
            await asyncio.sleep(max(0.0, rest - (time.monotonic() - began)))
            self._nudged.clear()
            await self.tick()

    async def tick(self) -> None:
        """Read all wanted jobs once and apply what was read."""
        async with self._one:
            records = self._wanted()
            if not records:
                return
            jobs = [record.job for record in records if record.job is not None]
            began = time.monotonic()
            reading: Reading = None
            try:
                reading = await self._scheduler.status(jobs)
            except GatewayError as error:
                self._failed(error.message)
            except Exception:
                log.exception("Cannot make sense of the scheduler")
                self._failed("The scheduler's answer makes no sense.")
            else:
                self._succeeded()
            finally:
                self._took = time.monotonic() - began
        await self._apply(records, reading)

    # The cluster

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """The last good snapshot; reading it has a new one made if it is old."""
        if self.snapshot_age > self._policy.snapshot_age.total_seconds():
            self._snapshot_asked.set()
        return self._snapshot

    @property
    def snapshot_age(self) -> float:
        """Seconds since the snapshot was made; infinity if there is none."""
        return time.monotonic() - self._snapshot_read_at

    async def fresh_snapshot(self, max_age_seconds: float) -> ClusterSnapshot | None:
        """Return a snapshot of at most that age, waiting for it.

        The caller sets the deadline: it takes as long as the controller does.
        """
        while self.snapshot_age > max_age_seconds:
            self._snapshot_asked.set()
            await self._snapshot_new.wait()
        return self._snapshot

    async def run_snapshots(self) -> None:
        """Make a snapshot whenever one is asked for, for ever."""
        failures = 0
        while True:
            await self._snapshot_asked.wait()
            took = -time.monotonic()
            try:
                async with self._one:
                    snapshot = await self._scheduler.snapshot()
            except GatewayError as error:
                failures += 1
                log.warning("Cannot read the cluster: %s", error)
                took += time.monotonic()
                await asyncio.sleep(self._policy.pause_after(failures, took))
                continue
            failures = 0
            self._snapshot, self._snapshot_read_at = snapshot, time.monotonic()
            self._snapshot_asked.clear()
            self._snapshot_new.set()
            self._snapshot_new = asyncio.Event()

    async def limits(self, user: str) -> UserLimits:
        """Return a user's limits, a few minutes old at most if all is well.

        Old ones are returned at once, also while the scheduler is away.

        Raises:
            GatewayError: they were never read, and cannot be read now.
        """
        known = self._limits.get(user)
        age = time.monotonic() - known.read_at if known else 0.0
        if known is None or age > self._policy.limits_age.total_seconds():
            task = self._limit_reads.get(user)
            if task is None:
                task = asyncio.create_task(self._read_limits(user))
                self._limit_reads[user] = task
                task.add_done_callback(lambda _: self._limit_reads.pop(user, None))
            if known is None:
                return await asyncio.shield(task)
        return known.value

    async def close(self) -> None:
        """Stop reading limits."""
        tasks = list(self._limit_reads.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_limits(self, user: str) -> UserLimits:
        known = self._limits.get(user)
        try:
            value = await self._scheduler.limits(user)
        except GatewayError as error:
            if known is None:
                raise
            log.warning("Cannot read the limits of %s: %s", user, error)
            value = known.value
        self._limits[user] = _Limits(value, time.monotonic())
        return value

    def _period(self, records: list[JobRecord]) -> float:
        """Seconds to the next reading: a tenth of the shortest time of rest."""
        fast = self._policy.fast.total_seconds()
        slow = self._policy.slow.total_seconds()
        youngest = min(map(self._urgency, records), default=float("inf"))
        return min(max(youngest / 10, fast), slow)

    def _rest(self) -> float:
        """Seconds that the controller gets between two readings, whatever happens."""
        least = self._policy.rest.total_seconds()
        return max(self._policy.pause_after(self._failures, self._took), least)

    def _failed(self, problem: str) -> None:
        self._failures += 1
        self.problem = problem
        if self.healthy:
            log.warning("Cannot read the state of jobs: %s", problem)
        self.healthy = False

    def _succeeded(self) -> None:
        if not self.healthy:
            log.info("The scheduler answers again")
        self._failures = 0
        self.healthy, self.problem = True, ""
