"""Sets of equal jobs, over every scheduler: one submission, one end, N jobs between."""

import asyncio
import dataclasses
import time

import pytest

from rigs.batch.worlds import CountingRunner, FakeWorld, SlurmWorld
from spawners.batch.errors import InvalidSpec
from spawners.batch.models import MOST_TASKS, BatchJob, JobState, new_job_name
from spawners.batch.scheduler import ABSENT
from spawners.batch.slurm.scheduler import SlurmScheduler

pytestmark = pytest.mark.usefixtures("deadline")
DEADLINE = 120

_SAYS_ITS_INDEX = """\
#!/bin/bash
echo "index ${SLURM_ARRAY_TASK_ID:-$LANDBRIDGE_TASK}"
exec sleep 300
"""


@pytest.fixture
def scheduler(world):
    return world.open()


async def reach(scheduler, jobs, done, seconds=60.0):
    """Return the first readings that are ``done``, all of them."""
    deadline = time.monotonic() + seconds
    while True:
        readings = await scheduler.status(jobs)
        if all(map(done, readings.values())):
            return readings
        assert time.monotonic() < deadline, readings
        await asyncio.sleep(0.1)


def runs(status):
    return status.state is JobState.RUNNING


def cancelled(status):
    return status.state is JobState.CANCELLED


async def start(world, jobs):
    if isinstance(world, FakeWorld):
        for job in jobs:
            world.scheduler.move(job, JobState.RUNNING, node="n01")


class TestSets:
    async def test_each_task_is_a_job_that_knows_its_name(self, world, scheduler):
        spec = dataclasses.replace(world.spec(), script=_SAYS_ITS_INDEX)
        jobs = await scheduler.submit_set(spec, 4, user=world.user)
        assert [job.name for job in jobs] == [f"{spec.name}-{n}" for n in range(4)]
        assert len({job.id for job in jobs}) == 4
        assert all(job.submitted for job in jobs)
        await start(world, jobs)
        await reach(scheduler, jobs, runs)
        for number, job in enumerate(jobs):
            if isinstance(world, FakeWorld):
                assert scheduler.spec(job) == spec
                continue
            async with asyncio.timeout(30):
                while not (said := await scheduler.read_output(job, spec.output)):
                    await asyncio.sleep(0.1)
            assert said == f"index {number}\n"

    async def test_a_set_is_found_whole_and_task_by_task(self, world, scheduler):
        spec = world.spec()
        jobs = await scheduler.submit_set(spec, 3, user=world.user)
        other = await scheduler.submit(world.spec(), user=world.user)
        found = await scheduler.find(spec.name, user=world.user)
        assert sorted(found, key=lambda job: job.name) == list(jobs)
        for job in jobs:
            assert await scheduler.find(job.name, user=world.user) == (job,)
        assert await scheduler.find(f"{spec.name}-3", user=world.user) == ()
        assert await scheduler.find(f"{other.name}-0", user=world.user) == ()
        assert await scheduler.find(other.name, user=world.user) == (other,)

    async def test_some_of_them_end_and_the_others_go_on(self, world, scheduler):
        jobs = await scheduler.submit_set(world.spec(), 5, user=world.user)
        await start(world, jobs)
        await reach(scheduler, jobs, runs)
        ended, kept = [jobs[n] for n in (0, 2, 3)], [jobs[n] for n in (1, 4)]
        answers = await scheduler.cancel_many(ended)
        assert answers == dict.fromkeys(ended)
        await reach(scheduler, ended, cancelled)
        assert all(map(runs, (await scheduler.status(kept)).values()))
        assert await scheduler.cancel_many(ended) == dict.fromkeys(ended)
        await scheduler.cancel(kept[0])
        await reach(scheduler, kept[:1], cancelled)
        assert await world.live() == [kept[1].name]

    async def test_sets_and_single_jobs_end_together(self, world, scheduler):
        first = await scheduler.submit_set(world.spec(), 3, user=world.user)
        second = await scheduler.submit_set(world.spec(), 2, user=world.user)
        alone = await scheduler.submit(world.spec(), user=world.user)
        jobs = [*first, *second, alone]
        # Some may run and some may wait: it is the same.
        assert await scheduler.cancel_many(jobs) == dict.fromkeys(jobs)
        await reach(scheduler, jobs, cancelled)
        assert await world.live() == []

    async def test_what_is_nobodys_is_left_alone_beside_ours(self, world, scheduler):
        jobs = await scheduler.submit_set(world.spec(), 2, user=world.user)
        alone = await scheduler.submit(world.spec(), user=world.user)
        # Ids come back: what stands under these is not what is asked for.
        name = f"{new_job_name()}-0"
        if isinstance(world, SlurmWorld):
            stale = dataclasses.replace(jobs[0], name=name, submitted=None)
        else:
            stale = dataclasses.replace(jobs[0], name=name)
        gone = BatchJob("99999999_7", f"{new_job_name()}-7", world.user, jobs[0].uid)
        asked = [stale, gone, alone]
        assert await scheduler.cancel_many(asked) == dict.fromkeys(asked)
        await reach(scheduler, [alone], cancelled)
        assert await world.live() == sorted(job.name for job in jobs)
        readings = await scheduler.status([stale, gone, *jobs])
        assert not readings[stale].state.ended
        assert not readings[gone].state.ended

    async def test_a_set_has_its_bounds(self, world, scheduler):
        for count in (0, -1, MOST_TASKS + 1, True):
            with pytest.raises(InvalidSpec, match="count"):
                await scheduler.submit_set(world.spec(), count, user=world.user)
        long = dataclasses.replace(world.spec(), name="x" * 60)
        with pytest.raises(InvalidSpec, match="name"):
            await scheduler.submit_set(long, 2, user=world.user)
        with pytest.raises(InvalidSpec, match="name"):
            dataclasses.replace(world.spec(), name="lb-x-7")
        for option in ("--array=0-3", "--arr=1", "-a0-3", "-a"):
            with pytest.raises(InvalidSpec, match="options"):
                dataclasses.replace(world.spec(), options=("--hold", option))
        assert await scheduler.cancel_many([]) == {}
        assert await world.live() == []


@pytest.mark.slurm
class TestOnSlurm:
    async def test_two_hundred_are_submitted_and_ended_by_two_commands_each(
        self, world
    ):
        runner = CountingRunner(world.rig.environment)
        scheduler = SlurmScheduler(runner)
        await scheduler.config()
        runner.commands.clear()
        jobs = await scheduler.submit_set(world.spec(), 200, user=world.user)
        assert runner.beside_listings() == ["sbatch", "squeue"]
        assert all(job.submitted and job.uid for job in jobs)
        runner.commands.clear()
        readings = await scheduler.status(jobs)
        assert [argv[0] for argv in runner.commands] == ["squeue"]
        assert {status.state for status in readings.values()} <= {
            JobState.PENDING,
            JobState.CONFIGURING,
            JobState.RUNNING,
        }
        runner.commands.clear()
        assert await scheduler.cancel_many(jobs) == dict.fromkeys(jobs)
        assert runner.beside_listings() == ["squeue", "scancel"]
        await reach(scheduler, jobs, cancelled)
        await runner.close()

    @pytest.fixture
    async def world(self, slurm):
        world = SlurmWorld(slurm)
        yield world
        await world.close()

    @pytest.fixture
    def waiting(self, world):
        """A spec none of whose tasks starts."""
        return dataclasses.replace(world.spec(), options=("--hold",))

    async def test_a_task_cancelled_while_it_waits_has_ended(
        self, world, scheduler, waiting
    ):
        jobs = await scheduler.submit_set(waiting, 6, user=world.user)
        gone = [jobs[n] for n in (1, 2, 4)]
        assert await scheduler.cancel_many(gone) == dict.fromkeys(gone)
        # Slurm has no line and no row of them; the others' lines are their end.
        await reach(scheduler, gone, cancelled)
        rest = [job for job in jobs if job not in gone]
        readings = await scheduler.status(rest)
        assert {status.state for status in readings.values()} == {JobState.PENDING}
        assert await scheduler.cancel_many(gone) == dict.fromkeys(gone)
        await scheduler.cancel_many(rest)
        await reach(scheduler, jobs, cancelled)

    async def test_the_ends_of_a_set_that_left_the_queue_are_in_the_accounting(
        self, world, scheduler, waiting
    ):
        jobs = await scheduler.submit_set(waiting, 4, user=world.user)
        await scheduler.cancel_many([jobs[2]])
        await scheduler.cancel_many([job for job in jobs if job is not jobs[2]])
        number = jobs[0].id.partition("_")[0]
        async with asyncio.timeout(100):  # MinJobAge is 30 s here
            while world.rig.run(["squeue", "-h", "-t", "all", "-j", number]).stdout:
                await asyncio.sleep(0.5)
        await reach(scheduler, jobs, cancelled)

    async def test_a_set_that_the_controller_forgot_is_absent(self, world, scheduler):
        job = (await scheduler.submit_set(world.spec(), 1, user=world.user))[0]
        gone = dataclasses.replace(job, id="99999998_0")
        assert (await scheduler.status([gone]))[gone].reason == ABSENT

    async def test_a_requeued_task_is_still_the_same(self, world, scheduler):
        spec = dataclasses.replace(world.spec(), requeue=True)
        jobs = await scheduler.submit_set(spec, 3, user=world.user)
        await reach(scheduler, jobs, runs)
        await asyncio.sleep(1.1)  # a new time of submission is told in seconds
        world.rig.admin("scontrol", "requeue", jobs[1].id)
        again = lambda status: status.restarts == 1  # noqa: E731
        await reach(scheduler, [jobs[1]], again)
        assert all(map(runs, (await scheduler.status([jobs[0], jobs[2]])).values()))
        await scheduler.cancel_many(jobs)
        await reach(scheduler, jobs, cancelled)
