"""What jobs say about themselves: ready, ended, still there.

Who says it was proved before (:mod:`spawners.batch.rendezvous.rendezvous`); here
it is decided whether it still matters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from ..models import JobState
from .adoption import Adoption
from .cancelling import Cancelling
from .errors import StaleReport
from .ledger import Ledger, Line
from .readings import Readings, Report
from .record import Endpoint, JobRecord, Phase, utc_now
from .settings import WatchSettings

log = logging.getLogger(__name__)


class Claims:
    """Takes in the reports of jobs; the methods are those of ``Jobs``."""

    def __init__(
        self,
        ledger: Ledger,
        adoption: Adoption,
        cancelling: Cancelling,
        readings: Readings,
        settings: WatchSettings,
        nudge: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._adoption = adoption
        self._cancelling = cancelling
        self._readings = readings
        self._settings = settings
        self._nudge = nudge
        self._reporting: dict[str, Endpoint] = {}

    async def ready(self, name: str, endpoint: Endpoint) -> None:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.report_ready`."""
        record = await self._wanted(name)
        known = record.endpoint or self._reporting.get(name)
        if known not in (None, endpoint):
            raise StaleReport(f"Job {name} has reported another endpoint before.")
        if record.endpoint is not None:
            return
        log.info("Job %s of %s is ready on %s", name, record.user, endpoint.host)
        self._reporting[name] = endpoint
        try:
            await self._ledger.commit(
                name,
                Line("ready", "The server is ready", {"node": endpoint.host}),
                endpoint=endpoint,
            )
        finally:
            self._reporting.pop(name, None)
        self._nudge()

    async def ended(
        self, name: str, exit_code: int | None, signal: int | None, log_tail: str
    ) -> None:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.report_ended`."""
        record = await self._ledger.recall(name)
        if not record.watched and record.phase is not Phase.INTENT:
            return
        how = f"signal {signal}" if signal else f"exit code {exit_code}"
        self._readings.report(name, Report(exit_code, signal, log_tail))
        await self._ledger.observe(
            name,
            Line(
                "server",
                f"The server's process ended ({how})",
                {"exit_code": exit_code, "signal": signal},
            ),
        )
        self.heard_of(name)

    def heard_of(self, name: str) -> None:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.heard_of`."""
        record = self._ledger.get(name)
        if record is not None and _is_given_up(record):
            horizon = sum(self._settings.twin_delays, timedelta())
            self._ledger.see(name, look_until=utc_now() + horizon)
            self._adoption.look_for(name)
        self._adoption.look_now(name)
        self._nudge()

    async def _wanted(self, name: str) -> JobRecord:
        """Return the record of a job that may report ready, or have it ended."""
        record = await self._ledger.recall(name)
        newest = self._ledger.current(record.owner)
        if record.live and record.cancel_wanted is None and newest is record:
            return record
        await self._cancelling.want(name)
        self.heard_of(name)
        raise StaleReport(f"Job {name} is not wanted any more.")


def _is_given_up(record: JobRecord) -> bool:
    """True for a closed record whose job may be there nevertheless."""
    lost = record.status.state is JobState.LOST
    return not record.live and not record.watched and (record.job is None or lost)
