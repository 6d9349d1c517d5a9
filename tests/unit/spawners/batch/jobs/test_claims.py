"""What jobs say about themselves, and when it still matters."""

import asyncio

import pytest

from rigs.batch.jobs import ADDRESS, OWNER, ended, in_state
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.jobs.errors import StaleReport, UnknownJob
from spawners.batch.jobs.record import Address
from spawners.batch.models import JobState

pytestmark = pytest.mark.usefixtures("deadline")


async def test_a_ready_report_is_kept(jobs, fake, submit, kinds, open_jobs):
    record = await submit()
    await jobs.report_ready(record.name, ADDRESS)
    await jobs.report_ready(record.name, ADDRESS)
    assert jobs.get(record.name).address == ADDRESS
    assert (await kinds()).count("ready") == 1
    again = await open_jobs()
    assert again.get(record.name).address == ADDRESS


async def test_an_endpoint_is_reported_once(jobs, submit):
    record = await submit()
    other = Address("n02", "10.0.0.2", 40000)
    answers = await asyncio.gather(
        jobs.report_ready(record.name, ADDRESS),
        jobs.report_ready(record.name, other),
        return_exceptions=True,
    )
    assert isinstance(answers[1], StaleReport)
    with pytest.raises(StaleReport):
        await jobs.report_ready(record.name, other)
    assert jobs.get(record.name).address == ADDRESS
    assert jobs.get(record.name).live


async def test_a_job_that_is_being_stopped_is_refused(jobs, fake, submit):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    with pytest.raises(StaleReport):
        await jobs.report_ready(record.name, ADDRESS)
    assert jobs.get(record.name).address is None


async def test_a_report_of_an_older_generation_ends_that_job(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    old = jobs.current(OWNER)
    await jobs.wait(old.name, lambda r: r.search_until is None)
    new = await submit()
    (twin,) = fake.deliver()
    fake.move(twin, JobState.RUNNING, node="n01")
    with pytest.raises(StaleReport):
        await jobs.report_ready(old.name, ADDRESS)
    while twin in fake.live():
        await asyncio.sleep(0.01)
    assert fake.live() == [new.job]
    assert jobs.current(OWNER).address is None


async def test_a_report_of_nobody_is_refused(jobs):
    with pytest.raises(UnknownJob):
        await jobs.report_ready("lb-nobody", ADDRESS)
    with pytest.raises(UnknownJob):
        await jobs.report_ended("lb-nobody", 0, None)


async def test_a_reported_end_brings_its_log_but_is_no_end(jobs, fake, submit, kinds):
    record = await submit(output="/x")
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    await jobs.report_ended(record.name, 3, None, "its last words")
    assert jobs.get(record.name).live
    assert "server" in await kinds()
    fake.move(record.job, JobState.FAILED)
    record = await jobs.wait(record.name, ended)
    assert record.failure.log == "its last words"
    assert record.status.exit_code == 3
    assert fake.calls["read_output"] == 0


async def test_a_reported_end_is_evidence_where_nobody_keeps_accounts(
    jobs, fake, submit
):
    record = await submit()
    await jobs.report_ended(record.name, 0, None, "")
    fake.forget(record.job)
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.COMPLETED
