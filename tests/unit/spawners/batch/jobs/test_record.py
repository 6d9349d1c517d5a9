"""How a record may change, and in no other way."""

from dataclasses import replace

import pytest

from spawners.batch.jobs.reconciler.examples import (
    ADDRESS,
    FAILURE,
    JOB,
    MOMENT,
    OVER,
    PENDING,
    RECORDS,
    RUNNING,
    TRANSITIONS,
    UNTIL,
    edges,
)
from spawners.batch.jobs.record import (
    Address,
    IllegalTransition,
    JobRecord,
    Phase,
    Situation,
    Stage,
    Transition,
    Weight,
)
from spawners.batch.models import BatchJob, JobState, JobStatus

INTENT, STOPPED_INTENT = RECORDS[Situation.INTENT]
POLLED, HALF_KNOWN, READY, _ = RECORDS[Situation.POLLED]
CANCELLING = RECORDS[Situation.CANCELLING][0]
(GRACE,) = RECORDS[Situation.GRACE]
GIVEN_UP, LOST = RECORDS[Situation.SEARCHED]
DUPLICATE, CAME_BACK = RECORDS[Situation.DUPLICATE]
CLOSED = RECORDS[Situation.CLOSED][0]

# Where each change leads, from where it is legal: all that may ever happen.
LEGAL = {
    "adopted": {"intent": "polled cancelling"},
    "identified": {"polled": "polled", "cancelling": "cancelling"},
    "answer_lost": {"intent": "intent"},
    "refused for good": {"intent": "closed"},
    "refused, may come late": {"intent": "searched"},
    "cancel_requested": {
        "intent": "intent",
        "polled": "cancelling",
        "cancelling": "cancelling",
        "duplicate": "duplicate",
    },
    "cancel_overdue": {"cancelling": "cancelling", "duplicate": "duplicate"},
    "failed": {"intent": "intent", "polled": "polled", "cancelling": "cancelling"},
    "ready": {"intent": "intent", "polled": "polled"},
    "process_ended": {
        "intent": "intent",
        "polled": "polled",
        "cancelling": "cancelling",
        "duplicate": "duplicate",
    },
    "read": {
        "polled": "polled",
        "cancelling": "cancelling",
        "duplicate": "duplicate",
    },
    "doubted": {
        "polled": "polled",
        "cancelling": "cancelling",
        "duplicate": "duplicate",
    },
    "ended": {"polled": "grace", "cancelling": "grace", "duplicate": "grace"},
    "vanished": {
        "polled": "searched",
        "cancelling": "searched",
        "duplicate": "searched",
    },
    "reappeared": {"grace": "duplicate"},
    "duplicate_found": {"searched": "duplicate"},
    "searched_again": {"searched": "searched", "closed": "searched"},
    "search_over": {"grace": "closed", "searched": "closed"},
    "released": {situation.value: situation.value for situation in Situation},
    "noted": {situation.value: situation.value for situation in Situation},
}


def test_the_examples_are_of_every_situation():
    assert set(RECORDS) == set(Situation)
    for situation, records in RECORDS.items():
        assert {record.situation for record in records} == {situation}


def test_every_transition_has_an_example():
    returned = {
        name
        for name, method in vars(JobRecord).items()
        if getattr(method, "__annotations__", {}).get("return") == "Transition"
    }
    named = {name.partition(" ")[0].rstrip(",") for name in TRANSITIONS}
    assert {name for name in returned if not name.startswith("_")} == named


def test_what_is_legal_is_this_and_nothing_else():
    found = {}
    for before, name, after in edges():
        found.setdefault(name, {}).setdefault(before.value, set()).add(after.value)
    assert found == {
        name: {before: set(after.split()) for before, after in cases.items()}
        for name, cases in LEGAL.items()
    }


@pytest.mark.parametrize("name", sorted(TRANSITIONS))
@pytest.mark.parametrize("situation", Situation)
def test_an_illegal_change_is_a_typed_error_and_changes_nothing(situation, name):
    for record in RECORDS[situation]:
        copy = replace(record)
        try:
            transition = TRANSITIONS[name](record)
        except IllegalTransition as error:
            assert error.record is record
            assert name.startswith(error.transition)
            assert record.name in error.message
        else:
            assert isinstance(transition, Transition)
            assert transition.record.name == record.name
        assert record == copy


def test_open_is_what_something_has_to_be_done_about():
    for situation, records in RECORDS.items():
        for record in records:
            assert record.is_open is (situation is not Situation.CLOSED)


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        (INTENT, Stage.SUBMITTING),
        (POLLED, Stage.QUEUED),
        (replace(POLLED, status=RUNNING), Stage.STARTING),
        (READY, Stage.READY),
        (CANCELLING, Stage.STOPPING),
        (STOPPED_INTENT, Stage.STOPPING),
        (GRACE, Stage.STOPPED),
        (GIVEN_UP, Stage.FAILED),
        (LOST, Stage.FAILED),
        (DUPLICATE, Stage.FAILED),
        (CAME_BACK, Stage.STOPPED),
    ],
)
def test_the_stage_is_what_its_owner_sees(record, stage):
    assert record.stage is stage


def test_an_adoption_keeps_a_cancel_request():
    record = STOPPED_INTENT.adopted(JOB).record
    assert record.phase is Phase.SUBMITTED
    assert record.situation is Situation.CANCELLING


def test_a_refusal_after_a_cancel_request_is_no_failure():
    made = STOPPED_INTENT.refused(FAILURE, MOMENT)
    assert made.record.phase is Phase.ENDED
    assert made.record.failure is None
    assert [line.kind for line in made.lines] == ["cancelled"]
    assert INTENT.refused(FAILURE, MOMENT).record.failure is FAILURE


def test_an_identity_is_completed_by_its_own_job_alone():
    with pytest.raises(IllegalTransition):
        HALF_KNOWN.identified(BatchJob("2", JOB.name, "alice", 1001, MOMENT))
    assert HALF_KNOWN.identified(JOB).record.job == JOB


def test_an_address_is_reported_once():
    assert READY.ready(ADDRESS) == Transition(READY)
    with pytest.raises(IllegalTransition):
        READY.ready(Address("n02", "10.0.0.2", 40000))
    with pytest.raises(IllegalTransition):
        CANCELLING.ready(ADDRESS)


def test_a_second_request_and_a_second_reason_change_nothing():
    assert CANCELLING.cancel_requested(UNTIL) == Transition(CANCELLING)
    failed = POLLED.failed(FAILURE).record
    assert failed.failed(replace(FAILURE, title="Other")) == Transition(failed)


def test_an_end_that_was_asked_for_keeps_the_reason_that_it_was_given():
    assert CANCELLING.ended(OVER, FAILURE, UNTIL).record.failure is None
    given_up = CANCELLING.failed(FAILURE).record
    other = replace(FAILURE, title="Stopped")
    assert given_up.ended(OVER, other, UNTIL).record.failure is FAILURE
    assert POLLED.ended(OVER, FAILURE, UNTIL).record.failure is FAILURE


@pytest.mark.parametrize(
    ("record", "status", "kind"),
    [
        (POLLED, OVER, "ended"),
        (POLLED, replace(OVER, exit_code=1), "failed"),
        (POLLED, JobStatus(JobState.TIMEOUT), "failed"),
        (CANCELLING, JobStatus(JobState.FAILED), "cancelled"),
    ],
)
def test_an_end_is_told_by_its_kind(record, status, kind):
    (line,) = record.ended(status, FAILURE, UNTIL).lines
    assert line.kind == kind


def test_the_end_of_a_duplicate_leaves_the_record_refused():
    record = DUPLICATE.ended(OVER, FAILURE, UNTIL).record
    assert record.phase is Phase.REFUSED
    assert record.failure == DUPLICATE.failure
    assert record.situation is Situation.GRACE


@pytest.mark.parametrize("state", [JobState.UNKNOWN, JobState.COMPLETED])
def test_what_is_no_reading_of_a_live_job_is_not_read(state):
    with pytest.raises(IllegalTransition):
        POLLED.read(JobStatus(state))
    with pytest.raises(IllegalTransition):
        GRACE.reappeared(JobStatus(state), MOMENT)


def test_a_reading_weighs_what_it_changes():
    later = replace(PENDING, read_at=UNTIL)
    assert POLLED.read(later).weight is Weight.SILENT
    assert POLLED.read(replace(later, queue_place=3)).weight is Weight.PASSING
    assert POLLED.read(RUNNING).weight is Weight.LASTING
    assert POLLED.doubted().record.read(later).weight is Weight.LASTING


def test_a_job_that_was_put_back_is_one_that_had_answered():
    assert not POLLED.put_back
    assert replace(READY, status=JobStatus(JobState.REQUEUED)).status_is_current
    assert replace(READY, status=JobStatus(JobState.REQUEUED)).put_back
    assert not READY.put_back


def test_only_the_newest_wanted_job_may_report():
    newer = replace(POLLED, generation=2)
    assert POLLED.may_report(None)
    assert POLLED.may_report(POLLED)
    assert not POLLED.may_report(newer)
    assert not CANCELLING.may_report(CANCELLING)
    assert not GIVEN_UP.may_report(GIVEN_UP)
    assert not CLOSED.may_report(CLOSED)
