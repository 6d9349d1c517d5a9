"""Job sets over the batch core itself and over the jobs service's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rigs.services.jobs import Rig
from services.common.background.jobset import Hooks, JobSet, JobSets, Template
from services.common.background.members import Member, SetPolicy, least_loaded
from spawners.batch.errors import LimitReached, SchedulerUnavailable
from spawners.batch.explain.failure import Failure
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.record import Stage
from spawners.batch.models import BatchJob, JobState, Resources

KIND = "server:"
PREFIX = "server:alice/set/"
MS = timedelta(milliseconds=1)
POLICY = SetPolicy(well=200 * MS, first_pause=50 * MS, longest_pause=400 * MS)
GONE = Failure("It hangs", "No answer for 30 s.")


async def eventually(fact: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


def is_running(member: Member) -> bool:
    """Whether its job runs: the fake scheduler's jobs report nothing."""
    return member.record.status.state is JobState.RUNNING


class Owner:
    """A service that has one set, and can be killed and started again.

    Attributes:
        lives: what each life of it has: its sets.
    """

    def __init__(self, jobs: JobsApi, fake: FakeScheduler, template: Template) -> None:
        self.jobs = jobs
        self.fake = fake
        self.template = template
        self.hooks = Hooks(is_ready=is_running)
        self.lives: list[JobSets] = []

    def start(self, wanted: int, **policy: Any) -> JobSet:
        """Begin a life, with so many members wanted, as its database would say."""
        kept = replace(POLICY, **policy)
        sets = JobSets(self.jobs, KIND)
        sets.start()
        self.lives.append(sets)
        return sets.put(PREFIX, replace(self.template, policy=kept), wanted, self.hooks)

    @property
    def sets(self) -> JobSets:
        return self.lives[-1]

    async def kill(self) -> None:
        """Be gone, in the middle of whatever is done; what was sent arrives."""
        await self.sets.close()

    def live(self) -> list[BatchJob]:
        return self.fake.live()

    async def run_all(self) -> None:
        """Have every job run."""
        for job in self.live():
            if self.fake._jobs[job.id].status.state is not JobState.RUNNING:
                self.fake.move(job, JobState.RUNNING, node="n01")
        await asyncio.sleep(0)


@pytest.fixture
async def owner(use: Any, new_spec: Callable[..., Any]) -> AsyncIterator[Owner]:
    spec = new_spec(resources=Resources(time_limit=timedelta(hours=1)))
    owner = Owner(use.api, use.fake, Template(spec, "alice"))
    yield owner
    for sets in owner.lives:
        await sets.close()


def wanted_numbers(job_set: JobSet) -> list[int]:
    return [one.number for one in job_set.members if one.record.wanted]


async def test_many_are_started_by_one_command_and_known_one_by_one(
    owner: Owner,
) -> None:
    job_set = owner.start(20)
    await eventually(lambda: len(owner.live()) == 20)
    assert (owner.fake.calls["submit_set"], owner.fake.calls["submit"]) == (1, 0)
    await eventually(lambda: wanted_numbers(job_set) == list(range(20)))
    job = next(job for job in owner.live() if job.name.endswith("-7"))
    owner.fake.move(job, JobState.PENDING, reason="Priority", queue_place=3)

    def seventh() -> Member:
        return job_set.members[7]

    await eventually(lambda: seventh().record.status.reason == "Priority")
    assert seventh().stage is Stage.QUEUED
    owner.fake.move(job, JobState.RUNNING, node="n02")
    await eventually(lambda: seventh().record.status.nodes == ("n02",))
    assert seventh().record.status.ends is not None
    assert seventh().name == job.name


async def test_a_lower_number_ends_those_that_wait_by_one_command(
    owner: Owner,
) -> None:
    job_set = owner.start(6)
    await eventually(lambda: len(owner.live()) == 6)
    for job in owner.live()[:2]:
        owner.fake.move(job, JobState.RUNNING, node="n01")
    await eventually(lambda: sum(map(is_running, job_set.members)) == 2)
    owner.sets.scale(PREFIX, 2)
    await eventually(lambda: len(owner.live()) == 2)
    assert wanted_numbers(job_set) == [0, 1]
    owner.sets.scale(PREFIX, 0)
    await eventually(lambda: not owner.live())
    await asyncio.wait_for(job_set.gone.wait(), 10)
    assert owner.fake.calls["submit"] + owner.fake.calls["submit_set"] == 1


async def test_the_caller_says_which_go_and_lets_them_finish(owner: Owner) -> None:
    load, asked, may_end = {0: 3.0, 1: 1.0, 2: 2.0}, [], asyncio.Event()

    async def drained(member: Member) -> bool:
        asked.append(member.number)
        return may_end.is_set()

    owner.hooks = Hooks(
        is_ready=is_running,
        choose=least_loaded(lambda member: load[member.number]),
        may_end=drained,
    )
    job_set = owner.start(3)
    await eventually(lambda: len(owner.live()) == 3)
    await owner.run_all()
    await eventually(lambda: sum(map(is_running, job_set.members)) == 3)
    owner.sets.scale(PREFIX, 2)
    await eventually(lambda: len(asked) >= 2)
    assert (set(asked), len(owner.live())) == ({1}, 3)
    may_end.set()
    await eventually(lambda: wanted_numbers(job_set) == [0, 2])


async def test_what_ends_is_replaced_once_that_was_read(owner: Owner) -> None:
    job_set = owner.start(2)
    await eventually(lambda: len(owner.live()) == 2)
    await owner.run_all()
    first = owner.live()[0]
    owner.fake.fail_next("status", times=3)
    owner.fake.move(first, JobState.NODE_FAIL)
    await eventually(lambda: len(owner.live()) == 2)
    assert job_set.setbacks.failures == 0
    assert first not in owner.live()


async def test_what_keeps_failing_comes_more_and_more_slowly(owner: Owner) -> None:
    job_set = owner.start(3, crash_limit=3)
    ends = []
    async with asyncio.timeout(20):
        while not job_set.is_crash_looping:
            for job in owner.live():
                owner.fake.move(job, JobState.FAILED, exit_code=1)
                ends.append(job)
            await asyncio.sleep(0.01)
    assert 3 <= len(ends) <= 9
    await eventually(lambda: len(owner.live()) == 1)
    assert job_set.setbacks.last is not None and job_set.setbacks.last.title
    # One does well, and then all are there again.
    await owner.run_all()
    await eventually(lambda: len(owner.live()) == 3)


async def test_a_refusal_is_told_and_tried_again(owner: Owner) -> None:
    refusal = LimitReached("You may have no more jobs.", field="count")
    owner.fake.fail_next("submit_set", refusal)
    job_set = owner.start(2)
    await eventually(lambda: job_set.setbacks.last is not None)
    assert "no more jobs" in f"{job_set.setbacks.last}"
    await eventually(lambda: len(owner.live()) == 2)


async def test_a_scheduler_that_is_away_is_no_fault_of_theirs(owner: Owner) -> None:
    owner.fake.fail_next("submit_set", SchedulerUnavailable("It is away."), times=2)
    job_set = owner.start(2)
    await eventually(lambda: len(owner.live()) == 2)
    assert job_set.setbacks.failures == 0


async def test_one_that_hangs_is_replaced_by_word(owner: Owner) -> None:
    job_set = owner.start(1)
    await eventually(lambda: owner.live())
    await owner.run_all()
    await eventually(lambda: any(map(is_running, job_set.members)))
    (old,) = job_set.members
    await asyncio.sleep(0.3)  # it did well once
    await owner.sets.give_up(old, GONE)
    await eventually(lambda: [job.name for job in owner.live()] not in ([], [old.name]))
    assert job_set.setbacks.last == GONE


async def test_a_successor_is_there_before_the_time_limit(owner: Owner) -> None:
    job_set = owner.start(1, lead=timedelta(minutes=20))
    await eventually(lambda: owner.live())
    await owner.run_all()
    (old,) = owner.live()
    entry = owner.fake._jobs[old.id]
    status = entry.status
    soon = status.started + timedelta(minutes=1)
    started = status.started - timedelta(minutes=59)
    entry.status = replace(status, started=started, ends=soon)
    await eventually(lambda: len(owner.live()) == 2)
    new = next(job for job in owner.live() if job != old)
    owner.fake.move(new, JobState.PENDING)
    await asyncio.sleep(0.2)
    assert old in owner.live(), "its successor does not work yet"
    owner.fake.move(new, JobState.RUNNING, node="n02")
    await eventually(lambda: owner.live() == [new])
    assert len(wanted_numbers(job_set)) == 1


async def test_a_member_that_was_lost_holds_its_place(owner: Owner) -> None:
    job_set = owner.start(2)
    await eventually(lambda: len(owner.live()) == 2)
    await owner.run_all()
    await eventually(lambda: sum(map(is_running, job_set.members)) == 2)
    owner.fake.forget(owner.live()[0])
    await eventually(lambda: any(one.may_come_back for one in job_set.members))
    assert len(owner.live()) == 1
    # The jobs service searches for it, in vain; then there is room.
    await eventually(lambda: len(owner.live()) == 2)


async def test_ending_a_set_ends_all_of_it_whatever_it_is_busy_with(
    owner: Owner,
) -> None:
    async def never(member: Member) -> bool:
        return False

    owner.hooks = Hooks(is_ready=is_running, may_end=never)
    job_set = owner.start(4)
    await eventually(lambda: len(owner.live()) == 4)
    await owner.sets.end(PREFIX)
    await eventually(lambda: not owner.live())
    await asyncio.wait_for(job_set.gone.wait(), 10)


async def test_jobs_of_no_set_are_orphans(owner: Owner) -> None:
    owner.start(3)
    await eventually(lambda: len(owner.live()) == 3)
    await owner.kill()
    sets = JobSets(owner.jobs, KIND)
    owner.lives.append(sets)
    sets.start()
    other = "server:alice/other/"
    sets.put(other, owner.template, 1)
    await eventually(lambda: len(owner.live()) == 4)
    assert await sets.end_orphans() == 3
    await eventually(lambda: len(owner.live()) == 1)
    assert await sets.end_orphans() == 0


async def test_a_prefix_that_is_none_of_the_kind_is_refused(owner: Owner) -> None:
    owner.start(0)
    for prefix in ("kernel:alice/x/", "server:alice/x"):
        with pytest.raises(ValueError, match="must begin with"):
            owner.sets.put(prefix, owner.template, 1)


STEPS = ["submit_set", "submit", "status", "cancel_many", "find"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_at_a_step_it_finds_all_again_and_doubles_nothing(
    owner: Owner, step: str, moment: str
) -> None:
    """The service ends while the scheduler is asked, or has just answered."""
    real, killed = getattr(owner.fake, step), asyncio.Event()

    async def dying(*args: Any, **named: Any) -> Any:
        if moment == "after":
            answer = await real(*args, **named)
        if not killed.is_set():
            killed.set()
            await asyncio.sleep(0.05)
        return answer if moment == "after" else await real(*args, **named)

    if step == "submit_set":
        setattr(owner.fake, step, dying)
    owner.start(5)
    if step != "submit_set":
        await eventually(lambda: len(owner.live()) == 5)
        await owner.run_all()
        setattr(owner.fake, step, dying)
        if step == "cancel_many":
            owner.sets.scale(PREFIX, 2)
        elif step == "submit":
            owner.fake.move(owner.live()[0], JobState.NODE_FAIL)
        elif step == "find":
            owner.fake.lose_answer()
            owner.sets.scale(PREFIX, 6)
    await asyncio.wait_for(killed.wait(), 10)
    await owner.kill()
    setattr(owner.fake, step, real)
    wanted = 2 if step == "cancel_many" else 5
    job_set = owner.start(wanted)
    await eventually(lambda: len(wanted_numbers(job_set)) == wanted)
    await eventually(lambda: len(owner.live()) == wanted)
    # It is at rest: nothing comes late.
    await asyncio.sleep(0.3)
    assert len(owner.live()) == wanted
    names = [job.name for job in owner.live()]
    assert len(names) == len(set(names))
    owners = [one.record.owner for one in job_set.members if one.record.wanted]
    assert len(owners) == len(set(owners)) == wanted


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_set_outlives_the_jobs_service(
    rig: Rig, new_spec: Callable[..., Any], moment: str
) -> None:
    """The jobs service is killed while the scheduler takes the set, and comes back."""
    fake = rig.scheduler
    owner = Owner(await rig.client(), fake, Template(new_spec(), "alice"))
    real, asked = fake.submit_set, asyncio.Event()

    async def dying(*args: Any, **named: Any) -> Any:
        if moment == "after":
            await real(*args, **named)
        asked.set()
        await asyncio.Event().wait()

    fake.submit_set = dying
    job_set = owner.start(5)
    await asyncio.wait_for(asked.wait(), 10)
    await rig.kill()
    fake.submit_set = real
    await rig.start()
    await eventually(lambda: len(wanted_numbers(job_set)) == 5)
    await eventually(lambda: len(owner.live()) == 5)
    await asyncio.sleep(0.3)
    assert len(owner.live()) == len(wanted_numbers(job_set)) == 5
    await owner.kill()
