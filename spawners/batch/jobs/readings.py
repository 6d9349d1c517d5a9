"""What a reading of the scheduler means for our records, and how it is told.

A reading that is missing, odd or failed changes nothing but ``status_is_current``.
Only an end that was read, or two good listings without the job, ends a record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from operator import attrgetter

from spawners.common.errors import GatewayError
from spawners.common.text import iso

from ..explain.states import explain_end, explain_state
from ..models import BatchJob, JobState, JobStatus
from ..scheduler import ABSENT, Scheduler
from .ledger import Ledger, Line
from .record import JobRecord, Phase, utc_now
from .settings import WatchSettings

log = logging.getLogger(__name__)

_KINDS = {
    JobState.CONFIGURING: "allocated",
    JobState.RUNNING: "running",
    JobState.SUSPENDED: "suspended",
    JobState.STOPPED: "suspended",
    JobState.COMPLETING: "ending",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a job said about its own end: a claim that was authenticated."""

    exit_code: int | None
    signal: int | None
    log: str = field(repr=False)


@dataclass(slots=True)
class _Seen:
    """What is remembered of a job between readings. Times are monotonic."""

    changed: float
    queued_since: float
    told_at: float = 0.0
    told: str = ""
    untold: bool = False
    absent_since: float | None = None
    report: Report | None = None
    ending: bool = False


class Readings:
    """Applies readings to the records in the ledger."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        settings: WatchSettings,
        lost: Callable[[str], None],
        attend: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._settings = settings
        self._lost = lost
        self._attend = attend
        self._seen: dict[str, _Seen] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(4)

    def wanted(self) -> list[JobRecord]:
        """Return the records whose jobs have to be asked about."""
        now = utc_now()
        records, names = [], set()
        for record in self._ledger.records():
            if (
                record.in_grace_period
                and record.search_until
                and record.search_until < now
            ):
                self._ledger.see(record.name, search_until=None)
            elif record.needs_polling or record.in_grace_period:
                records.append(record)
            if record.live or record.needs_polling:
                names.add(record.name)
        self._seen = {n: seen for n, seen in self._seen.items() if n in names}
        return [r for r in records if r.in_grace_period or not self._of(r.name).ending]

    def age_of_change(self, record: JobRecord) -> float:
        """Return for how long (s) a job has been as it is, since we watch it."""
        return time.monotonic() - self._of(record.name).changed

    def report(self, name: str, report: Report) -> None:
        """Keep what a job said about its end until the scheduler confirms it."""
        seen = self._of(name)
        seen.report = report
        seen.changed = time.monotonic()

    async def apply(
        self,
        records: Collection[JobRecord],
        reading: Mapping[BatchJob, JobStatus] | None,
    ) -> None:
        """Take in one reading of all ``records``; ``None`` if it failed."""
        for number, asked in enumerate(records, 1):
            if number % 200 == 0:
                await asyncio.sleep(0)  # others may run between thousands of jobs
            record = self._ledger.get(asked.name)
            if record is None or record.job != asked.job:
                continue
            status = reading.get(asked.job) if reading and asked.job else None
            if record.in_grace_period:
                self._disturb(record, status)
            elif not record.needs_polling:
                continue
            elif status is None or status.state is JobState.UNKNOWN:
                self._doubt(record, status)
            else:
                self._take(record, status)
        await self._ledger.flush()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """The ends that are being told."""
        return frozenset(self._endings)

    async def close(self) -> None:
        """Stop telling of ends; they are read again after a restart."""
        for task in self._endings:
            task.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _of(self, name: str) -> _Seen:
        now = time.monotonic()
        return self._seen.setdefault(name, _Seen(now, now))

    def _doubt(self, record: JobRecord, status: JobStatus | None) -> None:
        if record.status_is_current:
            self._ledger.see(record.name, status_is_current=False)
        if status is None or status.reason != ABSENT:
            return
        seen = self._of(record.name)
        now = time.monotonic()
        if seen.absent_since is None:
            seen.absent_since = now
            seen.changed = now
        if seen.report is not None:
            # It told its own end and is gone: that is evidence, where nobody
            # keeps accounts.
            good = seen.report.exit_code == 0
            state = JobState.COMPLETED if good else JobState.FAILED
        elif now - seen.absent_since >= self._settings.lost_after.total_seconds():
            state = JobState.LOST
        else:
            return
        self._end(record, replace(record.status, state=state, ended=utc_now()))

    def _disturb(self, record: JobRecord, status: JobStatus | None) -> None:
        """Have a job ended again whose end was taken back by a controller's crash."""
        if (
            status is None
            or status.state is JobState.UNKNOWN
            or status.state.ended
            or self._of(record.name).ending
        ):
            return
        log.warning("Job %s is %s after its end", record.name, status.state)
        self._ledger.see(
            record.name,
            Line("warning", "The job came back after its end; it is stopped again"),
            status=status,
            status_is_current=True,
            cancel_wanted=record.cancel_wanted or utc_now(),
        )
        self._attend()

    def _take(self, record: JobRecord, status: JobStatus) -> None:
        seen = self._of(record.name)
        seen.absent_since = None
        old = record.status
        if status.state.ended:
            self._end(record, status)
            return
        moved = _lasting(status) != _lasting(old)
        waits = _waiting(status) != _waiting(old)
        if record.status_is_current and not (moved or waits or seen.untold):
            self._ledger.glance(record.name, status, news=False)
            return
        line = self._tell(record, status)
        if moved:
            seen.changed = time.monotonic()
        if line or moved or not record.status_is_current:
            lines = (line,) if line else ()
            self._ledger.see(record.name, *lines, status=status, status_is_current=True)
        else:
            self._ledger.glance(record.name, status, news=True)

    def _tell(self, record: JobRecord, status: JobStatus) -> Line | None:
        """Return the event for a reading that is not an end, if it is worth one."""
        seen = self._of(record.name)
        old = record.status
        words = explain_state(status, record.resources)
        now = time.monotonic()
        data: dict[str, str | int | float | None] = {
            "state": status.state.value,
            "reason": status.reason,
        }
        if status.state.queued:
            data |= {
                "place": status.queue_place,
                "estimated_start": iso(status.estimated_start),
            }
            again = old.state.on_nodes or status.restarts > old.restarts
            seen.untold = False
            if again or old.state is JobState.UNKNOWN:
                seen.queued_since = now
            elif words == seen.told:
                return None
            elif now - seen.told_at < self._quiet(seen, now):
                seen.untold = True
                return None
            seen.told, seen.told_at = words, now
            return Line("requeued" if again else "queued", words, data)
        if status.state is old.state and status.nodes == old.nodes:
            return None
        seen.told, seen.told_at, seen.untold = words, now, False
        data["node"] = ",".join(status.nodes)
        if status.state is JobState.RUNNING and status.nodes != old.nodes:
            log.info("Job %s runs on %s", record.name, data["node"])
        return Line(_KINDS.get(status.state, "state"), words, data)

    def _quiet(self, seen: _Seen, now: float) -> float:
        """Seconds between two lines about the queue: fewer the longer it lasts."""
        least = self._settings.event_interval.total_seconds()
        return max(least, (now - seen.queued_since) / 20)

    def _end(self, record: JobRecord, status: JobStatus) -> None:
        seen = self._of(record.name)
        if seen.ending:
            return
        seen.ending = True
        task = asyncio.create_task(self._close(record, status))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _close(self, record: JobRecord, status: JobStatus) -> None:
        try:
            if status.state is JobState.LOST and await self._answers(record):
                log.warning("Job %s is not listed, but answers", record.name)
                self._of(record.name).absent_since = None
                return
            await self._tell_end(record, status)
        except Exception:
            # It is needs_polling again, and its end read again.
            log.exception("Cannot close the record of job %s", record.name)
        finally:
            self._of(record.name).ending = False
            self._attend()

    async def _answers(self, record: JobRecord) -> bool:
        """Whether the job itself says that it is there: a listing can be wrong."""
        ask = self._settings.answers
        return record.address is not None and ask is not None and await ask(record)

    async def _tell_end(self, record: JobRecord, status: JobStatus) -> None:
        """Close a record, with the last words of its job if they matter."""
        seen = self._of(record.name)
        report = seen.report
        if report and status.exit_code is None and status.signal is None:
            status = replace(status, exit_code=report.exit_code, signal=report.signal)
        tail = ""
        if record.cancel_wanted is None and record.phase is Phase.SUBMITTED:
            tail = report.log if report and report.log else await self._tail(record)
        record = self._ledger.get(record.name) or record
        asked = record.cancel_wanted is not None
        failure = explain_end(status, record.resources, tail, asked=asked)
        if asked:
            kind, message = "cancelled", f"{failure.title}. {failure.detail}"
        else:
            good = status.state is JobState.COMPLETED and not status.exit_code
            kind = "ended" if good else "failed"
            message = f"{failure.title}. {failure.detail}"
        fields: dict[str, object] = {}
        if record.phase is Phase.SUBMITTED:
            fields["phase"] = Phase.ENDED
            # An end that was asked for may have its reason: the job was given up.
            fields["failure"] = record.failure if asked else failure
        horizon = self._settings.rest_time
        if status.state is JobState.LOST:
            horizon = sum(self._settings.twin_delays, start=timedelta(0))
        fields["search_until"] = utc_now() + horizon
        log.info("Job %s of %s ended: %s", record.name, record.user, status.state)
        self._ledger.see(
            record.name,
            Line(kind, message, {"state": status.state, "exit_code": status.exit_code}),
            status=status,
            status_is_current=True,
            **fields,
        )
        if status.state is JobState.LOST:
            self._lost(record.name)
        await self._ledger.flush()

    async def _tail(self, record: JobRecord) -> str:
        """Return the end of the job's output, or nothing if it cannot be read."""
        if record.job is None or record.output is None:
            return ""
        path = record.output.replace("%j", record.job.id)
        try:
            async with (
                self._few,
                asyncio.timeout(self._settings.output_timeout.total_seconds()),
            ):
                return await self._scheduler.read_output(record.job, path)
        except (GatewayError, OSError, TimeoutError) as error:
            log.warning("Cannot read the output of job %s: %s", record.name, error)
            return ""


# What of a reading is worth writing down, and makes the watcher quick again.
_lasting = attrgetter(
    "state", "reason", "exit_code", "signal", "nodes", "started", "ends", "restarts"
)
# What changes all the time while a job waits.
_waiting = attrgetter("queue_place", "estimated_start")
