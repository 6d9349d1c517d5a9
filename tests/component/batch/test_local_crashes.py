import asyncio
import errno
import json
import os
import signal
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from rigs.batch.local import SLEEP, Rig, readable, submit, until, until_true
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.local import queue as local_queue
from spawners.batch.local.gpus import gpu_model_name
from spawners.batch.models import BatchJob, JobState, Resources
from spawners.common.processes import ProcessId, process


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
def scheduler(rig):
    return rig.open()


# Restarts and crashes


@asynccontextmanager
async def reopened(rig, scheduler):
    """Another scheduler on the same directory, as after a restart of the hub."""
    await scheduler.close()
    again = rig.open()
    yield again


async def test_a_new_scheduler_adopts_what_runs_and_what_waits(rig, scheduler):
    running = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("true"))
    before = rig.run(running)
    async with reopened(rig, scheduler) as again:
        assert ProcessId(before.leader, before.leader_start).alive
        status = await again.status([running, waiting])
        assert status[running].state is JobState.RUNNING
        assert status[waiting].state is JobState.PENDING
        assert await again.find(waiting.name, user="alice") == (waiting,)
        await again.cancel(running)
        await until(again, running, JobState.CANCELLED)
        await until(again, waiting, JobState.COMPLETED)


async def test_a_job_that_ended_between_two_schedulers_is_told(rig, scheduler):
    job = await submit(scheduler, rig.spec("while [ ! -e go ]; do sleep 0.1; done"))
    await until(scheduler, job, JobState.RUNNING)
    await scheduler.close()
    (rig.root / "go").touch()
    await until_true((rig.directory(job) / "end.json").exists)
    again = rig.open()
    assert (await again.status([job]))[job].state is JobState.COMPLETED


async def test_two_schedulers_at_once_start_each_job_once(rig):
    one, two = rig.open(), rig.open()
    log = rig.root / "log"
    jobs = [
        await submit(scheduler, rig.spec(f"echo $LANDBRIDGE_JOB_ID >> {log}"))
        for _ in range(6)
        for scheduler in (one, two)
    ]
    await asyncio.gather(*(until(one, job, JobState.COMPLETED) for job in jobs))
    assert sorted(log.read_text().split()) == sorted(job.id for job in jobs)


async def test_a_killed_supervisor_ends_its_job_as_failed(rig, scheduler):
    body = "setsid sleep 300 & echo $! > pid; sleep 300"
    job = await submit(scheduler, rig.spec(body))
    await until_true(lambda: readable(rig.root / "pid").strip())
    run, kernel = rig.run(job), int((rig.root / "pid").read_text())
    os.kill(run.supervisor, signal.SIGKILL)
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.FAILED
    assert status.reason == "SupervisorLost"
    await until_true(lambda: process(run.leader) is None)
    await until_true(lambda: process(kernel) is None)


async def test_killing_everything_at_once_is_told(rig, scheduler):
    job = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, job, JobState.RUNNING)
    run = rig.run(job)
    await scheduler.close()
    for pid in (run.supervisor, run.leader):
        os.kill(pid, signal.SIGKILL)
    again = rig.open()
    status = await until(again, job, "ended")
    assert status.state is JobState.FAILED
    (partition,) = (await again.snapshot()).partitions
    assert partition.idle_cpus == 4


async def change_run(rig, job: BatchJob, **fields: object) -> None:
    path = rig.directory(job) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


async def test_a_process_that_got_the_number_of_a_supervisor_is_left_alone(
    rig, scheduler
):
    bystander = await asyncio.create_subprocess_exec("sleep", "300")
    try:
        job = await submit(scheduler, rig.spec(SLEEP))
        await until(scheduler, job, JobState.RUNNING)
        real = rig.run(job)
        # As after a crash: the recorded numbers are somebody else's now.
        await change_run(rig, job, supervisor=bystander.pid, leader=bystander.pid)
        status = await until(scheduler, job, "ended")
        assert status.state is JobState.FAILED
        await scheduler.cancel(job)
        assert bystander.returncode is None
        assert process(bystander.pid) is not None
        await until_true(lambda: not ProcessId(real.leader, real.leader_start).alive)
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_reboot_ends_what_ran_and_keeps_what_waits(rig, scheduler):
    job = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, job, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("true"))
    run = rig.run(job)
    await scheduler.close()
    await change_run(rig, job, boot="00000000-0000-0000-0000-000000000000")
    again = rig.open()
    status = await until(again, job, "ended")
    assert status.state is JobState.NODE_FAIL
    assert status.reason == "Reboot"
    await until(again, waiting, JobState.COMPLETED)
    os.kill(run.supervisor, signal.SIGTERM)  # there was no reboot
    await until_true(lambda: process(run.leader) is None)


async def test_a_supervisor_that_cannot_start_is_told(rig, scheduler, monkeypatch):
    monkeypatch.setattr("spawners.batch.local.queue.sys.executable", "/bin/false")
    job = await submit(scheduler, rig.spec("true"))
    status = await until(scheduler, job, "ended")
    assert status.state is JobState.LAUNCH_FAILED


async def test_ended_jobs_are_forgotten_after_a_while(rig):
    first = rig.open(keep=timedelta(0))
    job = await submit(first, rig.spec("true"))
    await until(first, job, JobState.COMPLETED)
    await first.close()
    again = rig.open(keep=timedelta(0))
    other = await submit(again, rig.spec("true"))
    assert not rig.directory(job).exists()
    assert (await again.status([job]))[job].state is JobState.UNKNOWN
    await until(again, other, JobState.COMPLETED)


async def test_of_many_ended_jobs_the_newest_are_remembered(rig, monkeypatch):
    """So that a look, and a process that begins, costs no more with each job."""
    monkeypatch.setattr(local_queue, "_SLACK", 0)
    monkeypatch.setattr(local_queue, "_UNREAD_SECONDS", 0)
    scheduler = rig.open(keep_jobs=2)
    ended = []
    for _ in range(4):
        ended.append(await submit(scheduler, rig.spec("true")))
        await until(scheduler, ended[-1], JobState.COMPLETED)
    running = await submit(scheduler, rig.spec(SLEEP))
    kept = [job for job in ended if rig.directory(job).exists()]
    assert kept == ended[2:]
    status = await rig.open().status([*ended, running])
    assert [status[job].state for job in ended[1:]] == [
        JobState.UNKNOWN,
        JobState.COMPLETED,
        JobState.COMPLETED,
    ]
    assert not status[running].state.ended


async def test_an_end_that_may_be_unread_is_remembered_among_many(rig, monkeypatch):
    monkeypatch.setattr(local_queue, "_SLACK", 0)
    scheduler = rig.open(keep_jobs=1)
    jobs = [await submit(scheduler, rig.spec("true")) for _ in range(3)]
    for job in jobs:
        await until(scheduler, job, JobState.COMPLETED)
    await submit(scheduler, rig.spec("true"))
    status = await scheduler.status(jobs)
    assert {reading.state for reading in status.values()} == {JobState.COMPLETED}


async def test_shutdown_ends_all_jobs(rig, scheduler):
    running = await submit(scheduler, rig.spec(SLEEP, resources=Resources(cpus=4)))
    await until(scheduler, running, JobState.RUNNING)
    waiting = await submit(scheduler, rig.spec("touch ran"))
    run = rig.run(running)
    await scheduler.shutdown()
    assert process(run.leader) is None
    status = await rig.open().status([running, waiting])
    assert {reading.state for reading in status.values()} == {JobState.CANCELLED}
    assert not (rig.root / "ran").exists()


async def test_a_pipe_in_place_of_the_output_blocks_nobody(rig, scheduler):
    job = await submit(scheduler, rig.spec("true"))
    os.mkfifo(rig.root / "pipe")
    assert await scheduler.read_output(job, str(rig.root / "pipe")) == ""
    assert await scheduler.read_output(job, "/no/such/file") == ""


def test_a_gpus_product_becomes_a_plain_name():
    assert gpu_model_name("NVIDIA A100-SXM4-80GB") == "a100-sxm4-80gb"
    assert gpu_model_name("Tesla T4") == "tesla-t4"
    assert gpu_model_name("??") == "gpu"


async def test_damaged_files_of_one_job_hide_no_other(rig, scheduler):
    good = await submit(scheduler, rig.spec(SLEEP))
    bad = await submit(scheduler, rig.spec(SLEEP))
    await until(scheduler, good, JobState.RUNNING)
    await until(scheduler, bad, JobState.RUNNING)
    text = (rig.directory(bad) / "run.json").read_text()
    (rig.directory(bad) / "run.json").write_text(text[:20])
    status = await scheduler.status([good, bad])
    assert status[good].state is JobState.RUNNING
    assert status[bad].state is JobState.UNKNOWN
    (rig.directory(bad) / "run.json").write_text(text)
    assert (await scheduler.status([bad]))[bad].state is JobState.RUNNING


async def test_a_full_disk_leaves_no_part_of_a_set(rig, scheduler, monkeypatch):
    write, calls = local_queue.write_record, []

    def fill_up(path, record):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, record)

    monkeypatch.setattr(local_queue, "write_record", fill_up)
    spec = rig.spec(SLEEP)
    with pytest.raises(SchedulerUnavailable, match="No space left"):
        await scheduler.submit_set(spec, 4, user="alice")
    assert await scheduler.find(spec.name, user="alice") == ()
    assert list(rig.settings.directory.glob(".new-*")) == []
