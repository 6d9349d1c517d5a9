"""A cancel is a wish that lasts until an end was read."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.batch.jobs import OWNER, ended, in_state
from spawners.batch.errors import InvalidSpec
from spawners.batch.jobs import jobs as jobs_module
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.reconciler import reconciler as reconciler_module
from spawners.batch.jobs.record import Phase
from spawners.batch.models import JobState
from spawners.common.errors import DatabaseUnavailable

pytestmark = pytest.mark.usefixtures("deadline")


async def test_a_cancel_ends_the_job_and_is_no_failure(jobs, fake, submit, kinds):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    await jobs.cancel(record.name)
    assert fake.live() == []
    record = await jobs.wait(record.name, ended)
    assert record.phase is Phase.ENDED
    assert record.failure is None
    assert (await kinds())[-2:] == ["cancelling", "cancelled"]
    asked = fake.calls["cancel"]
    await jobs.cancel(record.name)
    assert fake.calls["cancel"] == asked


async def test_a_cancel_is_repeated_until_the_end_was_read(jobs, fake, submit):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    while fake.cancels(record.job) < 3:
        await asyncio.sleep(0.01)
    assert jobs.get(record.name).live
    fake.move(record.job, JobState.CANCELLED)
    await jobs.wait(record.name, ended)


async def test_a_cancel_that_fails_is_tried_again(jobs, fake, submit):
    record = await submit()
    fake.fail_next("cancel", times=3)
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert fake.live() == []


async def test_an_old_wish_is_told_to_operators(jobs, fake, submit, kinds, caplog):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    while jobs.counters.cancels_overdue == 0:
        await asyncio.sleep(0.01)
    assert "should have ended" in caplog.text
    assert "warning" in await kinds()
    fake.move(record.job, JobState.CANCELLED)
    await jobs.wait(record.name, ended)


async def test_a_wish_survives_a_restart(jobs, fake, submit, open_jobs):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.close()
    fake.cancels_work = True
    again = await open_jobs()
    assert again.get(record.name).cancel_wanted is not None
    await again.wait(record.name, ended)
    assert fake.live() == []


async def test_a_cancel_before_the_submission_keeps_it_from_happening(
    jobs, fake, submit
):
    gate = asyncio.Event()
    real = fake.check

    async def slow(resources, *, user):
        await gate.wait()
        await real(resources, user=user)

    fake.check = slow
    task = asyncio.create_task(submit())
    while jobs.current(OWNER) is None:
        await asyncio.sleep(0)
    await jobs.cancel(jobs.current(OWNER).name)
    gate.set()
    record = await task
    assert record.phase is Phase.ENDED
    assert record.status.state is JobState.CANCELLED
    assert fake.calls["submit"] == 0


async def test_a_cancel_during_the_submission_ends_the_job_that_comes(
    jobs, fake, submit
):
    gate = asyncio.Event()
    real = fake.submit

    async def slow(spec, *, user):
        await gate.wait()
        return await real(spec, user=user)

    fake.submit = slow
    task = asyncio.create_task(submit())
    while fake.calls["check"] == 0:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    await jobs.cancel(name)
    gate.set()
    await task
    await jobs.wait(name, ended)
    assert fake.live() == []


async def test_a_cancel_of_a_lost_submission_ends_the_job_that_comes(
    jobs, fake, submit
):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    await jobs.cancel(name)
    record = await task
    assert record.phase is Phase.ENDED
    assert record.failure is None
    (twin,) = fake.deliver()
    await jobs.wait(name, lambda r: r.job == twin and r.status.state.ended)
    assert fake.live() == []


async def test_what_is_not_there_cannot_be_cancelled(jobs):
    with pytest.raises(UnknownJob):
        await jobs.cancel("lb-nobody")


async def test_a_reused_id_is_left_alone(jobs, fake, submit, new_spec):
    record = await submit()
    fake.forget(record.job)
    fake._next_id = int(record.job.id)
    other = await fake.submit(new_spec(), user="bob")
    assert other.id == record.job.id
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert fake.live() == [other]


async def test_all_jobs_of_an_owners_prefix_end(jobs, submit, fake):
    cluster = [await submit(owner=f"cluster:alice/one/{n}") for n in range(6)]
    other = await submit(owner="cluster:alice/one-more/0")
    assert await jobs.cancel_owned("cluster:alice/one/") == 6
    for record in cluster:
        await jobs.wait(record.name, ended)
    assert [job.name for job in fake.live()] == [other.name]
    assert await jobs.cancel_owned("cluster:alice/one/") == 0


@pytest.mark.parametrize("prefix", ["", "cluster", "cluster:alice/on"])
async def test_half_a_name_is_no_owners_prefix(jobs, submit, fake, prefix):
    await submit(owner="cluster:alice/one/0")
    with pytest.raises(InvalidSpec, match="owner"):
        await jobs.cancel_owned(prefix)
    assert len(fake.live()) == 1


async def test_who_listens_is_told_of_every_change(jobs, submit):
    seen = []
    jobs.listen(lambda name: seen.append((name, jobs.last_event(name))))
    first = await submit()
    await jobs.cancel(first.name)
    await jobs.wait(first.name, ended)
    assert (first.name, len(await jobs.events(first.owner))) in seen


async def test_a_cancel_of_a_name_that_is_just_being_written_ends_it(
    jobs, fake, new_spec, monkeypatch
):
    real, gate = jobs._ledger.store.insert_all, asyncio.Event()

    async def slow(*args, **kwargs):
        await gate.wait()
        await real(*args, **kwargs)

    monkeypatch.setattr(jobs._ledger.store, "insert_all", slow)
    spec = new_spec()
    submission = asyncio.create_task(jobs.submit(spec, user="alice", owner=OWNER))
    await asyncio.sleep(0)
    cancel = asyncio.create_task(jobs.cancel(spec.name))
    await asyncio.sleep(0.01)
    assert not cancel.done()
    gate.set()
    await cancel
    record = await submission
    await jobs.wait(record.name, ended)
    assert fake.live() == []


async def test_a_cancel_of_a_name_that_could_not_be_written_finds_nothing(
    jobs, new_spec, monkeypatch
):
    async def fail(*_, **__):
        raise DatabaseUnavailable("full")

    monkeypatch.setattr(jobs._ledger.store, "insert_all", fail)
    spec = new_spec()
    submission = asyncio.create_task(jobs.submit(spec, user="alice", owner=OWNER))
    await asyncio.sleep(0)
    with pytest.raises(UnknownJob):
        await jobs.cancel(spec.name)
    with pytest.raises(DatabaseUnavailable):
        await submission


async def test_a_request_that_could_not_be_written_is_written_later(
    jobs, fake, submit, monkeypatch
):
    monkeypatch.setattr(jobs_module, "_FIRST_RETRY_SECONDS", 0.01)
    record = await submit()
    real, failures = jobs._ledger.store.save, [1, 2, 3]

    async def fail(changes):
        if failures and any(change.record.cancel_wanted for change in changes):
            failures.pop()
            raise DatabaseUnavailable("locked")
        await real(changes)

    monkeypatch.setattr(jobs._ledger.store, "save", fail)
    with pytest.raises(DatabaseUnavailable):
        await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert failures == []
    assert fake.live() == []


async def test_a_caller_that_goes_away_does_not_undo_its_cancel(jobs, fake, submit):
    record = await submit()
    cancel = asyncio.create_task(jobs.cancel(record.name))
    await asyncio.sleep(0)
    cancel.cancel()
    await jobs.wait(record.name, ended)
    assert fake.live() == []


async def test_what_is_owned_together_ends_by_one_command(jobs, fake, submit):
    await asyncio.gather(*(submit(owner=f"cluster:alice/{n}") for n in range(50)))
    assert await jobs.cancel_owned("cluster:alice/") == 50
    assert (fake.calls["cancel_many"], fake.calls["cancel"]) == (1, 0)
    assert fake.live() == []


async def test_what_is_owned_by_a_name_being_written_ends_with_the_others(
    jobs, fake, submit
):
    first = await submit(owner="cluster:alice/0")
    second = asyncio.create_task(submit(owner="cluster:alice/1"))
    await asyncio.sleep(0)
    assert await jobs.cancel_owned("cluster:alice/") == 2
    second = await second
    for record in (first, second):
        await jobs.wait(record.name, ended)
    assert fake.live() == []


async def test_many_cancels_cost_what_they_are_not_what_there_is(
    open_jobs, fake, quick, new_spec, monkeypatch
):
    """The table is asked about the records that are cancelled, not about all."""
    hour = timedelta(hours=1)
    jobs = await open_jobs(
        settings=replace(quick, cancel_delays=(hour,), cancel_alarm=hour)
    )

    async def submit_many(owner, count):
        return await asyncio.gather(
            *(
                jobs.submit(new_spec(), user="alice", owner=f"{owner}:{n}")
                for n in range(count)
            )
        )

    await submit_many("other", 300)
    mine = await submit_many("mine", 50)
    while (
        any(record.status.state is JobState.UNKNOWN for record in jobs.records())
        or jobs.counters.unsaved
    ):
        await asyncio.sleep(0.01)
    asked = Counter()
    real = reconciler_module.next_step

    def count(record, *rest):
        asked[record.owner.partition(":")[0]] += 1
        return real(record, *rest)

    monkeypatch.setattr(reconciler_module, "next_step", count)
    await asyncio.gather(*(jobs.cancel(record.name) for record in mine))
    for record in mine:
        await jobs.wait(record.name, ended)
    assert asked["other"] == 0
    assert asked["mine"] < 50 * 20


async def test_so_many_submissions_are_under_way_at_a_time(
    open_jobs, fake, quick, new_spec
):
    jobs = await open_jobs(settings=replace(quick, submissions=3))
    at_once, most, gate = 0, 0, asyncio.Event()
    real = fake.submit

    async def slow(spec, *, user):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1
        return await real(spec, user=user)

    fake.submit = slow
    submissions = [
        asyncio.create_task(
            jobs.submit(new_spec(), user="alice", owner=f"server:alice/{n}")
        )
        for n in range(12)
    ]
    while at_once < 3:
        await asyncio.sleep(0.001)
    gate.set()
    await asyncio.gather(*submissions)
    assert most == 3
    assert len(fake.live()) == 12
