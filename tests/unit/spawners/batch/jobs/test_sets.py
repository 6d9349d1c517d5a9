"""Submitting and ending sets: one call each, and every record told of by itself."""

import asyncio

import pytest

from spawners.batch.errors import (
    InvalidSpec,
    LimitReached,
    SchedulerUnavailable,
    SubmitRejected,
)
from spawners.batch.jobs.errors import AlreadyLive
from spawners.batch.jobs.record import Phase
from spawners.batch.models import JobState, Resources
from spawners.common.errors import DatabaseUnavailable

pytestmark = pytest.mark.usefixtures("deadline")

OWNERS = [f"cluster:alice/c/{n}" for n in range(5)]


@pytest.fixture
def submit_set(jobs, new_spec):
    async def go(owners=OWNERS, **fields):
        return await jobs.submit_set(new_spec(**fields), user="alice", owners=owners)

    return go


def over(record):
    return not record.live


async def test_each_owner_has_a_record_of_its_own_task(jobs, fake, submit_set):
    records = await submit_set()
    assert [record.owner for record in records] == OWNERS
    assert [record.phase for record in records] == [Phase.SUBMITTED] * 5
    name = records[0].name.rpartition("-")[0]
    assert [record.name for record in records] == [f"{name}-{n}" for n in range(5)]
    assert [record.job for record in records] == fake.live()
    assert [record.job.name for record in records] == [r.name for r in records]
    assert (fake.calls["check"], fake.calls["submit_set"]) == (1, 1)
    fake.move(records[3].job, JobState.RUNNING, node="n01")
    await jobs.wait(records[3].name, lambda r: r.status.state is JobState.RUNNING)
    (event, *_) = await jobs.events(OWNERS[3])
    assert event.message == f"Submitted as job {records[3].job.id}"


async def test_a_set_is_written_down_in_one_transaction(jobs, fake, submit_set):
    store, written = jobs._ledger.store, []
    real = store.insert_all

    async def insert_all(records, **given):
        assert fake.live() == []
        written.append(len(records))
        await real(records, **given)

    store.insert_all = insert_all
    await submit_set()
    assert written == [5]


async def test_one_owner_with_a_job_stops_the_whole_set(
    jobs, fake, submit_set, new_spec
):
    first = await jobs.submit(new_spec(), user="alice", owner=OWNERS[2])
    with pytest.raises(AlreadyLive) as error:
        await submit_set()
    assert error.value.record.name == first.name
    assert fake.live() == [first.job]
    await jobs.cancel(first.name)
    await jobs.wait(first.name, over)
    records = await submit_set()
    assert [record.generation for record in records] == [1, 1, 2, 1, 1]


async def test_an_owner_that_another_process_took_stops_the_whole_set(
    jobs, fake, submit_set
):
    (record,) = await submit_set(OWNERS[:1])
    ledger = jobs._ledger
    ledger._newest.clear()
    ledger._entries.clear()
    with pytest.raises(AlreadyLive) as error:
        await submit_set()
    assert error.value.record.name == record.name
    assert len(fake.live()) == 1


async def test_two_sets_of_the_same_owners_are_one(fake, submit_set):
    answers = await asyncio.gather(submit_set(), submit_set(), return_exceptions=True)
    assert sum(isinstance(answer, AlreadyLive) for answer in answers) == 1
    assert len(fake.live()) == 5


@pytest.mark.parametrize(
    "owners", [[], ["a", "a"], ["a", ""], ["a\n"], [str(n) for n in range(1001)]]
)
async def test_odd_owners_are_refused(fake, submit_set, owners):
    with pytest.raises(InvalidSpec):
        await submit_set(owners)
    assert fake.calls["check"] == fake.calls["submit_set"] == 0


@pytest.mark.parametrize("method", ["check", "submit_set"])
async def test_a_refusal_of_the_set_is_in_each_record(jobs, fake, submit_set, method):
    fake.fail_next(method, LimitReached("No more."))
    with pytest.raises(LimitReached):
        await submit_set()
    for owner in OWNERS:
        record = jobs.current(owner)
        assert record.phase is Phase.REFUSED
        assert "No more." in f"{record.failure.title} {record.failure.detail}"
    await submit_set()


async def test_a_store_that_is_away_leaves_nothing(jobs, fake, submit_set, monkeypatch):
    async def away(*_, **__):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(jobs._ledger.store, "insert_all", away)
    with pytest.raises(DatabaseUnavailable):
        await submit_set()
    monkeypatch.undo()
    assert fake.live() == []
    assert all(jobs.current(owner) is None for owner in OWNERS)
    await submit_set()


async def test_a_lost_answer_is_resolved_by_one_look(fake, submit_set):
    fake.lose_answer()
    records = await submit_set()
    assert [record.job for record in records] == fake.live()
    assert fake.calls["find"] == 1


async def test_a_set_that_never_came_is_told_as_such(jobs, fake, submit_set):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit_set()
    assert {jobs.current(owner).phase for owner in OWNERS} == {Phase.REFUSED}
    assert fake.calls["find"] <= 4  # of three planned looks, however many tasks


async def test_a_set_that_comes_late_is_ended_whole(jobs, fake, submit_set):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit_set()
    assert len(fake.deliver()) == 5
    while fake.live():
        await asyncio.sleep(0.01)
    for owner in OWNERS:
        name = jobs.current(owner).name
        record = await jobs.wait(name, lambda r: r.status.state.ended)
        assert record.phase is Phase.REFUSED


async def test_a_set_of_which_some_are_lost_is_told_task_by_task(fake, submit_set):
    real = fake.submit_set

    async def lossy(spec, count, *, user):
        tasks = await real(spec, count, user=user)
        for task in (tasks[1], tasks[4]):
            fake.forget(task)
        raise SchedulerUnavailable("no answer")

    fake.submit_set = lossy
    records = await submit_set()
    phases = [record.phase for record in records]
    taken, lost = Phase.SUBMITTED, Phase.REFUSED
    assert phases == [taken, lost, taken, taken, lost]
    assert [r.job for r in records if r.job] == fake.live()


async def test_a_task_that_the_scheduler_forgot_is_lost_and_no_other(
    jobs, fake, submit_set
):
    records = await submit_set()
    fake.forget(records[2].job)
    record = await jobs.wait(records[2].name, over)
    assert record.status.state is JobState.LOST
    assert [jobs.get(r.name).live for r in records] == [True, True, False, True, True]


async def test_an_answer_with_too_few_jobs_is_a_lost_answer(fake, submit_set):
    real = fake.submit_set

    async def short(spec, count, *, user):
        return (await real(spec, count, user=user))[:3]

    fake.submit_set = short
    records = await submit_set()
    assert [record.job for record in records] == fake.live()


async def test_an_end_that_was_wanted_while_it_was_submitted_is_that_tasks_own(
    jobs, fake, submit_set
):
    real, gate = fake.submit_set, asyncio.Event()

    async def slow(spec, count, *, user):
        await gate.wait()
        return await real(spec, count, user=user)

    fake.submit_set = slow
    task = asyncio.create_task(submit_set())
    while jobs.current(OWNERS[4]) is None:
        await asyncio.sleep(0)
    await jobs.cancel(jobs.current(OWNERS[1]).name)
    gate.set()
    records = await task
    ended = await jobs.wait(records[1].name, over)
    assert ended.status.state is JobState.CANCELLED
    assert fake.live() == [r.job for r in records if r is not records[1]]


async def test_a_set_that_nobody_wants_any_more_is_not_submitted(
    jobs, fake, submit_set
):
    real, gate = fake.check, asyncio.Event()

    async def slow(resources, *, user):
        await gate.wait()
        await real(resources, user=user)

    fake.check = slow
    task = asyncio.create_task(submit_set())
    while jobs.current(OWNERS[4]) is None:
        await asyncio.sleep(0)
    assert await jobs.cancel_owned("cluster:alice/c/") == 5
    gate.set()
    records = await task
    assert {record.status.state for record in records} == {JobState.CANCELLED}
    assert fake.calls["submit_set"] == 0


async def test_many_ends_reach_the_scheduler_as_one_call(jobs, fake, submit_set):
    records = await submit_set([f"cluster:alice/c/{n}" for n in range(300)])
    others = await submit_set([f"cluster:alice/d/{n}" for n in range(5)])
    real, asked = fake.cancel_many, []

    async def cancel_many(ending):
        asked.append({job.name for job in ending})
        return await real(ending)

    fake.cancel_many = cancel_many
    assert await jobs.cancel_owned("cluster:alice/c/") == 300
    assert asked[0] == {record.name for record in records}
    for record in records:
        record = await jobs.wait(record.name, over)
        assert record.status.state is JobState.CANCELLED
    assert fake.live() == [record.job for record in others]


async def test_an_end_that_did_not_arrive_is_asked_for_again_alone(
    jobs, fake, submit_set
):
    records = await submit_set()
    fake.fail_cancel(records[3].job)
    await jobs.cancel_owned("cluster:alice/c/")
    for record in (*records[:3], records[4]):
        await jobs.wait(record.name, over)
    assert jobs.get(records[3].name).live
    fake.heal()
    await jobs.wait(records[3].name, over)
    assert fake.live() == []


async def test_a_set_with_a_partition_that_is_not_there_is_refused(jobs, submit_set):
    with pytest.raises(SubmitRejected):
        await submit_set(resources=Resources(partition="nope"))
    assert {jobs.current(owner).phase for owner in OWNERS} == {Phase.REFUSED}


async def test_a_set_of_its_name_is_no_single_jobs(jobs, fake, new_spec):
    spec = new_spec()
    records = await jobs.submit_set(spec, user="alice", owners=OWNERS)
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await jobs.submit(spec, user="alice", owner="cluster:alice/other")
    assert jobs.current("cluster:alice/other").phase is Phase.REFUSED
    assert fake.live() == [record.job for record in records]
