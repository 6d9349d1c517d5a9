"""SlurmScheduler while daemons are stopped, killed, or made to forget."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from spawners.batch.errors import (
    AuthenticationBroken,
    SchedulerUnavailable,
    SubmitUncertain,
)
from spawners.batch.models import JobState
from spawners.batch.runners.direct import RunnerSettings, SelfRunner
from spawners.batch.scheduler import ABSENT
from spawners.batch.slurm.scheduler import SlurmScheduler

pytestmark = pytest.mark.slurm


async def until(fact, seconds=30):
    """Await ``fact()`` again and again until it is true; its answer."""
    deadline = monotonic() + seconds
    while not (answer := await fact()):
        assert monotonic() < deadline, "gave up"
        await asyncio.sleep(0.1)
    return answer


async def test_a_submission_to_a_stopped_controller_becomes_one_job_that_is_found(
    slurm, scheduler, new_job, alice
):
    spec = new_job()
    await scheduler.config()
    with slurm.stopped("slurmctld"), pytest.raises(SubmitUncertain):
        await scheduler.submit(spec, user=alice)

    async def found():
        return await scheduler.find(spec.name, user=alice)

    (job,) = await until(found)
    assert (job.user, job.name) == (alice, spec.name)
    await scheduler.cancel(job)


async def test_a_dead_controller_leaves_everything_unknown(
    slurm, scheduler, new_job, reaches, alice
):
    job = await scheduler.submit(new_job(), user=alice)
    await reaches(job, JobState.RUNNING)
    # An orderly end, in which the job is saved; the crash that forgets is below.
    slurm.terminate("slurmctld")
    calls = (
        scheduler.status([job]),
        scheduler.cancel(job),
        scheduler.find(job.name, user=alice),
        scheduler.snapshot(),
        scheduler.estimate(new_job(), user=alice),
        scheduler.submit(new_job(), user=alice),
    )
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, SchedulerUnavailable) for answer in answers)
    assert [isinstance(answer, SubmitUncertain) for answer in answers][-2:] == [
        False,
        True,
    ]
    slurm.start("slurmctld")
    slurm.wait_up()
    await reaches(job, JobState.RUNNING)


async def test_without_munge_the_operator_is_told(slurm, scheduler, new_job, alice):
    job = await scheduler.submit(new_job(), user=alice)
    slurm.kill("munged")
    # With a dead socket in place the clients try for 49 s, and nodes are given up.
    Path(slurm.munge_socket).unlink()
    calls = (
        scheduler.status([job]),
        scheduler.cancel(job),
        scheduler.find(job.name, user=alice),
        scheduler.submit(new_job(), user=alice),
    )
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [AuthenticationBroken] * 4


async def test_without_the_accounting_queue_and_submission_go_on(
    slurm, scheduler, new_job, reaches, alice
):
    await scheduler.config()
    slurm.kill("slurmdbd")
    job = await scheduler.submit(new_job(), user=alice)
    await reaches(job, JobState.RUNNING)
    gone = dataclasses.replace(job, id="999999")
    status = (await scheduler.status([gone, job]))[gone]
    # Nobody can say whether it ended: that is less than absent.
    assert (status.state, status.reason) == (JobState.UNKNOWN, "")


@pytest.mark.root
async def test_a_forgotten_jobs_id_goes_to_bob_whose_job_survives_alices_cancel(
    two_users, scheduler, new_job, reaches
):
    slurm = two_users
    for _ in range(5):
        job = await scheduler.submit(new_job(), user="alice")
        slurm.kill("slurmctld")
        slurm.start("slurmctld")
        slurm.wait_up()
        bobs = await scheduler.submit(new_job(), user="bob")
        if bobs.id == job.id:
            break
    assert bobs.id == job.id, "the controller saved every job in time"
    await reaches(bobs, JobState.RUNNING)
    readings = await scheduler.status([job, bobs])
    assert (readings[job].state, readings[job].reason) == (JobState.UNKNOWN, ABSENT)
    assert readings[bobs].state is JobState.RUNNING
    assert await scheduler.find(job.name, user="alice") == ()

    await scheduler.cancel(job)
    # Also when identity is not known in full, and when asked about in between.
    await scheduler.cancel(dataclasses.replace(job, submitted=None))
    await scheduler.cancel(dataclasses.replace(job, uid=None, submitted=None))
    assert (await scheduler.status([bobs]))[bobs].state is JobState.RUNNING
    await scheduler.cancel(bobs)
    await reaches(bobs, JobState.CANCELLED)


@pytest.mark.root
async def test_bob_cannot_forge_a_line_about_alices_job(
    two_users, scheduler, new_job, reaches
):
    slurm = two_users
    job = await scheduler.submit(new_job(), user="alice")
    await reaches(job, JobState.RUNNING)
    line = f"x\n{job.id}|{job.uid}|1|FAILED|n4|1|1|1|cpu|0|256|NonZeroExitCode|\n"
    slurm.submit("sleep 60", f"--job-name={line}", f"--comment={line}", user="bob")
    # A name of alice's does not make bob's job hers.
    theirs = slurm.submit("sleep 60", f"--job-name={job.name}", user="bob")
    await reaches(job, JobState.RUNNING)
    assert [found.id for found in await scheduler.find(job.name, user="alice")] == [
        job.id
    ]
    claimed = dataclasses.replace(job, id=theirs, uid=None, submitted=None)
    status = (await scheduler.status([claimed]))[claimed]
    assert (status.state, status.reason) == (JobState.UNKNOWN, ABSENT)
    await scheduler.cancel(claimed)
    assert slurm.state(theirs) in ("PENDING", "RUNNING")


class AsBob(SelfRunner):
    """The service's own account is a plain user: bob."""

    def __init__(self, inner):
        self._inner = inner

    async def run(self, argv, *, user, **keywords):
        return await self._inner.run(argv, user=user or "bob", **keywords)


@pytest.mark.root
async def test_where_jobs_are_private_alices_are_read_as_alice(
    two_users, runner, new_job
):
    slurm = two_users
    conf = slurm.path / "slurm.conf"
    before = conf.read_text()
    try:
        conf.write_text(before + "PrivateData=jobs\n")
        slurm.admin("scontrol", "reconfigure")
        scheduler = SlurmScheduler(AsBob(runner))
        job = await scheduler.submit(new_job(), user="alice")
        assert scheduler.hides_jobs
        assert job.submitted is not None

        async def runs():
            reading = (await scheduler.status([job]))[job]
            return reading.state is JobState.RUNNING

        await until(runs)
        assert len(await scheduler.find(job.name, user="alice")) == 1
        await scheduler.cancel(job)

        async def ended():
            return (await scheduler.status([job]))[job].state is JobState.CANCELLED

        await until(ended)
    finally:
        conf.write_text(before)
        slurm.admin("scontrol", "reconfigure")


async def test_a_missing_program_is_no_answer(slurm, new_job, alice):
    nowhere = SelfRunner(RunnerSettings(path=("/nonexistent",)))
    with pytest.raises(SchedulerUnavailable):
        await SlurmScheduler(nowhere).snapshot()


async def test_times_do_not_depend_on_the_zone(slurm, new_job, reaches, alice, runner):
    settings = RunnerSettings(
        environment={**slurm.environment, "TZ": "America/St_Johns"}
    )
    elsewhere = SlurmScheduler(type(runner)(settings))
    job = await elsewhere.submit(new_job(), user=alice)
    assert abs(job.submitted - datetime.now(UTC)) < timedelta(seconds=5)
    await reaches(job, JobState.RUNNING)
