import asyncio
import os
import sys
from datetime import timedelta

import pytest

from rigs.batch.local import PATIENCE, SLEEP, Rig, submit, until, until_true
from spawners.batch.errors import SubmitRejected
from spawners.batch.models import BatchJob, JobState, Resources


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
def scheduler(rig):
    return rig.open()


# The queue


async def test_gpus_are_given_to_one_job_at_a_time(rig, scheduler):
    one, two = Resources(gpus=1), Resources(gpus=2)
    body = "echo $CUDA_VISIBLE_DEVICES; sleep 300"
    first = await submit(scheduler, rig.spec(body, resources=one))
    second = await submit(scheduler, rig.spec(body, resources=one))
    third = await submit(scheduler, rig.spec(body, resources=two))
    fourth = await submit(scheduler, rig.spec(body, resources=one))
    await until(scheduler, first, JobState.RUNNING)
    await until(scheduler, second, JobState.RUNNING)
    await until_true(lambda: rig.output(first) and rig.output(second))
    assert {rig.output(first), rig.output(second)} == {"0\n", "1\n"}
    status = await scheduler.status([third, fourth])
    assert [status[job].queue_place for job in (third, fourth)] == [1, 2]
    assert [status[job].reason for job in (third, fourth)] == ["Resources", "Priority"]
    (partition,) = (await scheduler.snapshot()).partitions
    assert (partition.gpus[0].total, partition.gpus[0].idle) == (2, 0)
    await scheduler.cancel(first)
    await until(scheduler, first, JobState.CANCELLED)
    # One is free now, and the fourth must not overtake the third.
    assert (await scheduler.status([fourth]))[fourth].state is JobState.PENDING
    await scheduler.cancel(second)
    await until(scheduler, third, JobState.RUNNING)
    await until_true(lambda: rig.output(third))
    assert rig.output(third) == "0,1\n"
    assert (await scheduler.status([fourth]))[fourth].state is JobState.PENDING


async def test_a_job_without_gpus_does_not_wait_for_those_that_want_some(
    rig, scheduler
):
    gpus = Resources(gpus=2)
    running = await submit(scheduler, rig.spec(SLEEP, resources=gpus))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec(SLEEP, resources=gpus))
    plain = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, plain, JobState.RUNNING)
    assert (await scheduler.status([waiting]))[waiting].state is JobState.PENDING


async def test_a_start_is_estimated_from_the_time_limits(rig, scheduler):
    resources = Resources(cpus=4, time_limit=timedelta(hours=1))
    running = await submit(scheduler, rig.spec(SLEEP, resources=resources))
    ends = (await until(scheduler, running, JobState.RUNNING)).ends
    waiting = await submit(scheduler, rig.spec(SLEEP, resources=resources))
    status = (await scheduler.status([waiting]))[waiting]
    assert status.estimated_start == ends
    estimate = await scheduler.estimate(rig.spec(SLEEP), user="alice")
    assert estimate - ends == timedelta(hours=1)


async def test_no_start_is_promised_behind_a_job_without_a_limit(rig, scheduler):
    everything = Resources(cpus=4)
    job = await submit(scheduler, rig.spec(SLEEP, resources=everything))
    await until(scheduler, job, JobState.RUNNING)
    assert await scheduler.estimate(rig.spec(SLEEP), user="alice") is None


@pytest.mark.parametrize(
    ("resources", "field", "said"),
    [
        (Resources(cpus=5), "cpus", "at most 4 CPUs"),
        (Resources(memory=3 * 1024**3), "memory", "at most 2.1 GB"),
        (Resources(gpus=3), "gpus", "at most 2 GPUs"),
        (Resources(gpus=1, gpu_model="h100"), "gpu_model", "a100"),
        (Resources(nodes=2), "nodes", "at most 1 node"),
        (Resources(partition="gpu"), "partition", "local"),
        (Resources(account="proj"), "account", "account"),
        (Resources(reservation="r"), "reservation", "reservation"),
    ],
)
async def test_what_can_never_run_is_refused(rig, scheduler, resources, field, said):
    with pytest.raises(SubmitRejected) as caught:
        await submit(scheduler, rig.spec(SLEEP, resources=resources))
    assert caught.value.field == field
    assert said in str(caught.value)


async def test_what_the_machine_has_passes_the_check(scheduler):
    asked = Resources(cpus=4, gpus=2, gpu_model="a100", partition="local")
    await scheduler.check(asked, user="alice")


FROM_WITHIN = """
import asyncio, sys
from pathlib import Path
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.models import JobSpec, Resources

async def main():
    settings = LocalSettings(Path({directory!r}), cpus=4, gpus=2, gpu_model="a100")
    spec = JobSpec(
        name="lb-inner",
        script="#!/bin/bash\\nexec {python} -c "
        "'x = b\\"x\\" * 300_000_000; print(1, flush=True); input()' < <(sleep 300)\\n",
        resources=Resources(gpus=1),
        workdir="/",
        output={output!r},
    )
    job = await LocalScheduler(settings).submit(spec, user="alice")
    print(job.id, flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


async def test_a_job_from_within_a_job_shares_the_machine_and_outlives_it(
    rig, scheduler
):
    """As a kernel does that its notebook server submitted."""
    output = rig.root / "inner"
    program = rig.root / "program.py"
    program.write_text(
        FROM_WITHIN.format(
            directory=str(rig.settings.directory),
            python=sys.executable,
            output=str(output),
        )
    )
    asked = Resources(memory=200 * 1024**2, gpus=1)
    spec = rig.spec(f"exec {sys.executable} {program}", resources=asked)
    outer = await submit(scheduler, spec)
    async with asyncio.timeout(PATIENCE):
        while not (output.exists() and output.read_text()):
            await asyncio.sleep(0.05)
    inner = BatchJob(rig.output(outer).strip(), "lb-inner", "alice")
    assert rig.run(outer).gpus == (0,)
    assert rig.run(inner).gpus == (1,)
    waiting = await submit(scheduler, rig.spec(SLEEP, resources=Resources(gpus=1)))
    await asyncio.sleep(1.5)  # two looks at the memory of the outer one
    states = await scheduler.status([outer, inner, waiting])
    assert states[outer].state is JobState.RUNNING
    assert states[waiting].state is JobState.PENDING
    await scheduler.cancel(outer)
    await until(scheduler, outer, JobState.CANCELLED)
    await until(scheduler, waiting, JobState.RUNNING)
    assert (await scheduler.status([inner]))[inner].state is JobState.RUNNING
    await scheduler.cancel(inner)
    await until(scheduler, inner, JobState.CANCELLED)


# What a job's processes say of themselves


async def test_a_process_that_poses_as_a_supervisor_keeps_no_job_alive(
    rig, scheduler, tmp_path
):
    """Its words named a pipe, at which the true supervisor waited for ever."""
    evil = tmp_path / "evil"
    evil.mkdir()
    os.mkfifo(evil / "run.json")
    posing = f"bash -c 'sleep 300; true' spawners.batch.local.supervisor {evil}"
    job = await submit(scheduler, rig.spec(f"{posing} & echo up; wait"))
    await until(scheduler, job, JobState.RUNNING)
    # It runs a moment before its first process has opened its output.
    log = rig.root / f"out-{job.id}"
    await until_true(lambda: log.exists() and rig.output(job) == "up\n")
    await scheduler.cancel(job)
    await until(scheduler, job, JobState.CANCELLED)
