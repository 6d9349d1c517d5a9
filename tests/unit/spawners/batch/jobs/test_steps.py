"""The table of next steps: whole, and never wrong, whatever is remembered."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spawners.batch.jobs.reconciler.examples import (
    MOMENT,
    OVER,
    PENDING,
    RECORDS,
    RUNNING,
    TRANSITIONS,
)
from spawners.batch.jobs.reconciler.steps import (
    FRESH,
    NEVER,
    SEARCHES,
    Memory,
    Now,
    Report,
    Search,
    Step,
    Verdict,
    after_ask,
    after_look,
    follow,
    judge,
    next_step,
    wanted_search,
)
from spawners.batch.jobs.record import IllegalTransition, Situation
from spawners.batch.jobs.settings import Policy
from spawners.batch.models import JobState, JobStatus

POLICY = Policy()
NOW = Now(MOMENT, 1000.0)
ALL = [(s, record) for s, records in RECORDS.items() for record in records]
INTENT = RECORDS[Situation.INTENT][0]
POLLED, HALF_KNOWN = RECORDS[Situation.POLLED][:2]
CANCELLING, HALF_KNOWN_CANCELLING = RECORDS[Situation.CANCELLING]
(GRACE,) = RECORDS[Situation.GRACE]
GIVEN_UP = RECORDS[Situation.SEARCHED][0]


def step_of(record, memory=FRESH, now=NOW):
    return next_step(record, follow(record, memory, now, POLICY), now)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (INTENT, (Step.FIND, 1000)),
        (POLLED, (Step.NONE, NEVER)),
        (HALF_KNOWN, (Step.COMPLETE_IDENTITY, 1002)),
        (CANCELLING, (Step.CANCEL, -NEVER)),
        (HALF_KNOWN_CANCELLING, (Step.CANCEL, -NEVER)),
        (GRACE, (Step.FORGET, 1060)),
        (GIVEN_UP, (Step.SEARCH_LATE, 1030)),
        *((record, (Step.CANCEL, -NEVER)) for record in RECORDS[Situation.DUPLICATE]),
        *((record, (Step.NONE, NEVER)) for record in RECORDS[Situation.CLOSED]),
    ],
)
def test_a_new_process_begins_with_this_step(record, expected):
    assert step_of(record) == expected


@pytest.mark.parametrize("record", RECORDS[Situation.INTENT])
def test_what_is_being_submitted_here_is_left_alone(record):
    assert step_of(record, Memory(submitting=True)) == (Step.NONE, NEVER)


def test_an_end_that_was_read_is_closed_before_anything_else():
    for record in (POLLED, HALF_KNOWN, CANCELLING):
        assert step_of(record, Memory(end=OVER)) == (Step.CLOSE, 1000)


def test_a_cancel_is_repeated_with_ever_longer_pauses_and_without_an_end():
    memory, pauses, now = follow(CANCELLING, FRESH, NOW, POLICY), [], NOW
    for _ in range(8):
        memory = after_ask(memory, now, POLICY)
        step, due = next_step(CANCELLING, memory, now)
        assert step is Step.CANCEL
        pauses.append(due - now.clock)
        now = replace(now, clock=due)
    assert pauses == [5, 15, 30, 60, 60, 60, 60, 60]


def test_a_search_goes_by_its_plan_and_ends_with_the_last_look():
    memory, now, moments = follow(INTENT, FRESH, NOW, POLICY), NOW, []
    for _ in range(3):
        step, due = next_step(INTENT, memory, now)
        assert step is Step.FIND
        moments.append(due)
        now = replace(now, clock=due)
        memory, last = after_look(memory, due, now, POLICY)
    assert moments == [1000, 1003, 1015]
    assert last
    assert next_step(INTENT, memory, now) == (Step.NONE, NEVER)


def test_a_look_beside_the_plan_does_not_shorten_the_search():
    memory = Memory(search=Search(Step.FIND, 2000.0, looks=1, now=True))
    assert next_step(INTENT, memory, NOW) == (Step.FIND, -NEVER)
    memory, last = after_look(memory, 1000.0, NOW, POLICY)
    assert not last
    assert memory.search == Search(Step.FIND, 2000.0, looks=1)


def test_a_search_that_is_wanted_no_more_is_dropped_and_another_begun():
    memory = follow(INTENT, FRESH, NOW, POLICY)
    refused = INTENT.refused(
        GIVEN_UP.failure, MOMENT, MOMENT + timedelta(hours=1)
    ).record
    assert follow(refused, memory, NOW, POLICY).search.step is Step.SEARCH_LATE
    assert follow(POLLED, memory, NOW, POLICY).search is None


def test_where_nothing_is_searched_late_what_was_given_up_is_forgotten():
    policy = replace(POLICY, duplicate_delays=())
    memory = follow(GIVEN_UP, FRESH, NOW, policy)
    assert next_step(GIVEN_UP, memory, NOW)[0] is Step.FORGET


def test_a_withdrawn_request_is_no_memory_of_the_next_one():
    memory = after_ask(FRESH, NOW, POLICY)
    assert follow(CANCELLING, memory, NOW, POLICY).asked == 1
    assert follow(POLLED, memory, NOW, POLICY) == FRESH


# -- whatever is remembered

SEARCH = st.builds(
    Search,
    st.sampled_from(sorted(SEARCHES)),
    st.floats(0, 5000) | st.just(NEVER),
    st.integers(0, 5),
    st.booleans(),
)
MEMORIES = st.builds(
    Memory,
    st.booleans(),
    st.none() | SEARCH,
    st.integers(0, 9),
    st.floats(0, 5000) | st.just(-NEVER),
    st.booleans(),
    st.none() | st.just(OVER),
    st.none() | st.just(Report(0, None, "")),
    st.none() | st.floats(0, 1000),
)
CASES = st.sampled_from(ALL)


@given(CASES, MEMORIES)
def test_nothing_that_is_open_is_left_without_a_next_step(case, memory):
    situation, record = case
    memory = follow(record, memory, NOW, POLICY)
    step, due = next_step(record, memory, NOW)
    assert (step is Step.NONE) is (due == NEVER)
    idle = {Situation.POLLED, Situation.CLOSED}
    exhausted = memory.search is not None and memory.search.planned == NEVER
    if not (memory.submitting or exhausted or situation in idle):
        assert step is not Step.NONE


@given(CASES, MEMORIES)
def test_no_step_is_due_that_its_record_does_not_allow(case, memory):
    situation, record = case
    memory = follow(record, memory, NOW, POLICY)
    step, _ = next_step(record, memory, NOW)
    match step:
        case Step.CANCEL:
            # Nothing is cancelled that nobody wanted ended.
            assert record.job is not None
            assert record.needs_polling
            assert record.cancel_wanted is not None
        case Step.CLOSE:
            assert record.needs_polling
            assert memory.end is not None
        case Step.FIND | Step.SEARCH_LATE | Step.COMPLETE_IDENTITY:
            assert step is wanted_search(record)
        case Step.FORGET:
            assert situation in (Situation.GRACE, Situation.SEARCHED)
    assert follow(record, memory, NOW, POLICY) == memory


@given(CASES, MEMORIES)
def test_what_is_closed_leaves_nothing_in_memory(case, memory):
    _, record = case
    memory = replace(memory, submitting=False)
    if record.situation in (Situation.CLOSED, Situation.GRACE):
        assert follow(record, memory, NOW, POLICY) == FRESH


@given(st.lists(st.sampled_from(sorted(TRANSITIONS)), max_size=30), MEMORIES)
@settings(max_examples=300)
def test_any_life_of_a_record_keeps_the_rules(names, memory):
    """Legal changes in any order: what must never be, never is."""
    record, adopted = INTENT, 0
    for name in names:
        before = record
        try:
            record = TRANSITIONS[name](record).record
        except IllegalTransition:
            continue
        adopted += name == "adopted"
        # Once ended or refused, never live again; never a second job of its own.
        assert before.live or not record.live
        assert adopted <= 1
        # A request to end it is never taken back.
        assert before.cancel_wanted is None or record.cancel_wanted is not None
        # Nobody is told an end that was not read.
        if record.status.state.ended and not before.status.state.ended:
            assert name.startswith(("ended", "vanished", "refused"))
        memory = follow(record, memory, NOW, POLICY)
        step, _ = next_step(record, memory, NOW)
        assert step is not Step.CANCEL or record.cancel_wanted is not None


# -- what a listing means

ABSENT = JobStatus(JobState.UNKNOWN, reason="absent")
ODD = JobStatus(JobState.UNKNOWN, reason="odd")
GONE = Memory(absent_since=NOW.clock - 10)
TOLD = Memory(report=Report(0, None, ""))


@pytest.mark.parametrize(
    ("record", "memory", "status", "verdict"),
    [
        (POLLED, FRESH, RUNNING, Verdict.READ),
        (POLLED, GONE, PENDING, Verdict.READ),
        (POLLED, FRESH, OVER, Verdict.END),
        (POLLED, FRESH, None, Verdict.DOUBT),
        (POLLED, GONE, None, Verdict.DOUBT),
        (POLLED, TOLD, None, Verdict.DOUBT),
        (POLLED, GONE, ODD, Verdict.DOUBT),
        (POLLED, FRESH, ABSENT, Verdict.MISSING),
        (POLLED, Memory(absent_since=NOW.clock - 9), ABSENT, Verdict.MISSING),
        (POLLED, GONE, ABSENT, Verdict.VANISHED),
        (POLLED, TOLD, ABSENT, Verdict.END),
        (POLLED, Memory(end=OVER), RUNNING, Verdict.NOTHING),
        (CANCELLING, GONE, ABSENT, Verdict.VANISHED),
        (GRACE, FRESH, RUNNING, Verdict.CAME_BACK),
        (GRACE, FRESH, OVER, Verdict.NOTHING),
        (GRACE, FRESH, ABSENT, Verdict.NOTHING),
        (GRACE, FRESH, None, Verdict.NOTHING),
        (INTENT, FRESH, RUNNING, Verdict.NOTHING),
        (GIVEN_UP, FRESH, OVER, Verdict.NOTHING),
    ],
)
def test_a_listing_means_this(record, memory, status, verdict):
    absent = status is ABSENT
    found = judge(record, memory, status, NOW, POLICY, absent=absent)
    assert found is verdict


@given(CASES, MEMORIES, st.none() | st.just(ODD))
def test_a_listing_that_says_nothing_ends_nothing(case, memory, status):
    _, record = case
    found = judge(record, memory, status, NOW, POLICY, absent=False)
    assert found in (Verdict.NOTHING, Verdict.DOUBT)
