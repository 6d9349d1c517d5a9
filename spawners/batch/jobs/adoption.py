"""Finds by name what became of submissions whose answer was lost.

An intent without an identity (a lost answer, a crash between the submission and the
commit) is looked for several times, each look an answer of the controller that was
given after the look began. Found, it is adopted; not found, it is given up, and still
looked for at growing intervals, because a submission can become a job long after its
client went away. Such a late twin is never used, but cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

from ..explain.failure import Failure
from ..models import BatchJob, JobState
from ..scheduler import Scheduler
from .ledger import Ledger, Line
from .record import NOT_READ, JobRecord, Phase, utc_now
from .settings import WatchSettings

log = logging.getLogger(__name__)

NEVER_TAKEN = Failure(
    "The scheduler never took the job",
    "Its answer was lost, and no job of this name is there.",
    "Start again.",
)


@dataclass(slots=True)
class _Look:
    planned: float
    good: int = 0  # planned looks that the controller answered
    due: float = 0.0  # before it is planned, if the job was heard of

    def plan(self, when: float) -> None:
        self.planned = self.due = when


class Adoption:
    """One look at a time, the most urgent first."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        settings: WatchSettings,
        found: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._settings = settings
        self._found = found
        self._looks: dict[str, _Look] = {}
        self._wake = asyncio.Event()
        self._extra: set[BatchJob] = set()
        self._not_before = 0.0
        self._failures = 0

    def look_for(self, name: str) -> None:
        """Look for the job of an open record, from now on."""
        now = asyncio.get_running_loop().time()
        record = self._ledger.get(name)
        delays = self._delays(record) if record else ()
        if delays:
            look = self._looks[name] = _Look(0.0)
            look.plan(now + delays[0])
            self._wake.set()

    def look_now(self, name: str) -> None:
        """Look at once for a job that is being looked for: it was heard of."""
        if look := self._looks.get(name):
            look.due = 0.0
            self._wake.set()

    async def run(self) -> None:
        """Look for all that is wanted, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            name = min(self._looks, key=lambda n: self._looks[n].due, default=None)
            due = self._looks[name].due if name else loop.time() + 3600
            due = max(due, self._not_before)
            if self._extra:
                due = min(due, loop.time() + 5)
            if name is None or due > loop.time():
                await pause(due - loop.time(), self._wake)
                await self._cancel_extra([])
                continue
            await self._look(name)

    async def _look(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        record = self._ledger.get(name)
        if record is None or not self._delays(record):
            self._looks.pop(name, None)
            return
        began = loop.time()
        try:
            found = await self._scheduler.find(name, user=record.user)
        except GatewayError as error:
            log.warning("Cannot look for job %s: %s", name, error)
        except Exception:
            log.exception("Cannot look for job %s", name)
        else:
            self._failures = 0
            await self._conclude(name, found)
            return
        self._failures += 1
        took = loop.time() - began
        self._not_before = loop.time() + self._settings.pause_after(
            self._failures, took
        )

    async def _conclude(self, name: str, found: tuple[BatchJob, ...]) -> None:
        look = self._looks[name]
        record = self._ledger.get(name)
        if record is None:
            return
        if record.phase is Phase.INTENT and found:
            await self._adopt(record, found)
            return
        if record.phase is Phase.SUBMITTED:
            await self._complete(record, found)
        elif found:
            await self._cancel_twin(record, found)
        if self._looks.get(name) is look:
            await self._go_on(name, look)

    async def _go_on(self, name: str, look: _Look) -> None:
        """Plan the next look, or conclude from the last one."""
        now = asyncio.get_running_loop().time()
        record = self._ledger.get(name)
        delays = self._delays(record) if record else ()
        if now < look.planned:
            look.due = look.planned
            return
        look.good += 1
        if look.good < len(delays):
            look.plan(now + delays[look.good])
            return
        del self._looks[name]
        if record is not None and record.phase is Phase.INTENT:
            await self._give_up(record)
        elif record is not None and delays:
            await self._ledger.observe(name, search_until=None)

    async def _adopt(self, record: JobRecord, found: tuple[BatchJob, ...]) -> None:
        first, *others = sorted(found, key=_age)
        await adopt(self._ledger, record, first)
        del self._looks[record.name]
        self.look_for(record.name)
        self._found()
        await self._cancel_extra(others)

    async def _give_up(self, record: JobRecord) -> None:
        log.warning("Job %s of %s was never submitted", record.name, record.user)
        await close_unsubmitted(
            self._ledger, record, NEVER_TAKEN, self._settings, twin_possible=True
        )
        self.look_for(record.name)

    async def _complete(self, record: JobRecord, found: tuple[BatchJob, ...]) -> None:
        """Add what the answer to the submission did not tell: user id and time."""
        for job in found:
            if record.job is not None and job.id == record.job.id:
                await self._ledger.observe(record.name, job=job)

    async def _cancel_twin(
        self, record: JobRecord, found: tuple[BatchJob, ...]
    ) -> None:
        """Put a late twin under its closed record, with a wish for its end."""
        if record.needs_polling:
            return
        running = [job for job in found if not await self._has_ended(job)]
        if not running:
            return
        first, *others = sorted(running, key=_age)
        log.warning("Job %s appeared as %s after it was given up", first.name, first.id)
        await self._ledger.observe(
            record.name,
            Line("warning", "The job appeared after it was given up; it is stopped"),
            job=first,
            status=NOT_READ,
            status_is_current=False,
            cancel_wanted=record.cancel_wanted or utc_now(),
        )
        self._found()
        await self._cancel_extra(others)

    async def _has_ended(self, job: BatchJob) -> bool:
        try:
            reading = await self._scheduler.status([job])
        except GatewayError as error:
            log.warning("Cannot read the state of job %s: %s", job.id, error)
            return False
        return job in reading and reading[job].state.ended

    async def _cancel_extra(self, jobs: list[BatchJob]) -> None:
        """Cancel second jobs of a name until they ended; no record can hold them."""
        self._extra |= set(jobs)
        for job in list(self._extra):
            log.error("A second job %s is named %s; it is stopped", job.id, job.name)
            try:
                await self._scheduler.cancel(job)
            except GatewayError as error:
                log.warning("Cannot cancel job %s: %s", job.id, error)
            if await self._has_ended(job):
                self._extra.discard(job)

    def _delays(self, record: JobRecord) -> tuple[float, ...]:
        if record.phase is Phase.INTENT:
            delays = self._settings.look_delays
        elif record.needs_polling and record.job and record.job.submitted is None:
            delays = self._settings.identity_delays
        elif record.search_until is not None and not record.in_grace_period:
            delays = self._settings.twin_delays
        else:
            return ()
        return tuple(delay.total_seconds() for delay in delays)


async def adopt(ledger: Ledger, record: JobRecord, job: BatchJob) -> JobRecord:
    """Write down the identity of a record's job."""
    log.info("Submitted job %s (%s) for %s", record.name, job.id, record.user)
    return await ledger.observe(
        record.name,
        Line("submitted", f"Submitted as job {job.id}", {"job": job.id}),
        job=job,
        phase=Phase.SUBMITTED,
    )


async def close_unsubmitted(
    ledger: Ledger,
    record: JobRecord,
    failure: Failure,
    settings: WatchSettings,
    *,
    twin_possible: bool,
) -> JobRecord:
    """Close a record that never got an identity.

    Args:
        ledger: where it is.
        record: in phase ``INTENT``.
        failure: why, unless its end was wanted.
        settings: for how long a twin is looked for.
        twin_possible: False if the scheduler certainly has nothing of this name.
    """
    horizon = utc_now() + sum(settings.twin_delays, start=0 * settings.slow)
    search_until = horizon if twin_possible and settings.twin_delays else None
    if record.cancel_wanted is not None:
        return await ledger.observe(
            record.name,
            Line("cancelled", "Stopped before the scheduler took the job"),
            phase=Phase.ENDED,
            status=replace(NOT_READ, state=JobState.CANCELLED, read_at=utc_now()),
            search_until=search_until,
        )
    return await ledger.observe(
        record.name,
        Line("failed", f"{failure.title}: {failure.detail}"),
        phase=Phase.REFUSED,
        failure=failure,
        search_until=search_until,
    )


def _age(job: BatchJob) -> tuple[float, int, str]:
    """Sort key: the oldest first."""
    submitted = job.submitted.timestamp() if job.submitted else float("inf")
    return (submitted, len(job.id), job.id)
