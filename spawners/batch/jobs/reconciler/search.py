"""Finds by name what became of submissions whose answer was lost.

An intent without an identity (a lost answer, a crash between the submission and the
commit) is looked for several times, each look an answer of the controller that was
given after the look began. Found, it is adopted; not found, it is given up, and still
looked for at growing intervals, because a submission can become a job long after its
client went away. Such a late duplicate is never used, but cancelled.
"""

from __future__ import annotations

import asyncio
import logging

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

from ...explain.failure import Failure
from ...models import BatchJob
from ...scheduler import Scheduler
from ..ledger import Ledger
from ..record import Phase, Situation, utc_now
from ..settings import WatchSettings

log = logging.getLogger(__name__)

NEVER_TAKEN = Failure(
    "The scheduler never took the job",
    "Its answer was lost, and no job of this name is there.",
    "Start again.",
)
_EXTRA_SECONDS = 5.0


class Searcher:
    """Concludes from what was found under a record's name."""

    def __init__(
        self, scheduler: Scheduler, ledger: Ledger, settings: WatchSettings
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._settings = settings
        self._extra: set[BatchJob] = set()
        self._more = asyncio.Event()

    async def conclude(self, name: str, jobs: tuple[BatchJob, ...]) -> None:
        """Take in the jobs that the scheduler has of a record's name."""
        record = self._ledger.get(name)
        if record is None or not jobs:
            return
        if record.phase is Phase.INTENT:
            first, *others = sorted(jobs, key=_age)
            log.info("Found job %s (%s) of %s", name, first.id, record.user)
            self._ledger.note(name, lambda record: record.adopted(first))
            self._have_ended(others)
        elif record.situation is Situation.SEARCHED:
            await self._end_duplicates(name, jobs)
        elif record.needs_polling and record.job is not None:
            for job in jobs:
                if job.id == record.job.id and record.job.submitted is None:
                    self._complete(name, job)
                    break
        await self._ledger.flush()

    def _complete(self, name: str, job: BatchJob) -> None:
        self._ledger.note(name, lambda record: record.identified(job))

    def give_up(self, name: str) -> None:
        """Conclude from the last look, which found nothing."""
        record = self._ledger.get(name)
        if record is None:
            return
        if record.phase is Phase.INTENT:
            log.warning("Job %s of %s was never submitted", name, record.user)
            now = utc_now()
            until = self._settings.late_until(now)
            self._ledger.note(
                name, lambda record: record.refused(NEVER_TAKEN, now, until)
            )
        elif record.situation is Situation.SEARCHED:
            self._ledger.note(name, lambda record: record.search_over())

    async def run(self) -> None:
        """End second jobs of a name until they ended; no record can hold them."""
        while True:
            for job in list(self._extra):
                log.error(
                    "A second job %s is named %s; it is stopped", job.id, job.name
                )
                try:
                    await self._scheduler.cancel(job)
                except GatewayError as error:
                    log.warning("Cannot cancel job %s: %s", job.id, error)
                if await self._has_ended(job):
                    self._extra.discard(job)
            if self._extra:
                await pause(_EXTRA_SECONDS, self._more)
            else:
                await self._more.wait()
                self._more.clear()

    def _have_ended(self, jobs: list[BatchJob]) -> None:
        self._extra |= set(jobs)
        if jobs:
            self._more.set()

    async def _end_duplicates(self, name: str, jobs: tuple[BatchJob, ...]) -> None:
        """Put a late duplicate under its closed record, with a wish for its end."""
        running = [job for job in jobs if not await self._has_ended(job)]
        record = self._ledger.get(name)
        if not running or record is None or record.situation is not Situation.SEARCHED:
            return
        first, *others = sorted(running, key=_age)
        log.warning("Job %s appeared as %s after it was given up", name, first.id)
        now = utc_now()
        self._ledger.note(name, lambda record: record.duplicate_found(first, now))
        self._have_ended(others)

    async def _has_ended(self, job: BatchJob) -> bool:
        try:
            reading = await self._scheduler.status([job])
        except GatewayError as error:
            log.warning("Cannot read the state of job %s: %s", job.id, error)
            return False
        return job in reading and reading[job].state.ended


def _age(job: BatchJob) -> tuple[float, int, str]:
    """Sort key: the oldest first."""
    submitted = job.submitted.timestamp() if job.submitted else float("inf")
    return (submitted, len(job.id), job.id)
