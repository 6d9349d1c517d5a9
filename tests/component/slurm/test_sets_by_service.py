"""A set of jobs over the jobs service's socket, on a real Slurm: commands counted."""

import asyncio
from datetime import timedelta

import pytest

from rigs.batch.worlds import CountingRunner, SlurmWorld
from rigs.services.jobs import Rig
from spawners.batch.jobs.service_client import RemoteSettings
from spawners.batch.jobs.settings import Policy
from spawners.batch.models import JobState, Resources
from spawners.batch.slurm.scheduler import SlurmScheduler

DEADLINE = 240
COUNT = 200
PREFIX = "server:alice/set/"
OWNERS = [f"{PREFIX}{n}" for n in range(COUNT)]


@pytest.fixture
async def runner(slurm):
    runner = CountingRunner(slurm.environment)
    yield runner
    await runner.close()


@pytest.fixture
async def rig(runner):
    # Nothing but what is asked for, and one listing a second beside it.
    watch = Policy(fast=timedelta(seconds=1), rest=timedelta(seconds=1))
    rig = Rig(watch, SlurmScheduler(runner))
    await rig.start()
    yield rig
    await rig.close()


async def test_two_hundred_come_by_three_commands_and_go_by_two(slurm, runner, rig):
    world = SlurmWorld(slurm)
    hub = await rig.client(settings=RemoteSettings())
    async with asyncio.timeout(DEADLINE):
        # A gateway that works has read the cluster and the user's limits before.
        await hub.fresh_snapshot()
        await hub.check(Resources(memory=10 * 1024**2), user=world.user)
        runner.commands.clear()
        records = await hub.submit_set(world.spec(), user=world.user, owners=OWNERS)
        assert runner.beside_listings() == ["sbatch", "squeue"]
        assert [record.owner for record in records] == OWNERS
        assert all(record.job.submitted and record.job.uid for record in records)
        assert len(await world.live()) == COUNT
        await hub.wait(
            records[0].name, lambda record: record.status.state is JobState.RUNNING
        )

        runner.commands.clear()
        assert await hub.cancel_many([r.name for r in records[:50]]) == 50
        assert runner.beside_listings() == ["squeue", "scancel"]
        runner.commands.clear()
        assert await hub.cancel_owned(PREFIX) == COUNT - 50
        assert runner.beside_listings() == ["squeue", "scancel"]
        for record in records:
            record = await hub.wait(record.name, lambda record: not record.live)
            assert record.status.state is JobState.CANCELLED
        assert await world.live() == []
    await world.close()
