"""Closes the record of a job whose end was read, with its last words if they matter."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from spawners.common.errors import GatewayError

from ...explain.states import explain_end
from ...models import JobState, JobStatus
from ...scheduler import Scheduler
from ..ledger import Ledger
from ..record import JobRecord, Phase, Transition, utc_now
from ..settings import Policy
from .steps import Report

log = logging.getLogger(__name__)


class Closing:
    """Tells of ends."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, policy: Policy) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._policy = policy

    async def answers(self, record: JobRecord) -> bool:
        """Whether the job itself says that it is there: a listing can be wrong."""
        ask = self._policy.answers
        return record.address is not None and ask is not None and await ask(record)

    async def close(
        self, record: JobRecord, status: JobStatus, report: Report | None
    ) -> None:
        """Write an end down, after the job's last words were read.

        Args:
            record: of a job that is polled.
            status: its end.
            report: what the job said about it, if it did.
        """
        if report and status.exit_code is None and status.signal is None:
            status = replace(status, exit_code=report.exit_code, signal=report.signal)
        tail = ""
        if record.cancel_wanted is None and record.phase is Phase.SUBMITTED:
            tail = report.log if report and report.log else await self._tail(record)
        now = utc_now()
        until = now + self._policy.rest_time

        def end(record: JobRecord) -> Transition:
            if not record.needs_polling:
                return Transition(record)
            asked = record.cancel_wanted is not None
            failure = explain_end(
                status,
                record.resources,
                tail,
                asked=asked,
                vocabulary=record.vocabulary,
            )
            if status.state is JobState.LOST:
                late = self._policy.late_until(now) or now
                return record.vanished(failure, now, late)
            return record.ended(status, failure, until)

        log.info("Job %s of %s ended: %s", record.name, record.user, status.state)
        self._ledger.note(record.name, end)
        await self._ledger.flush()

    async def _tail(self, record: JobRecord) -> str:
        """Return the end of the job's output, or nothing if it cannot be read."""
        if record.job is None or record.output is None:
            return ""
        path = record.output.replace("%j", record.job.id)
        try:
            async with asyncio.timeout(self._policy.output_timeout.total_seconds()):
                return await self._scheduler.read_output(record.job, path)
        except (GatewayError, OSError, TimeoutError) as error:
            log.warning("Cannot read the output of job %s: %s", record.name, error)
            return ""
