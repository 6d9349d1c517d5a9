"""What is kept of jobs that are over: the newest of an owner, or nothing at all."""

import asyncio
import gc
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.batch.jobs import OWNER, ended
from spawners.batch.errors import LimitReached
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.ledger import Ledger
from spawners.batch.jobs.record import JobEvent, JobRecord, Retain
from spawners.batch.models import JobState
from spawners.common.errors import DatabaseUnavailable

pytestmark = pytest.mark.usefixtures("deadline")
DEADLINE = 280

AT_ONCE = 100


@pytest.fixture
async def jobs(open_jobs, quick):
    return await open_jobs(settings=replace(quick, rest_time=timedelta(0)))


@pytest.fixture
def rows(store_url):
    """Count the rows of all tables that say something about a job."""

    def count():
        connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
        try:
            return sum(
                connection.execute(
                    f"SELECT count(*) FROM landbridge_{table}"
                ).fetchone()[0]
                for table in ("jobs", "job_events", "job_proofs", "job_launches")
            )
        finally:
            connection.close()

    return count


@pytest.fixture
def work(jobs, fake, new_spec):
    """Live the life of a worker: submitted, run, ended, for an owner used once."""

    async def one(number):
        record = await jobs.submit(
            new_spec(),
            user="alice",
            owner=f"cluster:alice/{number}",
            retain=Retain.NONE,
        )
        fake.move(record.job, JobState.RUNNING, node="n01")
        if number % 3 == 0:
            await jobs.cancel(record.name)
        else:
            fake.move(record.job, JobState.COMPLETED, exit_code=number % 2)
            jobs.heard_of(record.name)
        return record

    return one


async def forgotten(jobs):
    while jobs.records(live_only=False) or jobs.counters.unsaved:
        await asyncio.sleep(0.01)


def held():
    gc.collect()
    kinds = (JobRecord, JobEvent)
    return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("many", [2000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_thousands_of_workers_leave_no_trace(jobs, fake, work, rows, many):
    before = len(held())
    for start in range(0, many, AT_ONCE):
        await asyncio.gather(*map(work, range(start, start + AT_ONCE)))
    await forgotten(jobs)
    fake._jobs.clear()
    assert rows() == 0
    for index in (
        jobs._ledger._entries,
        jobs._ledger._open,
        jobs._ledger._newest,
        jobs._ledger._owners,
        jobs._readings._stories,
        jobs._reconciler._memories,
        jobs._reconciler._asked,
        jobs._reconciler._queue._due,
        jobs._submission._reserved,
        jobs._submission._writing,
        jobs._polled,
    ):
        assert len(index) == 0
    # The last turn of a loop may still hold some.
    assert len(held()) - before < AT_ONCE


async def test_the_newest_of_other_owners_is_kept(jobs, fake, submit, work):
    record = await submit()
    worker = await work(1)
    fake.move(record.job, JobState.COMPLETED, exit_code=0)
    await jobs.wait(record.name, ended)
    while jobs.get(worker.name) is not None:
        await asyncio.sleep(0.01)
    assert jobs.current(OWNER).name == record.name
    assert (await jobs.events(OWNER))[-1].kind == "ended"
    assert await jobs.events(worker.owner) == []
    with pytest.raises(UnknownJob):
        await jobs.cancel(worker.name)


async def test_nothing_is_forgotten_within_the_grace_period(
    open_jobs, fake, quick, new_spec
):
    jobs = await open_jobs(settings=quick)
    record = await jobs.submit(
        new_spec(), user="alice", owner=OWNER, retain=Retain.NONE
    )
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert jobs.current(OWNER).name == record.name
    fake.move(record.job, JobState.RUNNING, node="n01")
    while fake.live():
        await asyncio.sleep(0.01)


async def test_a_refused_worker_is_told_why_and_forgotten(jobs, fake, new_spec, rows):
    fake.fail_next("submit", LimitReached("Two jobs at most."))
    with pytest.raises(LimitReached):
        await jobs.submit(new_spec(), user="alice", owner=OWNER, retain=Retain.NONE)
    await forgotten(jobs)
    assert rows() == 0


@pytest.mark.parametrize("first", ["released", "ended"])
async def test_nothing_is_kept_of_what_its_owner_lets_go(
    jobs, fake, new_spec, rows, first
):
    record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
    if first == "released":
        await jobs.release(record.name)
        assert jobs.current(OWNER).live
    await jobs.cancel(record.name)
    if first == "ended":
        await jobs.wait(record.name, lambda r: not r.is_open)
        await jobs.release(record.name)
    await forgotten(jobs)
    assert rows() == 0
    with pytest.raises(UnknownJob):
        await jobs.release(record.name)


async def test_an_owner_may_be_used_again_while_its_last_job_is_kept(
    open_jobs, fake, quick, new_spec
):
    jobs = await open_jobs(settings=quick)
    for generation in (1, 2):
        record = await jobs.submit(
            new_spec(), user="alice", owner=OWNER, retain=Retain.NONE
        )
        assert record.generation == generation
        await jobs.cancel(record.name)
        await jobs.wait(record.name, ended)


async def test_what_could_not_be_deleted_is_deleted_later(
    jobs, fake, new_spec, monkeypatch, rows
):
    real, failures = jobs._ledger.store.delete, []

    async def fail_once(names):
        if not failures:
            failures.append(names)
            raise DatabaseUnavailable("locked")
        await real(names)

    monkeypatch.setattr(jobs._ledger.store, "delete", fail_once)
    record = await jobs.submit(
        new_spec(), user="alice", owner=OWNER, retain=Retain.NONE
    )
    await jobs.cancel(record.name)
    await forgotten(jobs)
    assert failures == [[record.name]]
    assert rows() == 0


async def test_what_a_crash_left_to_forget_is_forgotten_by_the_next_process(
    jobs, fake, new_spec, open_jobs, monkeypatch, rows
):
    async def never(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(jobs._ledger.store, "delete", never)
    record = await jobs.submit(
        new_spec(), user="alice", owner=OWNER, retain=Retain.NONE
    )
    await jobs.cancel(record.name)
    await jobs.wait(record.name, lambda record: not record.is_open)
    while (await jobs._ledger.store.get(record.name)).record.is_open:
        await asyncio.sleep(0.01)
    await jobs.abandon()
    again = await open_jobs()
    assert again.records(live_only=False) == []
    while rows():
        await asyncio.sleep(0.01)


async def test_a_closed_record_that_is_recalled_is_not_kept_for_that(
    jobs, fake, new_spec, monkeypatch
):
    ledger = jobs._ledger
    record = await jobs.submit(
        new_spec(), user="alice", owner=OWNER, retain=Retain.NONE
    )
    other = Ledger(ledger.store)
    await jobs.cancel(record.name)
    monkeypatch.setattr(ledger, "_dispose", _nothing)
    await jobs.wait(record.name, lambda record: not record.is_open)
    while (await ledger.store.get(record.name)).record.is_open:
        await asyncio.sleep(0.01)
    await other.recall(record.name)
    assert await other.flush()
    assert other.get(record.name) is None
    assert await ledger.store.get(record.name) is None


async def _nothing(_):
    return True
