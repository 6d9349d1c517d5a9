"""Jobs over the real Slurm while its controller is away, slow or forgetful."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.batch.worlds import SETTINGS, SlurmWorld
from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import Address, Phase
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobState

pytestmark = pytest.mark.slurm

OWNER = "server:alice/"


@pytest.fixture
async def world(slurm):
    world = SlurmWorld(slurm)
    yield world
    await world.close()


@pytest.fixture
async def start_hub(world, tmp_path):
    """Open a hub's jobs on this test's store; again for a restart."""
    opened = []

    async def start(settings=SETTINGS):
        store = await JobStore.open(f"sqlite:///{tmp_path}/jobs.sqlite")
        jobs = Jobs(world.open(), store, settings)
        opened.append((jobs, store))
        await jobs.start()
        return jobs

    yield start
    for jobs, store in opened:
        await jobs.close()
        await store.close()


@pytest.fixture
async def jobs(start_hub):
    return await start_hub()


@pytest.fixture
def submit(world):
    async def do(jobs, owner=OWNER, user=None):
        return await jobs.submit(world.spec(), user=user or world.user, owner=owner)

    return do


def running(record):
    return record.status.state is JobState.RUNNING and record.status_is_current


def ended(record):
    return not record.live


async def names(world, user=None):
    rows = world.rig.squeue("%j|%u|%T")
    return [
        name
        for name, owner, state in rows
        if not JobState(state).ended and user in (None, owner)
    ]


async def test_a_job_taken_after_the_client_gave_up_is_adopted(
    slurm, world, jobs, submit
):
    """F12: the controller stands still, sbatch gives up, and the job comes later."""
    await jobs.limits(world.user)
    await jobs.fresh_snapshot(timedelta(minutes=5))
    slurm.stop("slurmctld")
    task = asyncio.create_task(submit(jobs))
    while not (record := jobs.current(OWNER)) or not [
        event for event in await jobs.events(OWNER) if event.kind == "warning"
    ]:
        assert not task.done(), task
        await asyncio.sleep(0.2)
    assert record.phase is Phase.INTENT
    slurm.cont("slurmctld")
    record = await task
    assert record.phase is Phase.SUBMITTED
    await jobs.wait(record.name, running)
    assert await names(world) == [record.name]


async def test_a_cancel_during_a_lost_submission_leaves_nothing(
    slurm, world, jobs, submit
):
    await jobs.limits(world.user)
    await jobs.fresh_snapshot(timedelta(minutes=5))
    slurm.stop("slurmctld")
    task = asyncio.create_task(submit(jobs))
    while jobs.current(OWNER) is None:
        await asyncio.sleep(0.05)
    name = jobs.current(OWNER).name
    await jobs.cancel(name)
    while not [e for e in await jobs.events(OWNER) if e.kind == "warning"]:
        assert not task.done(), task
        await asyncio.sleep(0.2)
    slurm.cont("slurmctld")
    await asyncio.gather(task, return_exceptions=True)
    await jobs.wait(name, lambda r: not r.live and not r.needs_polling)
    assert await names(world) == []


async def test_running_jobs_outlive_an_outage_and_a_restart_in_it(
    slurm, world, jobs, submit, start_hub
):
    """F09: the controller is away for a while; the hub is restarted meanwhile."""
    record = await submit(jobs)
    record = await jobs.wait(record.name, running)
    node = record.status.nodes[0]
    await jobs.report_ready(record.name, Address(node, "127.0.0.1", 4000))
    with slurm.stopped("slurmctld"):
        jobs.heard_of(record.name)
        seen = await jobs.wait(record.name, lambda r: not r.status_is_current)
        assert seen.live
        assert seen.status.state is JobState.RUNNING
        await jobs.close()
        jobs = await start_hub()
        seen = jobs.get(record.name)
        assert seen.live
        assert not seen.status_is_current
        assert seen.address is not None
        with pytest.raises(SchedulerUnavailable):
            await submit(jobs, owner="server:other/")
    await jobs.wait(record.name, running)
    assert await names(world) == [record.name]


async def test_a_wish_of_an_outage_is_carried_out_after_it(
    slurm, world, jobs, submit, start_hub
):
    record = await submit(jobs)
    await jobs.wait(record.name, running)
    with slurm.stopped("slurmctld"):
        wish = asyncio.create_task(jobs.cancel(record.name))
        await jobs.wait(record.name, lambda r: r.cancel_wanted)
        await jobs.close()
        await asyncio.gather(wish, return_exceptions=True)
        jobs = await start_hub()
    record = await jobs.wait(record.name, ended)
    assert record.failure is None
    assert await names(world) == []


async def test_a_forgotten_job_is_lost_and_its_ids_next_job_is_left_alone(
    slurm, world, jobs, submit
):
    """The controller dies right after its answer; bob's next job gets the id."""
    if not slurm.root:
        pytest.skip("needs root, for jobs of two users")
    own = set()
    for attempt in range(8):
        record = await submit(jobs, owner=f"server:alice/{attempt}")
        slurm.kill("slurmctld")
        slurm.start("slurmctld")
        slurm.wait_up()
        other = await submit(jobs, owner=f"server:bob/{attempt}", user="bob")
        own |= {record.name, other.name}
        if other.job.id == record.job.id:
            break
        for saved in (record, other):
            await jobs.cancel(saved.name)
            await jobs.wait(saved.name, ended)
    assert other.job.id == record.job.id, "the controller saved every job in time"
    await jobs.cancel(record.name)
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.LOST
    await jobs.wait(other.name, running)
    # What was cancelled just before a crash runs again, and is ended again. So does a
    # job of the test before, which has no hub any more.
    while own & set(await names(world)) != {other.name}:
        await asyncio.sleep(0.2)


async def test_a_steady_state_asks_at_most_six_times_a_minute(
    slurm, world, submit, start_hub
):
    """Twenty servers, measured over the settings' own periods, a tenth as long."""
    tenth = replace(
        SETTINGS,
        fast=timedelta(seconds=0.1),
        slow=timedelta(seconds=2),
        snapshot_age=timedelta(seconds=6),
    )
    jobs = await start_hub(tenth)
    records = await asyncio.gather(
        *(submit(jobs, owner=f"server:{n}/") for n in range(20))
    )
    for record in records:
        record = await jobs.wait(record.name, running)
        node = record.status.nodes[0]
        await jobs.report_ready(record.name, Address(node, "127.0.0.1", 4000))
    await asyncio.sleep(21)  # a tenth of how long it takes to come to rest
    before = sum(jobs.counters.calls.values())
    for _ in range(12):
        _ = jobs.snapshot
        await asyncio.sleep(1)
    asked = sum(jobs.counters.calls.values()) - before
    snapshots = 2  # each is two commands
    assert asked + snapshots <= 12
