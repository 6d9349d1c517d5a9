"""A job set on a real Slurm, and the commands that it costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rigs.batch.worlds import CountingRunner, SlurmWorld
from rigs.services.jobs import Rig
from services.common.background.jobset import Hooks, JobSets, Template
from services.common.background.members import Member
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.jobs.service_client import RemoteSettings
from spawners.batch.jobs.settings import Policy
from spawners.batch.models import JobState, Resources
from spawners.batch.slurm.scheduler import SlurmScheduler

DEADLINE = 240
COUNT = 20
KIND = "server:"
PREFIX = "server:alice/set/"


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


def is_running(member: Member) -> bool:
    return member.record.status.state is JobState.RUNNING


async def begin(jobs: RemoteJobs, world: SlurmWorld, wanted: int):
    """Return a life of the service that has the set."""
    sets = JobSets(jobs, KIND)
    sets.start()
    template = Template(world.spec(), world.user)
    return sets, sets.put(PREFIX, template, wanted, Hooks(is_ready=is_running))


async def test_twenty_come_survive_their_service_and_go(slurm, runner, rig):
    world = SlurmWorld(slurm)
    first = await rig.client(settings=RemoteSettings())
    async with asyncio.timeout(DEADLINE):
        # A gateway that works has read the cluster and the user's limits before.
        await first.fresh_snapshot()
        await first.check(Resources(memory=10 * 1024**2), user=world.user)
        runner.commands.clear()
        sets, job_set = await begin(first, world, COUNT)
        while sum(map(is_running, job_set.members)) == 0:
            await asyncio.sleep(0.1)
        assert runner.beside_listings() == ["sbatch", "squeue"]
        names = {member.name for member in job_set.members}
        assert len(names) == COUNT == len(await world.live())
        up = next(filter(is_running, job_set.members))
        assert up.record.status.nodes
        await sets.close()
        await first.close()

        runner.commands.clear()
        second = await rig.client(settings=RemoteSettings())
        sets, job_set = await begin(second, world, COUNT)
        await asyncio.sleep(2.5)  # two listings: whatever it would do by itself
        assert {member.name for member in job_set.members} == names
        assert runner.beside_listings() == []

        sets.scale(PREFIX, 0)
        await job_set.gone.wait()
        assert runner.beside_listings() == ["squeue", "scancel"]
        assert await world.live() == []
        await sets.close()
    await world.close()
