"""The Slurm scheduler, joined to the private Slurm."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from time import monotonic

import pytest

from rigs.batch.worlds import CountingRunner
from rigs.services.jobs import Rig
from rigs.slurm.cluster import Cluster
from spawners.batch.jobs.settings import Policy
from spawners.batch.models import BatchJob, JobSpec, JobState, JobStatus, Resources
from spawners.batch.models import new_job_name as fresh_name
from spawners.batch.runners.direct import RootRunner, RunnerSettings, SelfRunner
from spawners.batch.slurm.scheduler import SlurmScheduler

MIB = 1024**2

NewJob = Callable[..., JobSpec]
Reaches = Callable[..., Awaitable[JobStatus]]


@pytest.fixture
def two_users(slurm: Cluster) -> Cluster:
    """The private Slurm, where jobs of alice and of bob can run."""
    if not slurm.root:
        pytest.skip("needs root, for jobs of two users")
    return slurm


@pytest.fixture
def alice(slurm: Cluster) -> str:
    """Return the plain user: alice, or without root oneself."""
    return slurm.users[0]


@pytest.fixture
async def runner(slurm: Cluster) -> AsyncIterator[SelfRunner]:
    """Become any user as root, else nobody but oneself."""
    settings = RunnerSettings(environment=slurm.environment)
    kind = RootRunner if os.geteuid() == 0 else SelfRunner
    become = kind(settings)
    yield become
    await become.close()


@pytest.fixture
async def counted(slurm: Cluster) -> AsyncIterator[CountingRunner]:
    """As :func:`runner`, and it tells which commands were run."""
    counting = CountingRunner(slurm.environment)
    yield counting
    await counting.close()


@pytest.fixture
async def service(counted: CountingRunner) -> AsyncIterator[Rig]:
    """A jobs service whose commands are counted.

    It runs nothing but what is asked for, and one listing a second beside it.
    """
    watch = Policy(fast=timedelta(seconds=1), rest=timedelta(seconds=1))
    rig = Rig(watch, SlurmScheduler(counted))
    await rig.start()
    yield rig
    await rig.close()


@pytest.fixture
async def scheduler(runner: SelfRunner) -> AsyncIterator[SlurmScheduler]:
    """Return the scheduler under test."""
    slurm_scheduler = SlurmScheduler(runner)
    yield slurm_scheduler
    await slurm_scheduler.close()


@pytest.fixture
def new_job(slurm: Cluster) -> NewJob:
    """Make a small job from the lines of its script and its resources."""

    def make(lines: str = "exec sleep 300", **asked: object) -> JobSpec:
        known = set(JobSpec.__dataclass_fields__) - {"resources"}
        fields = {name: asked.pop(name) for name in known & set(asked)}
        return JobSpec(
            **{
                "name": fresh_name(),
                "script": f"#!/bin/bash\n{lines}\n",
                "workdir": f"{slurm.path}/job",
                "output": f"{slurm.path}/job/%j.out",
                **fields,
            },
            resources=Resources(**{"memory": 10 * MIB, **asked}),
        )

    return make


@pytest.fixture
def reaches(scheduler: SlurmScheduler) -> Reaches:
    """Wait until a job is in one of some states; the reading that told so."""

    async def wait(
        job: BatchJob, *states: JobState, seconds: float = 30, reason: str | None = None
    ) -> JobStatus:
        deadline = monotonic() + seconds
        while True:
            status = (await scheduler.status([job]))[job]
            if status.state in states and reason in (None, status.reason):
                return status
            assert monotonic() < deadline, f"{job.id} is still {status}"
            await asyncio.sleep(0.1)

    return wait
