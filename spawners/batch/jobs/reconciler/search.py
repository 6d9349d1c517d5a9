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
from collections.abc import Collection, Mapping, Sequence

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

from ...explain.failure import Failure
from ...models import BatchJob
from ...scheduler import Scheduler
from ..ledger import Ledger
from ..record import JobRecord, Phase, Situation, utc_now
from ..settings import Policy

log = logging.getLogger(__name__)

NEVER_TAKEN = Failure(
    "The scheduler never took the job",
    "Its answer was lost, and no job of this name is there.",
    "Start again.",
)
_EXTRA_SECONDS = 5.0


class Searcher:
    """Concludes from what was found under a record's name."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, policy: Policy) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._policy = policy
        self._extra: set[BatchJob] = set()
        self._more = asyncio.Event()

    async def conclude(self, found: Mapping[str, Sequence[BatchJob]]) -> None:
        """Take in the jobs that the scheduler has of these records' names."""
        late = {}
        for name, jobs in found.items():
            record = self._ledger.get(name)
            if record is None or not jobs:
                continue
            if record.phase is Phase.INTENT:
                self._adopt(record, jobs)
            elif record.situation is Situation.SEARCHED:
                late[name] = jobs
            elif record.needs_polling and record.job is not None:
                for job in jobs:
                    if job.id == record.job.id and record.job.submitted is None:
                        self._complete(name, job)
                        break
        if late:
            await self._end_duplicates(late)
        await self._ledger.flush()

    def _adopt(self, record: JobRecord, jobs: Sequence[BatchJob]) -> None:
        first, *others = sorted(jobs, key=_age)
        log.info("Found job %s (%s) of %s", record.name, first.id, record.user)
        self._ledger.note(record.name, lambda record: record.adopted(first))
        self._have_ended(others)

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
            until = self._policy.late_until(now)
            self._ledger.note(
                name, lambda record: record.refused(NEVER_TAKEN, now, until)
            )
        elif record.situation is Situation.SEARCHED:
            self._ledger.note(name, lambda record: record.search_over())

    async def run(self) -> None:
        """End second jobs of a name until they ended; no record can hold them."""
        while True:
            if extra := list(self._extra):
                for job in extra:
                    log.error(
                        "A second job %s is named %s; it is stopped", job.id, job.name
                    )
                for job, error in (await self._scheduler.cancel_many(extra)).items():
                    if error is not None:
                        log.warning("Cannot cancel job %s: %s", job.id, error)
                self._extra -= await self._ended(extra)
            if self._extra:
                await pause(_EXTRA_SECONDS, self._more)
            else:
                await self._more.wait()
                self._more.clear()

    def _have_ended(self, jobs: Collection[BatchJob]) -> None:
        self._extra |= set(jobs)
        if jobs:
            self._more.set()

    async def _end_duplicates(self, late: Mapping[str, Sequence[BatchJob]]) -> None:
        """Put late duplicates under their closed records, with a wish for their end."""
        over = await self._ended([job for jobs in late.values() for job in jobs])
        for name, jobs in late.items():
            running = [job for job in jobs if job not in over]
            record = self._ledger.get(name)
            if record is None or record.situation is not Situation.SEARCHED:
                continue
            if running:
                self._hold(record, running)

    def _hold(self, record: JobRecord, running: Sequence[BatchJob]) -> None:
        first, *others = sorted(running, key=_age)
        name, now = record.name, utc_now()
        log.warning("Job %s appeared as %s after it was given up", name, first.id)
        self._ledger.note(name, lambda record: record.duplicate_found(first, now))
        self._have_ended(others)

    async def _ended(self, jobs: Collection[BatchJob]) -> set[BatchJob]:
        """Return which of these have ended, as far as that can be read now."""
        try:
            readings = await self._scheduler.status(jobs)
        except GatewayError as error:
            log.warning("Cannot read the state of %s jobs: %s", len(jobs), error)
            return set()
        return {job for job, status in readings.items() if status.state.ended}


def _age(job: BatchJob) -> tuple[float, int, str]:
    """Sort key: the oldest first."""
    submitted = job.submitted.timestamp() if job.submitted else float("inf")
    return (submitted, len(job.id), job.id)
