"""A set of jobs over the jobs service's socket, on a real Slurm: commands counted."""

import asyncio

from rigs.batch.worlds import SlurmWorld
from spawners.batch.jobs.service_client import RemoteSettings
from spawners.batch.models import JobState, Resources

DEADLINE = 240
COUNT = 200
PREFIX = "server:alice/set/"
OWNERS = [f"{PREFIX}{n}" for n in range(COUNT)]


async def test_two_hundred_come_by_three_commands_and_go_by_two(
    slurm, counted, service
):
    world = SlurmWorld(slurm)
    hub = await service.client(settings=RemoteSettings())
    async with asyncio.timeout(DEADLINE):
        # A gateway that works has read the cluster and the user's limits before.
        await hub.fresh_snapshot()
        await hub.check(Resources(memory=10 * 1024**2), user=world.user)
        counted.commands.clear()
        records = await hub.submit_set(world.spec(), user=world.user, owners=OWNERS)
        assert counted.beside_listings() == ["sbatch", "squeue"]
        assert [record.owner for record in records] == OWNERS
        assert all(record.job.submitted and record.job.uid for record in records)
        assert len(await world.live()) == COUNT
        await hub.wait(
            records[0].name, lambda record: record.status.state is JobState.RUNNING
        )

        counted.commands.clear()
        assert await hub.cancel_many([r.name for r in records[:50]]) == 50
        assert counted.beside_listings() == ["squeue", "scancel"]
        counted.commands.clear()
        assert await hub.cancel_owned(PREFIX) == COUNT - 50
        assert counted.beside_listings() == ["squeue", "scancel"]
        for record in records:
            record = await hub.wait(record.name, lambda record: not record.live)
            assert record.status.state is JobState.CANCELLED
        assert await world.live() == []
    await world.close()
