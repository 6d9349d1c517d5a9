"""Events, the store in trouble, and the rest of what Jobs offers."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.batch.jobs import OWNER, ended, in_state
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.jobs.errors import AlreadyLive
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import Phase
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobState
from spawners.common.errors import DatabaseUnavailable

pytestmark = pytest.mark.usefixtures("deadline")


# -- events


async def test_notes_are_events_with_numbers(jobs, submit):
    record = await submit()
    first = await jobs.note(record.name, "server", "Listening", port=4000)
    second = await jobs.note(record.name, "server", "Again")
    assert second.seq > first.seq
    events = await jobs.events(OWNER, after=first.seq - 1)
    assert first in events
    assert second in events
    assert first.data == {"port": 4000}


async def test_waiting_for_an_event_ends_with_the_next_one(jobs, submit):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    last = (await jobs.events(OWNER))[-1].seq
    await jobs.changed(OWNER, last - 1)
    waiting = asyncio.create_task(jobs.changed(OWNER, last))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await jobs.note(record.name, "server", "Hello")
    await waiting
    assert len(await jobs.events(OWNER, last)) == 1


async def test_waiting_for_an_event_ends_with_a_new_start(jobs, fake, submit):
    first = await submit()
    await jobs.cancel(first.name)
    await jobs.wait(first.name, ended)
    waiting = asyncio.create_task(jobs.changed(OWNER, 1000))
    await submit()
    await waiting


async def test_the_story_can_be_read_after_a_restart(jobs, fake, submit, open_jobs):
    record = await submit()
    fake.move(record.job, JobState.FAILED, exit_code=1)
    await jobs.wait(record.name, ended)
    before = await jobs.events(OWNER)
    again = await open_jobs()
    assert await again.events(OWNER) == before
    assert again.current(OWNER).failure == jobs.current(OWNER).failure
    assert await again.events("server:nobody/") == []


# -- the store fails


@pytest.fixture
def lock(store_url):
    """Hold the database's lock, as a backup or an operator may."""
    other = sqlite3.connect(store_url.removeprefix("sqlite:///"))

    class Lock:
        def hold(self):
            other.execute("BEGIN EXCLUSIVE")

        def release(self):
            other.rollback()

    yield Lock()
    other.close()


async def test_nothing_is_submitted_that_cannot_be_written_down(
    jobs, fake, submit, lock
):
    lock.hold()
    with pytest.raises(DatabaseUnavailable):
        await submit()
    assert fake.calls["submit"] == 0
    assert jobs.current(OWNER) is None
    lock.release()
    await submit()


async def test_a_wish_that_cannot_be_written_down_is_refused(jobs, fake, submit, lock):
    record = await submit()
    lock.hold()
    with pytest.raises(DatabaseUnavailable):
        await jobs.cancel(record.name)
    assert [record.job] == fake.live()
    assert jobs.get(record.name).cancel_wanted is None
    lock.release()
    await jobs.cancel(record.name)


async def test_an_identity_is_kept_until_it_can_be_written(
    jobs, fake, submit, lock, open_jobs
):
    real = fake.submit

    async def lock_after(spec, *, user):
        answer = await real(spec, user=user)
        lock.hold()
        return answer

    fake.submit = lock_after
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert jobs.counters.unsaved == 1
    lock.release()
    await jobs.note(record.name, "server", "Hello")
    while jobs.counters.unsaved:
        await asyncio.sleep(0.01)
    again = await open_jobs()
    assert again.get(record.name).job == record.job


async def test_running_jobs_go_on_while_the_store_does_not(jobs, fake, submit, lock):
    record = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    lock.hold()
    fake.move(record.job, JobState.COMPLETED, exit_code=0)
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, ended)
    lock.release()
    events = await jobs.events(OWNER)
    assert events[-1].kind == "ended"


async def test_an_abandoned_core_leaves_no_task_and_writes_nothing_down(
    jobs, fake, submit, lock, open_jobs
):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    lock.hold()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    waiting = asyncio.create_task(submit(owner="server:bob/", user="bob"))
    await asyncio.sleep(0)
    await jobs.abandon()
    lock.release()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(DatabaseUnavailable):
        await jobs.cancel(record.name)
    again = await open_jobs()
    assert again.get(record.name).cancel_wanted is None
    assert again.current("server:bob/") is None


# -- around


async def test_records_can_be_listed_by_user(jobs, fake, submit):
    first = await submit()
    await submit(owner="server:bob/", user="bob")
    fake.move(first.job, JobState.FAILED)
    await jobs.wait(first.name, ended)
    assert [r.user for r in jobs.records()] == ["bob"]
    assert [r.user for r in jobs.records(live_only=False)] == ["alice", "bob"]
    assert jobs.records(user="alice") == []


async def test_limits_are_read_once_and_kept(open_jobs, fake, quick):
    jobs = await open_jobs()
    await asyncio.gather(*(jobs.limits("alice") for _ in range(5)))
    assert fake.calls["limits"] == 1
    fake.fail_next("limits")
    with pytest.raises(SchedulerUnavailable):
        await jobs.limits("bob")
    await jobs.limits("bob")


async def test_old_limits_are_better_than_none(open_jobs, fake, quick):
    jobs = await open_jobs(settings=replace(quick, limits_age=timedelta(0)))
    known = await jobs.limits("alice")
    fake.fail_next("limits")
    assert await jobs.limits("alice") is known


async def test_the_counters_count(jobs, submit):
    await submit()
    counters = jobs.counters
    assert counters.live == 1
    assert counters.calls["submit"] == 1
    assert counters.calls_per_minute == sum(counters.calls.values())


async def test_pruning_happens_by_itself(fake, quick, open_jobs, new_spec):
    settings = replace(quick, keep=timedelta(0), rest_time=timedelta(0))
    jobs = await open_jobs(settings=settings)
    for _ in range(2):
        record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
        fake.move(record.job, JobState.COMPLETED, exit_code=0)
        await jobs.wait(record.name, lambda r: not r.live and r.search_until is None)
    await jobs.close()
    again = await open_jobs(settings=settings)
    while await again.events(OWNER, generation=1):
        await asyncio.sleep(0.01)
    assert await again.events(OWNER, generation=2)


async def test_a_life_in_postgresql(postgresql_url, fake, quick, new_spec):
    store = await JobStore.open(postgresql_url)
    jobs = Jobs(fake, store, quick)
    await jobs.start()
    record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
    await jobs.wait(record.name, in_state(JobState.PENDING))
    await jobs.close()
    await store.close()

    store = await JobStore.open(postgresql_url)
    jobs = Jobs(fake, store, quick)
    await jobs.start()
    with pytest.raises(AlreadyLive):
        await jobs.submit(new_spec(), user="alice", owner=OWNER)
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert [e.kind for e in await jobs.events(OWNER)][-1] == "cancelled"
    await jobs.close()
    await store.close()
