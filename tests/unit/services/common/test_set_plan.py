"""What is decided about a set's members, from values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.background.members import (
    Member,
    Setbacks,
    SetPolicy,
    least_loaded,
    plan,
    soonest_to_end,
)
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.record import Address, JobRecord, Phase
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MIN = timedelta(minutes=1)
POLICY = SetPolicy(lead=10 * MIN)
WORDS = Failure("It ended", "Exit code 1.")
ADDRESS = Address("n01", "10.0.0.1", 40000)


def member(
    number: int,
    state: JobState = JobState.RUNNING,
    *,
    ready: bool = False,
    age: timedelta = timedelta(hours=1),
    left: timedelta | None = None,
    phase: Phase = Phase.SUBMITTED,
    **fields: object,
) -> Member:
    started = NOW - age if state.on_nodes or state.ended else None
    status = JobStatus(
        state,
        started=started,
        ends=NOW + left if left is not None else None,
        ended=NOW if state.ended else None,
    )
    record = JobRecord(
        name=f"lb-{number}",
        owner=f"endpoint:ann/x/{number}",
        generation=1,
        user="ann",
        phase=Phase.ENDED if state.ended else phase,
        resources=Resources(),
        created=NOW - age - MIN,
        updated=NOW,
        job=BatchJob(str(number), f"lb-{number}", "ann"),
        status=status,
        status_is_current=True,
        address=ADDRESS if ready else None,
    )
    return Member(number, replace(record, **fields))  # type: ignore[arg-type]


def ready(number: int, **how: object) -> Member:
    return member(number, ready=True, **how)  # type: ignore[arg-type]


def decide(members: list[Member], wanted: int, **more: object):
    given_ = {"now": NOW, "policy": POLICY, "setbacks": Setbacks()} | more
    return plan(members, wanted, **given_)  # type: ignore[arg-type]


def names(members) -> list[int]:
    return sorted(one.number for one in members)


def test_what_is_missing_is_started_and_what_is_too_many_leaves() -> None:
    assert decide([], 3).start == 3
    assert decide([ready(0)], 3).start == 2
    assert names(decide([ready(0), member(1), ready(2)], 1).leave) != [0]
    assert len(decide([ready(n) for n in range(5)], 2).leave) == 3
    assert decide([ready(n) for n in range(5)], 5) == decide([ready(9)] * 5, 5)


def test_who_waits_leaves_before_who_works() -> None:
    queued, starting = member(1, JobState.PENDING), member(2)
    step = decide([ready(0), queued, starting], 2)
    assert names(step.leave) == [1]
    assert names(decide([ready(0), queued, starting], 1).leave) == [1, 2]


def test_the_caller_may_choose_by_load_or_time() -> None:
    up = [ready(0, left=90 * MIN), ready(1, left=60 * MIN), ready(2)]
    load = {0: 3.0, 1: 2.0, 2: 1.0}
    by_load = least_loaded(lambda one: load[one.number])
    assert names(decide(up, 2, choose=by_load).leave) == [2]
    assert names(decide(up, 2, choose=soonest_to_end).leave) == [1]


@pytest.mark.parametrize(
    "unknown",
    [
        member(0, JobState.UNKNOWN),
        member(0, status_is_current=False),
        ready(0, status_is_current=False),
        member(0, JobState.PENDING, phase=Phase.INTENT, job=None),
    ],
)
def test_a_member_of_which_nothing_is_certain_is_there(unknown: Member) -> None:
    assert decide([unknown], 1).start == 0


def test_a_member_that_was_lost_is_replaced_when_nobody_searches_any_more() -> None:
    lost = member(0, JobState.LOST, search_until=NOW + MIN, failure=WORDS)
    assert decide([lost], 1).start == 0
    by_word = replace(POLICY, replaces_lost=True)
    assert decide([lost], 1, policy=by_word).start == 1
    over = Member(0, replace(lost.record, search_until=None))
    assert decide([over], 1).start == 1


def test_whose_end_was_asked_for_or_who_leaves_does_not_count() -> None:
    stopping = ready(0, cancel_wanted=NOW)
    assert decide([stopping], 1).start == 1
    assert decide([ready(0)], 1, leaving={"lb-0"}).start == 1
    assert decide([ready(0)], 0, leaving={"lb-0"}).leave == ()


def test_a_successor_is_started_early_and_lets_the_old_one_go() -> None:
    old = ready(0, left=5 * MIN)
    step = decide([old], 1)
    assert (step.start, step.leave) == (1, ())
    coming = member(1, JobState.PENDING, age=timedelta(0))
    assert decide([old, coming], 1) == decide([old, member(1)], 1)
    assert decide([old, coming], 1).leave == ()
    assert names(decide([old, ready(1, left=120 * MIN)], 1).leave) == [0]
    # Two are due, and one successor works: the one that ends sooner goes.
    other = ready(2, left=3 * MIN)
    new = ready(3, left=120 * MIN)
    assert names(decide([old, other, new, coming], 2).leave) == [2]


def test_it_is_said_when_the_next_successor_is_due() -> None:
    step = decide([ready(0, left=60 * MIN), ready(1, left=40 * MIN)], 2)
    assert step.look_again == NOW + 30 * MIN
    assert decide([ready(0)], 1).look_again is None


def test_a_short_job_is_not_due_from_its_first_moment() -> None:
    short = ready(0, age=1 * MIN, left=3 * MIN)
    assert decide([short], 1).start == 0
    assert decide([ready(0, age=3 * MIN, left=1 * MIN)], 1).start == 1


class TestSetbacks:
    def ended(self, setbacks: Setbacks, one: Member, now: datetime = NOW) -> None:
        setbacks.ended(one, POLICY, now)

    def crashed(self, created: datetime = NOW, **how: object) -> Member:
        one = member(0, JobState.FAILED, age=timedelta(seconds=3), failure=WORDS, **how)
        return Member(0, replace(one.record, created=created))

    def test_pauses_double_and_end_in_a_crash_loop(self) -> None:
        setbacks, pauses, at = Setbacks(), [], NOW
        for _ in range(8):
            one = self.crashed(created=at)
            status = replace(one.record.status, started=at, ended=at + MIN / 60)
            self.ended(
                setbacks, Member(0, replace(one.record, status=status)), at + MIN
            )
            assert setbacks.next_try is not None
            pauses.append((setbacks.next_try - at).total_seconds() - 1)
            at = setbacks.next_try
        assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
        later = at + timedelta(hours=1)
        assert decide([], 4, setbacks=setbacks, now=later).start == 1
        trying = member(0, JobState.PENDING)
        assert decide([trying], 4, setbacks=setbacks, now=later).start == 0

    def test_who_started_together_is_one_setback(self) -> None:
        setbacks = Setbacks()
        for _ in range(20):
            self.ended(setbacks, self.crashed(created=NOW - MIN))
        assert setbacks.failures == 1
        assert setbacks.last == WORDS

    @pytest.mark.parametrize(
        "end",
        [
            member(0, JobState.TIMEOUT, failure=WORDS, age=MIN),
            member(0, JobState.PREEMPTED, failure=WORDS, age=MIN),
            member(0, JobState.NODE_FAIL, failure=WORDS, age=MIN),
            member(0, JobState.FAILED, failure=WORDS, age=timedelta(hours=3)),
            member(0, JobState.CANCELLED, cancel_wanted=NOW, age=MIN),
        ],
    )
    def test_what_is_not_its_fault_makes_nobody_wait(self, end: Member) -> None:
        setbacks = Setbacks()
        self.ended(setbacks, end)
        assert (setbacks.failures, setbacks.next_try) == (0, None)
        assert decide([end], 1, setbacks=setbacks).start == 1

    def test_one_that_was_given_up_soon_is_a_setback(self) -> None:
        setbacks = Setbacks()
        hung = member(0, age=MIN, failure=WORDS, cancel_wanted=NOW)
        self.ended(setbacks, hung)
        assert setbacks.failures == 1
        step = decide([hung], 1, setbacks=setbacks)
        assert (step.start, step.look_again) == (0, NOW + timedelta(seconds=5))

    def test_one_that_does_well_since_ends_it(self) -> None:
        setbacks = Setbacks()
        self.ended(setbacks, self.crashed(created=NOW - MIN), NOW)
        before = ready(1, age=timedelta(hours=5))
        setbacks.did_well([before], POLICY, NOW)
        assert setbacks.failures == 1, "it says nothing of what is started now"
        later = NOW + 10 * MIN
        since = ready(2, age=timedelta(0), created=NOW + MIN)
        setbacks.did_well([since], POLICY, later)
        assert setbacks.failures == 0

    def test_ends_of_long_ago_count_for_nothing(self) -> None:
        setbacks = Setbacks()
        self.ended(setbacks, self.crashed(), NOW + timedelta(hours=2))
        assert setbacks.failures == 0


KINDS = st.sampled_from(
    [
        lambda n: ready(n),
        lambda n: ready(n, left=5 * MIN),
        lambda n: ready(n, left=50 * MIN),
        lambda n: member(n),
        lambda n: member(n, JobState.PENDING),
        lambda n: member(n, JobState.UNKNOWN, status_is_current=False),
        lambda n: member(n, JobState.FAILED, failure=WORDS),
        lambda n: ready(n, cancel_wanted=NOW),
    ]
)


@given(st.lists(KINDS, max_size=12), st.integers(0, 12))
def test_carried_out_again_and_again_it_comes_to_rest(kinds, wanted: int) -> None:
    members = [make(number) for number, make in enumerate(kinds)]
    number = len(members)
    for _ in range(4):
        working = sum(one.is_up and one.record.wanted for one in members)
        step = decide(members, wanted)
        left = {one.name for one in step.leave}
        # Never fewer that work than are wanted, if there were as many.
        still = sum(
            one.is_up and one.record.wanted and one.name not in left for one in members
        )
        assert still >= min(working, wanted)
        members = [one for one in members if one.name not in left]
        new = [ready(number + n, left=300 * MIN) for n in range(step.start)]
        members, number = [*members, *new], number + step.start
    assert (decide(members, wanted).start, decide(members, wanted).leave) == (0, ())
    # Whose time is nearly over stays until a successor works.
    total = sum(one.record.wanted for one in members)
    due = sum(one.record.status.ends == NOW + 5 * MIN for one in members)
    assert wanted <= total <= wanted + due
