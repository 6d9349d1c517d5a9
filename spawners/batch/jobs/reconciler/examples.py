"""Records of every kind and every change, by example: for the picture and the tests.

What is drawn and what is checked comes from the transitions themselves, applied to
these; nothing about them is said a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ...explain.failure import Failure
from ...models import BatchJob, JobState, JobStatus, Resources
from ..record import Address, Decision, IllegalTransition, JobRecord, Phase, Situation

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = MOMENT + timedelta(minutes=1)
FAILURE = Failure("It failed", "It did.", "Start again.")
JOB = BatchJob("1", "lb-example", "alice", 1001, MOMENT)
HALF_KNOWN = replace(JOB, submitted=None)
ADDRESS = Address("n01", "10.0.0.1", 40000, "ab" * 32)
PENDING = JobStatus(JobState.PENDING)
RUNNING = JobStatus(JobState.RUNNING, nodes=("n01",))
OVER = JobStatus(JobState.COMPLETED, exit_code=0)
LOST = JobStatus(JobState.LOST)

_INTENT = JobRecord(
    JOB.name, "server:alice/", 1, "alice", Phase.INTENT, Resources(), MOMENT, MOMENT
)
_POLLED = replace(
    _INTENT, phase=Phase.SUBMITTED, job=JOB, status=PENDING, status_is_current=True
)
_ENDED = replace(_POLLED, phase=Phase.ENDED, status=OVER, search_until=UNTIL)
_REFUSED = replace(_INTENT, phase=Phase.REFUSED, failure=FAILURE)
_LOST = replace(_ENDED, status=LOST, failure=FAILURE)

#: At least one record of each situation; where several, they differ in what is legal.
RECORDS: Mapping[Situation, tuple[JobRecord, ...]] = {
    Situation.INTENT: (_INTENT, replace(_INTENT, cancel_wanted=MOMENT)),
    Situation.POLLED: (
        _POLLED,
        replace(_POLLED, job=HALF_KNOWN),
        replace(_POLLED, status=RUNNING, address=ADDRESS),
        replace(_POLLED, status_is_current=False),
    ),
    Situation.CANCELLING: (
        replace(_POLLED, cancel_wanted=MOMENT),
        replace(_POLLED, cancel_wanted=MOMENT, job=HALF_KNOWN),
    ),
    Situation.GRACE: (_ENDED,),
    Situation.SEARCHED: (replace(_REFUSED, search_until=UNTIL), _LOST),
    Situation.DUPLICATE: (
        replace(_REFUSED, job=JOB, cancel_wanted=MOMENT, search_until=UNTIL),
        replace(_ENDED, status=RUNNING, cancel_wanted=MOMENT),
    ),
    Situation.CLOSED: (
        _REFUSED,
        replace(_ENDED, search_until=None),
        replace(_LOST, search_until=None),
    ),
}

#: Every transition, with what it is given.
TRANSITIONS: Mapping[str, Decision] = {
    "adopted": lambda record: record.adopted(JOB),
    "identified": lambda record: record.identified(JOB),
    "answer_lost": lambda record: record.answer_lost(),
    "refused for good": lambda record: record.refused(FAILURE, MOMENT),
    "refused, may come late": lambda record: record.refused(FAILURE, MOMENT, UNTIL),
    "cancel_requested": lambda record: record.cancel_requested(MOMENT),
    "cancel_overdue": lambda record: record.cancel_overdue(timedelta(minutes=10)),
    "failed": lambda record: record.failed(FAILURE),
    "ready": lambda record: record.ready(ADDRESS),
    "process_ended": lambda record: record.process_ended(1, None),
    "read": lambda record: record.read(RUNNING),
    "doubted": lambda record: record.doubted(),
    "ended": lambda record: record.ended(OVER, FAILURE, UNTIL),
    "vanished": lambda record: record.vanished(FAILURE, MOMENT, UNTIL),
    "reappeared": lambda record: record.reappeared(RUNNING, MOMENT),
    "duplicate_found": lambda record: record.duplicate_found(JOB, MOMENT),
    "searched_again": lambda record: record.searched_again(UNTIL),
    "search_over": lambda record: record.search_over(),
    "released": lambda record: record.released(),
    "noted": lambda record: record.noted("server", "Hello"),
}


def edges() -> set[tuple[Situation, str, Situation]]:
    """Return every legal change: from where, which, to where."""
    return {
        (situation, name, after)
        for situation, records in RECORDS.items()
        for record in records
        for name, decide in TRANSITIONS.items()
        if (after := _after(record, decide)) is not None
    }


def _after(record: JobRecord, decide: Decision) -> Situation | None:
    try:
        return decide(record).record.situation
    except IllegalTransition:
        return None
