"""The life of jobs on a real Slurm, through SlurmScheduler."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from spawners.batch.models import BatchJob, JobState

pytestmark = pytest.mark.slurm

ENDS = tuple(state for state in JobState if state.ended)


async def test_a_job_runs_as_its_user_and_ends(
    slurm, scheduler, new_job, reaches, alice
):
    spec = new_job(
        "id -un; echo $GREETING; exit 3",
        environment={"GREETING": "canary-51c"},
        comment="hub alice",
    )
    before = datetime.now(UTC) - timedelta(seconds=2)
    job = await scheduler.submit(spec, user=alice)
    assert job.uid is not None
    assert before <= job.submitted <= datetime.now(UTC) + timedelta(seconds=2)
    status = await reaches(job, *ENDS)
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert status.nodes == ("n4",)
    assert await scheduler.read_output(job, spec.output) == f"{alice}\ncanary-51c\n"


async def test_no_value_of_the_environment_shows_in_the_queue(
    slurm, scheduler, new_job, reaches, alice
):
    job = await scheduler.submit(
        new_job(environment={"TOKEN": "canary-9d2"}), user=alice
    )
    await reaches(job, JobState.RUNNING)
    shown = slurm.admin("scontrol", "show", "job", job.id, "-dd")
    assert "canary-9d2" not in shown
    assert "Requeue=0" in shown


async def test_a_running_job_tells_its_node_and_its_end(
    slurm, scheduler, new_job, reaches, alice
):
    asked = {"partition": "gpu", "gpus": 2, "gpu_model": "a100"}
    spec = new_job(
        "echo $CUDA_VISIBLE_DEVICES; exec sleep 300",
        time_limit=timedelta(minutes=7),
        **asked,
    )
    job = await scheduler.submit(spec, user=alice)
    status = await reaches(job, JobState.RUNNING)
    assert status.nodes[0] in ("n1", "n2")
    left = status.time_left(datetime.now(UTC))
    assert timedelta(minutes=6) < left <= timedelta(minutes=7)
    snapshot = await scheduler.snapshot()
    (a100, _) = snapshot.partition("gpu").gpus
    assert (a100.total, a100.idle, a100.per_node) == (8, 6, 4)
    assert snapshot.node_addresses[status.nodes[0]] == "127.0.0.1"
    output = ""
    while not output:
        output = await scheduler.read_output(job, spec.output)
    assert output == "0,1\n"


async def test_a_cancel_ends_a_job_and_asking_twice_is_no_error(
    slurm, scheduler, new_job, reaches, alice
):
    job = await scheduler.submit(new_job(), user=alice)
    await reaches(job, JobState.RUNNING)
    await scheduler.cancel(job)
    status = await reaches(job, *ENDS)
    assert status.state is JobState.CANCELLED
    await scheduler.cancel(job)


async def test_an_array_is_one_submission_of_many_jobs(
    slurm, scheduler, new_job, reaches, alice
):
    spec = new_job(cpus=20)
    jobs = await scheduler.submit_set(spec, 4, user=alice)
    assert [job.id.partition("_")[2] for job in jobs] == ["0", "1", "2", "3"]
    for job in jobs[:3]:
        await reaches(job, JobState.RUNNING)
    waiting = await reaches(jobs[3], JobState.PENDING, reason="Resources")
    assert waiting.queue_place == 1
    assert {job.id for job in await scheduler.find(spec.name, user=alice)} == {
        job.id for job in jobs
    }
    await scheduler.cancel(jobs[0])
    await reaches(jobs[0], JobState.CANCELLED)
    await reaches(jobs[3], JobState.RUNNING)
    for job in jobs[1:]:
        await scheduler.cancel(job)
    for job in jobs:
        await reaches(job, JobState.CANCELLED)


async def test_cancelled_tasks_that_never_ran_have_ended(
    slurm, scheduler, new_job, reaches, alice
):
    jobs = await scheduler.submit_set(new_job(cpus=60), 3, user=alice)
    await reaches(jobs[0], JobState.RUNNING)
    slurm.run(["scancel", jobs[0].id.partition("_")[0]])
    for job in jobs:
        await reaches(job, JobState.CANCELLED)


async def test_a_requeued_job_is_still_the_same(
    slurm, scheduler, new_job, reaches, alice
):
    job = await scheduler.submit(new_job(requeue=True), user=alice)
    await reaches(job, JobState.RUNNING)
    # A new time of submission is told in seconds.
    while datetime.now(UTC) < job.submitted + timedelta(seconds=1.5):
        await asyncio.sleep(0.1)
    slurm.admin("scontrol", "requeue", job.id)
    status = await reaches(job, JobState.PENDING, reason="BeginTime")
    assert status.restarts == 1
    assert status.queue_place is None
    await scheduler.cancel(job)
    await reaches(job, JobState.CANCELLED)


async def test_a_job_over_its_memory_is_killed(
    slurm, scheduler, new_job, reaches, alice
):
    hog = "python3 -c 'import time; x = bytearray(300 << 20); time.sleep(60)'"
    spec = new_job(f"exec {hog}")
    job = await scheduler.submit(spec, user=alice)
    status = await reaches(job, *ENDS)
    assert (status.state, status.signal) == (JobState.FAILED, 9)
    assert "exceeded memory limit" in await scheduler.read_output(job, spec.output)


async def test_warned_then_ended_by_the_time_limit_and_remembered_by_the_accounting(
    slurm, scheduler, new_job, reaches, alice
):
    short = await scheduler.submit(new_job("exit 0"), user=alice)
    warned = new_job(
        "trap 'echo warned' USR1; while :; do sleep 0.2; done",
        time_limit=timedelta(minutes=1),
        warn_before=timedelta(seconds=40),
    )
    limited = await scheduler.submit(warned, user=alice)
    await reaches(short, JobState.COMPLETED)
    # MinJobAge is 30 s here: the queue forgets the job, the accounting tells its end.
    # Slurm looks at time limits every 30 s.
    status = await reaches(limited, *ENDS, seconds=150)
    assert (status.state, status.reason) == (JobState.TIMEOUT, "TimeLimit")
    assert "warned" in await scheduler.read_output(limited, warned.output)
    assert short.id not in [row[0] for row in slurm.squeue("%A")]
    status = (await scheduler.status([short]))[short]
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    found = await scheduler.find(short.name, user=alice)
    assert [(job.id, job.uid, job.submitted) for job in found] == [
        (short.id, short.uid, short.submitted)
    ]


async def test_a_partial_identity_is_enough_to_read_and_cancel(
    slurm, scheduler, new_job, reaches, alice
):
    job = await scheduler.submit(new_job(), user=alice)
    partial = dataclasses.replace(job, uid=None, submitted=None)
    await reaches(partial, JobState.RUNNING)
    await scheduler.cancel(partial)
    await reaches(job, JobState.CANCELLED)


async def test_an_estimate_is_a_moment_soon(slurm, scheduler, new_job, alice):
    start = await scheduler.estimate(new_job(), user=alice)
    assert abs(start - datetime.now(UTC)) < timedelta(minutes=1)
    impossible = new_job(partition="gpu", gpus=1, gpu_model="h100")
    assert await scheduler.estimate(impossible, user=alice) is None


async def test_a_drained_node_offers_no_gpus(slurm, scheduler):
    slurm.admin("scontrol", "update", "node=n3", "state=drain", "reason=disk")
    try:
        gpus = (await scheduler.snapshot()).partition("gpu").gpus
    finally:
        slurm.admin("scontrol", "update", "node=n3", "state=resume")
    assert [(pool.model, pool.total, pool.idle) for pool in gpus] == [
        ("a100", 8, 8),
        ("l40", 0, 0),
    ]


async def test_an_unknown_job_is_absent(slurm, scheduler, alice):
    job = BatchJob("999999", "lb-nobody", alice, 1, datetime(2026, 1, 1, tzinfo=UTC))
    status = (await scheduler.status([job]))[job]
    assert (status.state, status.reason) == (JobState.UNKNOWN, "absent")
    await scheduler.cancel(job)
