"""A job set on a real Slurm, and the commands that it costs."""

from __future__ import annotations

import asyncio

from rigs.batch.worlds import SlurmWorld
from services.common.background.jobset import Hooks, JobSets, Template
from services.common.background.members import Member
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.jobs.service_client import RemoteSettings
from spawners.batch.models import JobState, Resources

DEADLINE = 240
COUNT = 20
KIND = "server:"
PREFIX = "server:alice/set/"


def is_running(member: Member) -> bool:
    return member.record.status.state is JobState.RUNNING


async def begin(jobs: RemoteJobs, world: SlurmWorld, wanted: int):
    """Return a life of the service that has the set."""
    sets = JobSets(jobs, KIND)
    sets.start()
    template = Template(world.spec(), world.user)
    return sets, sets.put(PREFIX, template, wanted, Hooks(is_ready=is_running))


async def test_twenty_come_survive_their_service_and_go(slurm, counted, service):
    world = SlurmWorld(slurm)
    first = await service.client(settings=RemoteSettings())
    async with asyncio.timeout(DEADLINE):
        # A gateway that works has read the cluster and the user's limits before.
        await first.fresh_snapshot()
        await first.check(Resources(memory=10 * 1024**2), user=world.user)
        counted.commands.clear()
        sets, job_set = await begin(first, world, COUNT)
        while sum(map(is_running, job_set.members)) == 0:
            await asyncio.sleep(0.1)
        assert counted.beside_listings() == ["sbatch", "squeue"]
        names = {member.name for member in job_set.members}
        assert len(names) == COUNT == len(await world.live())
        up = next(filter(is_running, job_set.members))
        assert up.record.status.nodes
        await sets.close()
        await first.close()

        counted.commands.clear()
        second = await service.client(settings=RemoteSettings())
        sets, job_set = await begin(second, world, COUNT)
        await asyncio.sleep(2.5)  # two listings: whatever it would do by itself
        assert {member.name for member in job_set.members} == names
        assert counted.beside_listings() == []

        sets.scale(PREFIX, 0)
        await job_set.gone.wait()
        assert counted.beside_listings() == ["squeue", "scancel"]
        assert await world.live() == []
        await sets.close()
    await world.close()
