"""A hub that starts and stops jobs as fast as it can, until it is killed.

``python -m rigs.batch.victim STORE_URL local DIRECTORY``, or ``... slurm DIRECTORY
SLURM_CONF``, with ``PYTHONPATH`` set; prints a line once it is at work.
"""

import asyncio
import random
import sys
from pathlib import Path

from rigs.batch.worlds import SETTINGS, _Signs, open_local, open_slurm
from spawners.batch.errors import BatchError
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.store import JobStore


async def churn(jobs: Jobs, world: _Signs, owner: str, user: str) -> None:
    while True:
        record = jobs.current(owner)
        try:
            if record is None or not record.live:
                await jobs.submit(world.spec(), user=user, owner=owner)
            elif random.random() < 0.5:
                await jobs.cancel(record.name)
        except BatchError as error:
            print(error, file=sys.stderr)
        await asyncio.sleep(random.random() / 5)


async def main() -> None:
    url, kind, directory, user, *rest = sys.argv[1:]
    if kind == "local":
        scheduler = open_local(Path(directory))
    else:
        scheduler = open_slurm({"SLURM_CONF": rest[0]})
    jobs = Jobs(scheduler, await JobStore.open(url), SETTINGS)
    await jobs.start()
    print("at work", flush=True)
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(churn(jobs, _Signs(Path(directory)), f"x:{number}", user))


asyncio.run(main())
