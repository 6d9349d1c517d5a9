"""Takes in what the scheduler's listings say about our records, and tells it.

A reading that is missing, odd or failed changes nothing but ``status_is_current``.
Only an end that was read, or two good listings without the job, ends a record; which
reading means what is said by :func:`~.reconciler.steps.judge`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from spawners.common.text import iso

from ..explain.states import explain_state
from ..models import BatchJob, JobState, JobStatus
from ..scheduler import ABSENT
from .ledger import Ledger
from .reconciler.reconciler import Reconciler
from .reconciler.steps import Now, Verdict, judge
from .record import JobRecord, Line, has_moved, utc_now
from .settings import Policy

log = logging.getLogger(__name__)

_KINDS = {
    JobState.CONFIGURING: "allocated",
    JobState.RUNNING: "running",
    JobState.SUSPENDED: "suspended",
    JobState.STOPPED: "suspended",
    JobState.COMPLETING: "ending",
}


@dataclass(slots=True)
class _Story:
    """What was told of a job, and when it changed. Times are monotonic."""

    changed: float
    queued_since: float
    told_at: float = 0.0
    told: str = ""
    untold: bool = False


class Readings:
    """Applies readings to the records in the ledger."""

    def __init__(self, ledger: Ledger, reconciler: Reconciler, policy: Policy) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._policy = policy
        self._stories: dict[str, _Story] = {}
        ledger.listeners.append(self._changed)

    def wanted(self) -> list[JobRecord]:
        """Return the records whose jobs have to be asked about."""
        return [
            record
            for record in self._ledger.open_records()
            if record.in_grace_period
            or (
                record.needs_polling
                and self._reconciler.memory(record.name).end is None
            )
        ]

    def urgency(self, record: JobRecord) -> float:
        """Return for how long (s) nothing has happened about a job, in a manner."""
        if record.in_grace_period:
            return float("inf")
        age = time.monotonic() - self._of(record.name).changed
        return max(age, 30.0) if record.is_steady else age

    def changes_soon(self, name: str) -> None:
        """Have a job read as often as one that has just changed."""
        self._of(name).changed = time.monotonic()

    async def apply(
        self,
        records: Collection[JobRecord],
        reading: Mapping[BatchJob, JobStatus] | None,
    ) -> None:
        """Take in one reading of all ``records``; ``None`` if it failed."""
        now = Now(utc_now(), time.monotonic())
        for number, asked in enumerate(records, 1):
            if number % 200 == 0:
                await asyncio.sleep(0)  # others may run between thousands of jobs
            record = self._ledger.get(asked.name)
            if record is None or record.job != asked.job or record.job is None:
                continue
            self._apply(record, reading.get(record.job) if reading else None, now)
        await self._ledger.flush()

    def _apply(self, record: JobRecord, status: JobStatus | None, now: Now) -> None:
        name, memory = record.name, self._reconciler.memory(record.name)
        absent = status is not None and status.reason == ABSENT
        match judge(record, memory, status, now, self._policy, absent=absent):
            case Verdict.READ if status is not None:
                self._reconciler.missed(name, None)
                self._read(record, status)
            case Verdict.END if status is not None:
                self._end(record, status)
            case Verdict.VANISHED:
                self._doubt(name)
                self._reconciler.end_was_read(
                    name, replace(record.status, state=JobState.LOST, ended=now.wall)
                )
            case Verdict.MISSING:
                self._doubt(name)
                if memory.absent_since is None:
                    self._reconciler.missed(name, now.clock)
                    self.changes_soon(name)
            case Verdict.DOUBT:
                self._doubt(name)
            case Verdict.CAME_BACK if status is not None:
                log.warning("Job %s is %s after its end", name, status.state)
                self._ledger.note(
                    name, lambda record: record.reappeared(status, now.wall)
                )

    def _changed(self, name: str) -> None:
        record = self._ledger.get(name)
        if record is None or not (record.live or record.needs_polling):
            self._stories.pop(name, None)

    def _of(self, name: str) -> _Story:
        now = time.monotonic()
        return self._stories.setdefault(name, _Story(now, now))

    def _doubt(self, name: str) -> None:
        self._ledger.note(name, lambda record: record.doubted())

    def _end(self, record: JobRecord, status: JobStatus) -> None:
        report = self._reconciler.memory(record.name).report
        if not status.state.ended and report is not None:
            # Its own word is all that there is of its end.
            self._doubt(record.name)
            good = report.exit_code == 0
            state = JobState.COMPLETED if good else JobState.FAILED
            status = replace(record.status, state=state, ended=utc_now())
        self._reconciler.end_was_read(record.name, status)

    def _read(self, record: JobRecord, status: JobStatus) -> None:
        line = self._line(record, status)
        if has_moved(record.status, status):
            self._of(record.name).changed = time.monotonic()
        self._ledger.note(record.name, lambda record: record.read(status, line))

    def _line(self, record: JobRecord, status: JobStatus) -> Line | None:
        """Return the event for a reading that is not an end, if it is worth one."""
        story, old = self._of(record.name), record.status
        if replace(status, read_at=old.read_at) == old and not story.untold:
            return None
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
            story.untold = False
            if again or old.state is JobState.UNKNOWN:
                story.queued_since = now
            elif words == story.told:
                return None
            elif now - story.told_at < self._quiet(story, now):
                story.untold = True
                return None
            story.told, story.told_at = words, now
            return Line("requeued" if again else "queued", words, data)
        if status.state is old.state and status.nodes == old.nodes:
            return None
        story.told, story.told_at, story.untold = words, now, False
        data["node"] = ",".join(status.nodes)
        if status.state is JobState.RUNNING and status.nodes != old.nodes:
            log.info("Job %s runs on %s", record.name, data["node"])
        return Line(_KINDS.get(status.state, "state"), words, data)

    def _quiet(self, story: _Story, now: float) -> float:
        """Seconds between two lines about the queue: fewer the longer it lasts."""
        least = self._policy.event_interval.total_seconds()
        return max(least, (now - story.queued_since) / 20)
