"""What a reading means for a record, and how it is told."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.batch.jobs import OWNER, ended, in_state
from spawners.batch.jobs.record import Address, Phase
from spawners.batch.models import JobState, Resources

pytestmark = pytest.mark.usefixtures("deadline")


async def test_the_last_good_status_stays_while_nobody_answers(jobs, fake, submit):
    record = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    fake.fail_next("status", times=2)
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, lambda r: not r.status_is_current)
    assert record.live
    assert record.status.state is JobState.RUNNING
    assert not jobs.counters.scheduler_healthy
    record = await jobs.wait(record.name, lambda r: r.status_is_current)
    assert jobs.counters.scheduler_healthy


@pytest.mark.parametrize("lie", ["empty", "unknown", "nonsense"])
async def test_an_odd_reading_says_nothing(jobs, fake, submit, lie):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    real = fake.status

    async def odd(asked):
        if lie == "nonsense":
            raise ZeroDivisionError
        if lie == "empty":
            return {}
        reading = await real(asked)
        fake.move(record.job, JobState.UNKNOWN, reason="x")
        return reading

    fake.status = odd
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, lambda r: not r.status_is_current)
    assert record.live
    assert record.status.state is JobState.PENDING


async def test_a_job_absent_twice_is_lost_and_not_started_again(
    jobs, fake, submit, kinds
):
    record = await submit()
    fake.forget(record.job)
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.LOST
    assert record.failure.title == "Lost by the scheduler"
    assert (await kinds())[-1] == "failed"
    assert fake.calls["submit"] == 1


async def test_a_job_that_answers_is_not_lost(open_jobs, fake, quick, new_spec):
    answers = {"here": True}

    async def ask(record):
        answers["asked"] = record.name
        return answers["here"]

    jobs = await open_jobs(settings=replace(quick, answers=ask))
    record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    await jobs.report_ready(record.name, Address("n01", "127.0.0.1", 4000))
    fake.forget(record.job)
    while "asked" not in answers:
        await asyncio.sleep(0.01)
    assert jobs.get(record.name).live
    answers["here"] = False
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.LOST


async def test_a_job_absent_once_is_not_lost(jobs, fake, submit):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    entry = fake._jobs.pop(record.job.id)
    jobs.heard_of(record.name)
    await jobs.wait(record.name, lambda r: not r.status_is_current)
    fake._jobs[record.job.id] = entry
    record = await jobs.wait(record.name, lambda r: r.status_is_current)
    assert record.live


async def test_a_lost_job_that_comes_back_is_ended(jobs, fake, submit):
    record = await submit()
    entry = fake._jobs[record.job.id]
    fake.forget(record.job)
    await jobs.wait(record.name, ended)
    fake._jobs[record.job.id] = entry
    while fake.live():
        await asyncio.sleep(0.01)
    assert jobs.get(record.name).phase is Phase.ENDED


async def test_an_end_that_a_crash_took_back_is_made_again(jobs, fake, submit):
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    new = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    while record.job in fake.live():
        await asyncio.sleep(0.01)
    assert fake.live() == [new.job]
    record = await jobs.wait(record.name, lambda r: r.status.state.ended)
    assert record.phase is Phase.ENDED


async def test_an_end_is_looked_at_after_a_restart_too(jobs, fake, submit, open_jobs):
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    await submit()
    await jobs.close()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await open_jobs()
    while record.job in fake.live():
        await asyncio.sleep(0.01)


async def test_the_ended_are_forgotten_after_a_while(open_jobs, fake, quick, new_spec):
    jobs = await open_jobs(settings=replace(quick, rest_time=timedelta(0)))
    record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
    await jobs.cancel(record.name)
    await jobs.wait(record.name, lambda r: not r.live and r.search_until is None)
    asked = fake.calls["status"]
    await asyncio.sleep(0.1)
    assert fake.calls["status"] == asked


async def test_an_end_is_told_with_its_last_words(jobs, fake, submit, kinds):
    record = await submit(
        resources=Resources(memory=4 * 1024**3), output="/home/alice/%j.log"
    )
    fake.move(record.job, JobState.OUT_OF_MEMORY, node="n01", output="Killed\n")
    record = await jobs.wait(record.name, ended)
    assert record.failure.title == "Out of memory"
    assert record.failure.log.strip() == "Killed"
    assert (await kinds())[-1] == "failed"


async def test_a_log_that_cannot_be_read_does_not_hold_up_the_end(jobs, fake, submit):
    record = await submit(output="/home/alice/%j.log")
    fake.fail_next("read_output")
    fake.move(record.job, JobState.FAILED, exit_code=1)
    record = await jobs.wait(record.name, ended)
    assert record.failure.log == ""
    assert record.status.exit_code == 1


async def test_the_story_of_a_job_is_told_in_order(jobs, fake, submit, kinds):
    record = await submit()
    steps = [
        (JobState.CONFIGURING, "n01"),
        (JobState.RUNNING, "n01"),
        (JobState.SUSPENDED, "n01"),
        (JobState.RUNNING, "n01"),
        (JobState.REQUEUED, None),
        (JobState.RUNNING, "n02"),
    ]
    await jobs.wait(record.name, in_state(JobState.PENDING))
    for state, node in steps:
        fake.move(record.job, state, node=node)
        await jobs.wait(record.name, in_state(state))
    fake.move(record.job, JobState.PREEMPTED)
    record = await jobs.wait(record.name, ended)
    assert await kinds() == [
        "submitted",
        "queued",
        "allocated",
        "running",
        "suspended",
        "running",
        "requeued",
        "running",
        "failed",
    ]
    assert record.failure.title == "Preempted"


async def test_every_state_is_taken_in(jobs, fake, submit):
    for number, state in enumerate(JobState):
        if state is JobState.UNKNOWN:
            continue
        record = await submit(owner=f"server:alice/{number}")
        fake.move(record.job, state, node="n01")
        record = await jobs.wait(record.name, in_state(state))
        if state.ended:
            record = await jobs.wait(record.name, ended)
        assert record.live is not state.ended
