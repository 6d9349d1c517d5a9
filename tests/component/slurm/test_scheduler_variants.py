"""SlurmScheduler on a Slurm with cgroups, and on machines without accounting."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from spawners.batch.models import JobSpec, JobState, Resources, new_job_name
from spawners.batch.runners.direct import RootRunner, RunnerSettings
from spawners.batch.scheduler import ABSENT
from spawners.batch.slurm.scheduler import SlurmScheduler

pytestmark = [pytest.mark.slurm, pytest.mark.root]

MIB = 1024**2


def on(rig):
    return SlurmScheduler(RootRunner(RunnerSettings(environment=rig.environment)))


def job_of(rig, lines, **asked):
    return JobSpec(
        new_job_name(),
        f"#!/bin/bash\n{lines}\n",
        Resources(**{"memory": 20 * MIB, **asked}),
        f"{rig.path}/job",
    )


async def reaches(scheduler, job, wanted, seconds=40):
    deadline = monotonic() + seconds
    while True:
        status = (await scheduler.status([job]))[job]
        if wanted(status):
            return status
        assert monotonic() < deadline, f"{job.id} is still {status}"
        await asyncio.sleep(0.1)


async def test_the_kernel_kills_a_job_over_its_memory(slurm_cgroups):
    scheduler = on(slurm_cgroups)
    # Only a child is killed, and the script itself ends well.
    hog = "python3 -c 'x = bytearray(300 << 20)' || true"
    spec = job_of(slurm_cgroups, hog)
    job = await scheduler.submit(spec, user="alice")
    status = await reaches(scheduler, job, lambda status: status.state.ended)
    assert (status.state, status.reason) == (JobState.OUT_OF_MEMORY, "OutOfMemory")


async def test_a_lost_node_ends_its_job_and_the_cluster_keeps_no_accounts(machines):
    scheduler = on(machines)
    spec = job_of(machines, "exec sleep 300")
    job = await scheduler.submit(spec, user="alice")
    status = await reaches(scheduler, job, lambda status: status.state.on_nodes)
    (node,) = status.nodes
    snapshot = await scheduler.snapshot()
    assert snapshot.node_addresses[node] == machines.address(node)
    assert (await scheduler.limits("alice")).accounts == {}
    await scheduler.check(spec.resources, user="alice")
    assert not (await scheduler.config()).accounting

    machines.unplug(node)
    status = await reaches(scheduler, job, lambda status: status.state.ended, 90)
    assert (status.state, status.reason) == (JobState.NODE_FAIL, "NodeDown")
    assert (await scheduler.snapshot()).partition("main").nodes == 2
    # MinJobAge is 30 s; nobody remembers the end then, and that is said.
    status = await reaches(
        scheduler, job, lambda status: status.state is JobState.UNKNOWN, 90
    )
    assert status.reason == ABSENT
