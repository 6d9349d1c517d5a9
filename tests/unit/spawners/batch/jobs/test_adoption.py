"""What became of a submission is found out by its name."""

import asyncio

import pytest

from rigs.batch.jobs import OWNER, ended
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.jobs.record import Phase
from spawners.batch.models import BatchJob

pytestmark = pytest.mark.usefixtures("deadline")


async def test_a_lost_answer_is_found_by_name(jobs, fake, submit, kinds):
    fake.lose_answer()
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert [record.job] == fake.live()
    assert fake.calls["submit"] == 1
    assert (await kinds())[:2] == ["warning", "submitted"]


async def test_a_nonsense_answer_is_a_lost_answer(jobs, fake, submit):
    real = fake.submit

    async def odd(spec, *, user):
        await real(spec, user=user)

    fake.submit = odd
    assert (await submit()).phase is Phase.SUBMITTED
    assert len(fake.live()) == 1


async def test_a_crash_of_the_scheduler_class_is_a_lost_answer(jobs, fake, submit):
    fake.fail_next("submit", ZeroDivisionError())
    with pytest.raises(SchedulerUnavailable):
        await submit()
    assert jobs.current(OWNER).phase is Phase.REFUSED


async def test_looking_waits_for_the_controller(jobs, fake, submit):
    fake.lose_answer()
    fake.fail_next("find", times=2)
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert fake.calls["find"] >= 3


async def test_what_is_not_found_is_given_up_and_never_repeated(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable, match="never took"):
        await submit()
    record = jobs.current(OWNER)
    assert record.phase is Phase.REFUSED
    assert record.search_until is not None
    assert fake.calls["submit"] == 1
    assert fake.calls["find"] == 3


async def test_a_job_that_arrives_between_two_looks_is_adopted(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    fake.deliver()
    record = await task
    assert [record.job] == fake.live()


async def test_a_late_twin_is_cancelled_beside_the_new_start(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    given_up = jobs.current(OWNER)
    second = await submit()
    (twin,) = fake.deliver()
    record = await jobs.wait(given_up.name, lambda r: r.status.state.ended)
    assert record.phase is Phase.REFUSED
    assert record.job == twin
    assert fake.live() == [second.job]
    assert jobs.current(OWNER).name == second.name


async def test_twins_are_looked_for_until_a_set_time(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    record = jobs.current(OWNER)
    await jobs.wait(record.name, lambda r: r.search_until is None)
    assert fake.calls["find"] == 3 + 3


async def test_quick_stops_do_not_shorten_the_search(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    for _ in range(10):
        await jobs.cancel(name)
    (twin,) = fake.deliver()
    record = await task
    await jobs.wait(name, ended)
    assert record.job == twin
    assert fake.live() == []


async def test_a_second_job_of_one_name_is_cancelled(jobs, fake, submit, new_spec):
    spec = new_spec()
    await fake.submit(spec, user="alice")
    fake.lose_answer()
    record = await jobs.submit(spec, user="alice", owner=OWNER)
    while len(fake.live()) > 1:
        await asyncio.sleep(0.01)
    assert fake.live() == [record.job]


async def test_an_identity_without_its_time_is_completed(jobs, fake, submit):
    real = fake.submit

    async def short(spec, *, user):
        job = await real(spec, user=user)
        return BatchJob(job.id, job.name, job.user)

    fake.submit = short
    record = await submit()
    assert record.job.submitted is None
    record = await jobs.wait(record.name, lambda r: r.job.submitted)
    assert [record.job] == fake.live()
