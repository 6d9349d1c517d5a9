"""One life of a job, over every scheduler, with a death of the hub at every step."""

import asyncio
import os
import random
import sys
import time

import pytest

from rigs.batch.worlds import (
    SETTINGS,
    CountingRunner,
    FakeWorld,
    LocalWorld,
    SlurmWorld,
)
from rigs.checkout import CHECKOUT, TESTS
from spawners.batch.jobs.errors import AlreadyLive
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import Address, Phase
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobState, Resources, task_name
from spawners.batch.slurm.scheduler import SlurmScheduler

OWNER = "server:alice/"
DEADLINE = 200

pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture
async def hub(world, store_url, quick):
    """Start a hub; its return value can be killed as by SIGKILL."""
    hubs = []

    async def start(scheduler=None):
        hub = Hub(await JobStore.open(store_url))
        settings = quick if isinstance(world, FakeWorld) else SETTINGS
        hub.jobs = Jobs(scheduler or world.open(), hub.store, settings)
        hubs.append(hub)
        await hub.jobs.start()
        return hub.jobs

    start.kill = lambda: hubs[-1].kill()
    start.store = lambda: hubs[-1].store
    yield start
    for hub in hubs:
        await hub.close()


class Hub:
    def __init__(self, store):
        self.store = store
        self.dead = False

    async def kill(self):
        """Stop at once, with nothing written down any more."""
        self.dead = True
        await self.jobs.abandon()

    async def close(self):
        if not self.dead:
            await self.jobs.close()
        await self.store.close()


async def eventually(fact, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not await fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def on_nodes(record):
    return record.status.state is JobState.RUNNING


def ended(record):
    return not record.live


class TestLifecycle:
    async def test_a_job_runs_to_its_end(self, world, hub):
        jobs = await hub()
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        record = await jobs.wait(record.name, on_nodes)
        assert len(record.status.nodes) == 1
        assert record.status.started is not None
        node = record.status.nodes[0]
        await jobs.report_ready(record.name, Address(node, "127.0.0.1", 4000))
        await world.finish(record, 0)
        record = await jobs.wait(record.name, ended)
        assert record.status.state is JobState.COMPLETED
        kinds = [event.kind for event in await jobs.events(OWNER)]
        assert kinds[0] == "submitted"
        seldom = {"queued", "allocated", "ending"}
        story = [kind for kind in kinds if kind not in seldom]
        assert story == ["submitted", "running", "ready", "ended"]
        assert await world.live() == []

    async def test_a_failure_is_told_with_its_last_words(self, world, hub):
        jobs = await hub()
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        await jobs.wait(record.name, on_nodes)
        await world.finish(record, 3)
        record = await jobs.wait(record.name, ended)
        assert record.status.state is JobState.FAILED
        assert record.status.exit_code == 3
        assert record.failure is not None
        assert "its last words" in record.failure.log

    async def test_a_cancel_ends_a_running_job(self, world, hub):
        jobs = await hub()
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        await jobs.wait(record.name, on_nodes)
        await jobs.cancel(record.name)
        record = await jobs.wait(record.name, ended)
        assert record.status.state is JobState.CANCELLED
        assert record.failure is None
        assert await world.live() == []

    async def test_start_against_stop(self, world, hub):
        jobs = await hub()
        for _ in range(3):
            record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
            await jobs.cancel(record.name)
            with pytest.raises(AlreadyLive):
                await jobs.submit(world.spec(), user=world.user, owner=OWNER)
            await jobs.wait(record.name, ended)
        assert jobs.current(OWNER).generation == 3
        assert await world.live() == []

    async def test_many_at_once_are_all_there_once(self, world, hub):
        jobs = await hub()
        records = await asyncio.gather(
            *(
                jobs.submit(world.spec(), user=world.user, owner=f"server:{n}/")
                for n in range(30)
            )
        )
        assert await world.live() == sorted(record.name for record in records)
        await asyncio.gather(*(jobs.cancel(record.name) for record in records))
        for record in records:
            await jobs.wait(record.name, ended)
        assert await world.live() == []

    async def test_a_running_job_outlives_its_hub(self, world, hub):
        jobs = await hub()
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        before = await jobs.wait(record.name, on_nodes)
        await hub.kill()
        jobs = await hub()
        record = await jobs.wait(record.name, lambda r: r.status_is_current)
        assert record.job == before.job
        assert on_nodes(record)
        with pytest.raises(AlreadyLive):
            await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await jobs.cancel(record.name)
        await jobs.wait(record.name, ended)
        assert await world.live() == []

    async def test_an_end_without_a_hub_is_read_later(self, world, hub):
        jobs = await hub()
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        await jobs.wait(record.name, on_nodes)
        await hub.kill()
        await world.finish(record, 5)
        await eventually(lambda: _nothing(world))
        jobs = await hub()
        record = await jobs.wait(record.name, ended)
        assert record.status.exit_code == 5
        assert "its last words" in record.failure.log


class Deadly:
    """Never returns from one method, before or after doing it."""

    def __init__(self, scheduler, method, *, after):
        self.reached = asyncio.Event()
        self._scheduler = scheduler
        inner = getattr(scheduler, method)

        async def stop(*args, **kwargs):
            if after:
                await inner(*args, **kwargs)
            self.reached.set()
            await asyncio.Event().wait()

        setattr(self, method, stop)

    def __getattr__(self, name):
        return getattr(self._scheduler, name)


class TestDeathAtEveryStep:
    """A hub that is killed while it submits or cancels, and the next one."""

    @pytest.mark.parametrize(
        ("method", "after", "live"),
        [
            ("check", False, 0),
            ("check", True, 0),
            ("submit", False, 0),
            ("submit", True, 1),
        ],
    )
    async def test_of_a_submission(self, world, hub, method, after, live):
        deadly = Deadly(world.open(), method, after=after)
        jobs = await hub(deadly)
        spec = world.spec()
        task = asyncio.create_task(jobs.submit(spec, user=world.user, owner=OWNER))
        await deadly.reached.wait()
        await hub.kill()
        await asyncio.gather(task, return_exceptions=True)
        assert len(await world.live()) == live
        jobs = await hub()
        record = await jobs.wait(spec.name, lambda r: r.phase is not Phase.INTENT)
        assert record.phase is (Phase.SUBMITTED if live else Phase.REFUSED)
        assert await world.live() == [spec.name] * live
        if not live:
            record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await jobs.cancel(record.name)
        await jobs.wait(record.name, ended)
        assert await world.live() == []

    async def test_between_the_answer_and_its_commit(self, world, hub):
        jobs = await hub()
        store = hub.store()
        reached = asyncio.Event()

        async def never(_):
            reached.set()
            await asyncio.Event().wait()

        store.save = never
        spec = world.spec()
        task = asyncio.create_task(jobs.submit(spec, user=world.user, owner=OWNER))
        await reached.wait()
        await hub.kill()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        jobs = await hub()
        record = await jobs.wait(spec.name, lambda r: r.phase is not Phase.INTENT)
        assert record.phase is Phase.SUBMITTED
        assert await world.live() == [spec.name]
        await jobs.cancel(spec.name)
        await jobs.wait(spec.name, ended)
        assert await world.live() == []

    @pytest.mark.parametrize("after", [False, True])
    async def test_of_a_cancel(self, world, hub, after):
        deadly = Deadly(world.open(), "cancel", after=after)
        jobs = await hub(deadly)
        record = await jobs.submit(world.spec(), user=world.user, owner=OWNER)
        await world.start(record)
        task = asyncio.create_task(jobs.cancel(record.name))
        await deadly.reached.wait()
        await hub.kill()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        jobs = await hub()
        record = await jobs.wait(record.name, ended)
        assert record.failure is None
        assert await world.live() == []


class TestSets:
    """A set of equal jobs from its submission to its end, with the same deaths."""

    owners = tuple(f"cluster:alice/c/{n}" for n in range(4))

    def submit(self, jobs, world, spec):
        return jobs.submit_set(spec, user=world.user, owners=self.owners)

    async def end_all(self, jobs, world):
        await jobs.cancel_owned("cluster:alice/c/")
        for owner in self.owners:
            await jobs.wait(jobs.current(owner).name, ended)
        assert await world.live() == []

    async def test_of_its_life(self, world, hub):
        jobs = await hub()
        spec = world.spec()
        records = await self.submit(jobs, world, spec)
        names = [task_name(spec.name, n) for n in range(4)]
        assert [record.name for record in records] == names
        for record in records:
            await world.start(record)
        for name in names:
            await jobs.wait(name, on_nodes)
        assert await world.live() == names
        await jobs.cancel(names[2])
        record = await jobs.wait(names[2], ended)
        assert (record.status.state, record.failure) == (JobState.CANCELLED, None)
        await hub.kill()
        jobs = await hub()
        for name in (names[0], names[1], names[3]):
            record = await jobs.wait(name, lambda r: r.status_is_current)
            assert on_nodes(record)
        await self.end_all(jobs, world)

    @pytest.mark.parametrize(
        ("method", "after", "live"),
        [
            ("check", True, 0),
            ("submit_set", False, 0),
            ("submit_set", True, 4),
        ],
    )
    async def test_death_in_a_submission(self, world, hub, method, after, live):
        deadly = Deadly(world.open(), method, after=after)
        jobs = await hub(deadly)
        spec = world.spec()
        task = asyncio.create_task(self.submit(jobs, world, spec))
        await deadly.reached.wait()
        await hub.kill()
        await asyncio.gather(task, return_exceptions=True)
        assert len(await world.live()) == live
        jobs = await hub()
        for number in range(4):
            name = task_name(spec.name, number)
            record = await jobs.wait(name, lambda r: r.phase is not Phase.INTENT)
            assert record.owner == self.owners[number]
            assert record.phase is (Phase.SUBMITTED if live else Phase.REFUSED)
            if live:
                assert record.job.id.endswith(f"_{number}")
        if not live:
            await self.submit(jobs, world, world.spec())
        await self.end_all(jobs, world)

    async def test_death_between_the_answer_and_its_commit(self, world, hub):
        jobs = await hub()
        reached = asyncio.Event()

        async def never(_):
            reached.set()
            await asyncio.Event().wait()

        hub.store().save = never
        spec = world.spec()
        task = asyncio.create_task(self.submit(jobs, world, spec))
        await reached.wait()
        await hub.kill()
        await asyncio.gather(task, return_exceptions=True)
        jobs = await hub()
        for number in range(4):
            name = task_name(spec.name, number)
            record = await jobs.wait(name, lambda r: r.phase is not Phase.INTENT)
            assert record.phase is Phase.SUBMITTED
        assert len(await world.live()) == 4
        await self.end_all(jobs, world)

    @pytest.mark.parametrize("after", [False, True])
    async def test_death_in_a_cancel(self, world, hub, after):
        deadly = Deadly(world.open(), "cancel_many", after=after)
        jobs = await hub(deadly)
        records = await self.submit(jobs, world, world.spec())
        for record in records:
            await world.start(record)
        task = asyncio.create_task(jobs.cancel_owned("cluster:alice/c/"))
        await deadly.reached.wait()
        await hub.kill()
        await asyncio.gather(task, return_exceptions=True)
        jobs = await hub()
        for record in records:
            record = await jobs.wait(record.name, ended)
            assert record.failure is None
        assert await world.live() == []


@pytest.mark.slurm
class TestManyOnSlurm:
    """What two hundred equal jobs cost the controller."""

    @pytest.fixture
    async def world(self, slurm):
        world = SlurmWorld(slurm)
        yield world
        await world.close()

    async def test_two_hundred_are_few_commands(self, world, hub):
        runner = CountingRunner(world.rig.environment)
        jobs = await hub(SlurmScheduler(runner))
        await jobs.check(Resources(), user=world.user)  # what it reads is kept
        runner.commands.clear()
        owners = [f"cluster:alice/d/{n}" for n in range(200)]
        records = await jobs.submit_set(world.spec(), user=world.user, owners=owners)
        assert len({record.job.id for record in records}) == 200
        assert runner.beside_listings() == ["sbatch", "squeue"]
        runner.commands.clear()
        assert await jobs.cancel_owned("cluster:alice/d/") == 200
        assert runner.beside_listings() == ["squeue", "scancel"]
        for record in records:
            record = await jobs.wait(record.name, ended)
            assert record.status.state is JobState.CANCELLED
        assert await world.live() == []


class TestSigkill:
    """A real process that is killed at random moments, again and again."""

    @pytest.fixture(params=["local", pytest.param("slurm", marks=pytest.mark.slurm)])
    async def world(self, request, tmp_path):
        if request.param == "slurm":
            world = SlurmWorld(request.getfixturevalue("slurm"))
        else:
            world = LocalWorld(tmp_path)
        yield world
        await world.close()

    async def test_every_job_is_somebodys_after_each_death(self, world, hub, store_url):
        chance = random.Random(42)
        for _ in range(4):
            await self.live_and_die(world, store_url, chance.uniform(0.2, 2.0))
            jobs = await hub()

            async def settled(jobs=jobs):
                records = jobs.records(live_only=False)
                busy = [r for r in records if r.cancel_wanted and r.needs_polling]
                busy += [r for r in records if r.phase is Phase.INTENT]
                owned = sorted(record.name for record in jobs.records())
                return not busy and await world.live() == owned

            await eventually(settled)
            assert jobs.records(live_only=False)
            await jobs.close()
            await hub.kill()
        jobs = await hub()
        for record in jobs.records():
            await jobs.cancel(record.name)
        await eventually(lambda: _nothing(world))
        for record in jobs.records():
            await jobs.wait(record.name, ended)

    async def live_and_die(self, world, store_url, seconds):
        if isinstance(world, SlurmWorld):
            kind, rest = "slurm", [world.rig.environment["SLURM_CONF"]]
        else:
            kind, rest = "local", []
        argv = [store_url, kind, str(world.directory), world.user, *rest]
        path = os.pathsep.join([str(TESTS), str(CHECKOUT)])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rigs.batch.victim",
            *argv,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            assert await process.stdout.readline() == b"at work\n"
            await asyncio.sleep(seconds)
        finally:
            process.kill()
            await process.communicate()


async def _nothing(world):
    return await world.live() == []
