"""The write-ahead core over the local scheduler, with a restart in the middle."""

import asyncio

import pytest

from rigs.batch.local import PATIENCE, SLEEP, Rig
from spawners.batch.jobs.record import Phase
from spawners.batch.models import JobState


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.close()


async def wait(jobs, name: str, until):
    return await asyncio.wait_for(jobs.wait(name, until), PATIENCE)


async def test_a_failed_job_is_told_with_its_last_words(rig, open_jobs):
    jobs = await open_jobs(rig.open())
    spec = rig.spec("echo 'run: line 2: jupyter-lab: command not found'; exit 127")
    record = await jobs.submit(
        spec, user="alice", owner="server:alice/", facts={"output": spec.output}
    )
    record = await wait(jobs, record.name, lambda r: r.phase is Phase.ENDED)
    assert record.status.state is JobState.FAILED
    assert record.failure.title == "Command not found"
    events = await jobs.events("server:alice/")
    assert events[-1].kind == "failed"


async def test_a_running_job_is_adopted_and_then_stopped(rig, open_jobs):
    first = rig.open()
    jobs = await open_jobs(first)
    record = await jobs.submit(rig.spec(SLEEP), user="alice", owner="server:alice/")
    await wait(jobs, record.name, lambda r: r.status.state is JobState.RUNNING)
    await jobs.close()
    await first.close()
    jobs = await open_jobs(rig.open())
    adopted = await wait(jobs, record.name, lambda r: r.status_is_current)
    assert adopted.status.state is JobState.RUNNING
    await jobs.cancel(record.name)
    ended = await wait(jobs, record.name, lambda r: r.phase is Phase.ENDED)
    assert ended.status.state is JobState.CANCELLED
    assert ended.failure is None
