"""Jobs on real processes: of this machine, or of a Slurm."""

from __future__ import annotations

import pytest

from rigs.batch.fixtures import deadline, fake, open_jobs, quick, store_url
from rigs.batch.worlds import FakeWorld, LocalWorld, SlurmWorld


@pytest.fixture(
    params=["fake", "local", pytest.param("slurm", marks=pytest.mark.slurm)]
)
async def world(request, tmp_path):
    """Where the jobs of a test run: a fake, this machine, a Slurm."""
    if request.param == "slurm":
        world = SlurmWorld(request.getfixturevalue("slurm"))
    elif request.param == "local":
        world = LocalWorld(tmp_path)
    else:
        world = FakeWorld()
    yield world
    await world.close()
