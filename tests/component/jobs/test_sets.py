"""Sets of equal jobs: the same promises in process, over the socket and a bad way."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from rigs.services.jobs import QUICK
from spawners.batch.errors import (
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
)
from spawners.batch.jobs import remote
from spawners.batch.jobs.errors import AlreadyLive, UnknownJob
from spawners.batch.jobs.record import Phase, Retain
from spawners.batch.jobs.service_client import RemoteSettings, ServiceAway
from spawners.batch.jobs.wire import Count, Names, NameUsed
from spawners.batch.models import JobState, Launch, Resources, task_name
from spawners.batch.scheduler import UserLimits

KIND = "server:alice/"
PREFIX = f"{KIND}c/"
OWNERS = [f"{PREFIX}{n}" for n in range(5)]
HARM = ["refuse", "lose", "half", "double"]


class Way:
    """A way to use the batch core, and what is below it.

    ``counts`` is False where an answer may be lost, and the next one tells of less.
    """

    def __init__(self, api, fake, *, counts=True):
        self.api = api
        self.fake = fake
        self.counts = counts

    def watch_ends(self):
        """Return what each call asks the scheduler to end from now on, by name."""
        real, asked = self.fake.cancel_many, []

        async def cancel_many(jobs):
            asked.append({job.name for job in jobs})
            return await real(jobs)

        self.fake.cancel_many = cancel_many
        return asked

    async def submit_set(self, spec, owners=OWNERS, **given):
        return await self.api.submit_set(spec, user="alice", owners=owners, **given)


@pytest.fixture(params=["in process", "over the socket", *HARM])
async def way(request, rig, meddler):
    """The batch core, its client, and its client when every other request is hurt."""
    if request.param == "in process":
        return Way(rig.service.jobs, rig.scheduler)
    if request.param == "over the socket":
        return Way(await rig.client(), rig.scheduler)
    meddler.habit = itertools.cycle([request.param, "pass"])
    return Way(await rig.client(socket=meddler.path), rig.scheduler, counts=False)


def ended(record):
    return not record.live


async def eventually(fact):
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


class TestTheContract:
    async def test_a_set_is_submitted_and_known_task_by_task(self, way, new_spec):
        spec = new_spec()
        launch = Launch(("work",), {"A": "1"})
        records = await way.submit_set(spec, facts={"a": "b"}, launch=launch)
        assert [record.owner for record in records] == OWNERS
        names = [task_name(spec.name, n) for n in range(5)]
        assert [record.name for record in records] == names
        assert [record.job for record in records] == way.fake.live()
        assert way.fake.calls["submit_set"] == 1
        for record in records:
            assert (record.phase, record.generation) == (Phase.SUBMITTED, 1)
            assert record.facts == {"a": "b"}
            assert way.api.get(record.name).job == record.job
            assert way.api.current(record.owner).name == record.name
            assert await way.api.give_launch(record.name, launch)

    async def test_what_became_of_each_is_told_of_each(self, way, new_spec):
        real = way.fake.submit_set

        async def lossy(spec, count, *, user):
            tasks = await real(spec, count, user=user)
            way.fake.forget(tasks[1])
            raise SchedulerUnavailable("no answer")

        way.fake.submit_set = lossy
        records = await way.submit_set(new_spec())
        taken = [Phase.SUBMITTED] * 3
        phases = [record.phase for record in records]
        assert phases == [Phase.SUBMITTED, Phase.REFUSED, *taken]
        way.fake.move(records[2].job, JobState.RUNNING, node="n01")
        way.fake.move(records[3].job, JobState.COMPLETED, exit_code=0)
        way.fake.forget(records[4].job)
        records = [
            await way.api.wait(record.name, lambda r, s=state: r.status.state is s)
            for record, state in zip(
                [records[0], *records[2:]],
                [
                    JobState.PENDING,
                    JobState.RUNNING,
                    JobState.COMPLETED,
                    JobState.LOST,
                ],
                strict=True,
            )
        ]
        assert [record.live for record in records] == [True, True, False, False]
        assert await way.api.events(OWNERS[1])

    async def test_some_end_by_one_call_and_the_others_go_on(self, way, new_spec):
        records = await way.submit_set(new_spec())
        names = [record.name for record in records[:3]]
        asked = way.watch_ends()
        count = await way.api.cancel_many([*names, "lb-nobody", names[0]])
        for name in names:
            assert (await way.api.wait(name, ended)).phase is Phase.ENDED
        assert asked[0] == set(names)
        assert count == 3 or not way.counts
        assert await way.api.cancel_many(names) == 0
        assert await way.api.cancel_many([]) == 0
        assert way.fake.live() == [record.job for record in records[3:]]

    async def test_all_of_a_prefix_end_by_one_call(self, way, new_spec):
        other = await way.api.submit(new_spec(), user="alice", owner=f"{KIND}d/0")
        records = await way.submit_set(new_spec())
        asked = way.watch_ends()
        count = await way.api.cancel_owned(PREFIX)
        assert count == 5 or not way.counts
        for record in records:
            record = await way.api.wait(record.name, ended)
            assert record.status.state is JobState.CANCELLED
        assert way.fake.live() == [other.job]
        assert asked[0] == {record.name for record in records}

    async def test_a_set_is_taken_whole_or_not_at_all(self, way, new_spec):
        first = await way.api.submit(new_spec(), user="alice", owner=OWNERS[2])
        with pytest.raises(AlreadyLive) as caught:
            await way.submit_set(new_spec())
        assert caught.value.record.name == first.name
        await way.api.cancel(first.name)
        await way.api.wait(first.name, ended)
        with pytest.raises(SubmitRejected):
            await way.submit_set(new_spec(resources=Resources(cpus=64)))
        assert way.fake.live() == []
        records = await way.submit_set(new_spec())
        assert [record.generation for record in records] == [2, 2, 3, 2, 2]

    @pytest.mark.parametrize(
        "owners", [[], [PREFIX, PREFIX], [f"{PREFIX}{n}" for n in range(1001)]]
    )
    async def test_odd_owners_are_refused(self, way, new_spec, owners):
        with pytest.raises(InvalidSpec):
            await way.submit_set(new_spec(), owners)
        assert way.fake.calls["submit_set"] == 0

    async def test_of_what_is_used_once_nothing_is_held(self, way, new_spec):
        records = await way.submit_set(new_spec(), retain=Retain.NONE)
        for record in records:
            way.fake.move(record.job, JobState.COMPLETED, exit_code=0)
        await eventually(lambda: way.api.records(live_only=False) == [])
        assert all(way.api.current(owner) is None for owner in OWNERS)

    async def test_more_than_a_user_may_ever_have_is_refused_before(self, way):
        way.fake.user_limits = UserLimits(accounts={}, max_submit=3)
        await way.api.check(Resources(), user="alice", count=3)
        with pytest.raises(LimitReached) as caught:
            await way.api.check(Resources(), user="alice", count=4)
        assert caught.value.field == "count"
        assert "at most 3" in caught.value.hint


class TestRequests:
    async def test_an_end_that_overtakes_its_set_holds(self, rig, meddler, new_spec):
        api = await rig.client(socket=meddler.path)
        meddler.orders.append("late")
        submission = asyncio.create_task(
            api.submit_set(new_spec(), user="alice", owners=OWNERS)
        )
        await eventually(lambda: any("PUT" in line for line in meddler.seen))
        await api.cancel_owned(PREFIX)
        await meddler.deliver()
        for record in await submission:
            await api.wait(record.name, ended)
        assert rig.scheduler.live() == []

    async def test_one_that_ends_before_its_set_comes_ends_alone(self, rig, new_spec):
        hub = await rig.client()
        spec = new_spec()
        with pytest.raises(UnknownJob):
            await hub.cancel(task_name(spec.name, 1))
        records = await hub.submit_set(spec, user="alice", owners=OWNERS)
        await hub.wait(records[1].name, ended)
        others = [record for record in records if record is not records[1]]
        assert rig.scheduler.live() == [record.job for record in others]

    async def test_sets_that_arrive_in_another_order(self, rig, meddler, new_spec):
        api = await rig.client(socket=meddler.path)
        meddler.orders.extend(["late"] * 3)
        tasks = [
            asyncio.create_task(
                api.submit_set(
                    new_spec(),
                    user="alice",
                    owners=[f"{KIND}{letter}/{n}" for n in range(3)],
                )
            )
            for letter in "abc"
        ]
        await eventually(lambda: sum("PUT" in line for line in meddler.seen) >= 3)
        await meddler.deliver()
        await asyncio.gather(*tasks)
        assert len(rig.scheduler.live()) == 9
        assert rig.scheduler.calls["submit_set"] == 3
        assert await api.cancel_owned(KIND) == 9

    async def test_what_was_given_up_is_refused_when_it_arrives(
        self, rig, meddler, new_spec
    ):
        short = RemoteSettings(
            patience=timedelta(seconds=0.2), answer_within=timedelta(seconds=0.3)
        )
        api = await rig.client(socket=meddler.path, settings=short)
        meddler.orders.append("late")
        spec = new_spec()
        with pytest.raises(ServiceAway):
            await api.submit_set(spec, user="alice", owners=OWNERS)
        ends = f"DELETE /v1/sets/{spec.name}"
        await eventually(lambda: any(ends in line for line in meddler.seen))
        hub = await rig.client()
        async with asyncio.timeout(20):
            with pytest.raises(NameUsed):
                while True:  # until the end that was asked for is written down
                    await hub.submit_set(spec, user="alice", owners=OWNERS)
                    await asyncio.sleep(0.01)
        await meddler.deliver()
        await eventually(lambda: rig.scheduler.live() == [])

    @pytest.mark.parametrize("retain", Retain)
    @pytest.mark.parametrize("kind", ["set", "job"])
    async def test_a_request_that_comes_again_when_all_is_over(
        self, rig, new_spec, kind, retain
    ):
        hub, spec = await rig.client(), new_spec()

        async def ask():
            if kind == "set":
                return await hub.submit_set(
                    spec, user="alice", owners=OWNERS, retain=retain
                )
            return [
                await hub.submit(spec, user="alice", owner=OWNERS[0], retain=retain)
            ]

        for record in await ask():
            rig.scheduler.move(record.job, JobState.COMPLETED, exit_code=0)
        await eventually(lambda: hub.records() == [])
        if retain is Retain.NONE:
            await eventually(lambda: hub.records(live_only=False) == [])
            with pytest.raises(NameUsed, match="over"):
                await ask()
        else:
            assert all(record.phase is Phase.ENDED for record in await ask())
        calls = rig.scheduler.calls
        assert calls["submit_set"] + calls["submit"] == 1


class TestDeaths:
    @pytest.mark.parametrize("method", ["submit_set", "check"])
    async def test_a_service_that_dies_while_it_submits(self, rig, new_spec, method):
        hub = await rig.client()
        async with rig.dies_in(method):
            submission = asyncio.create_task(
                hub.submit_set(new_spec(), user="alice", owners=OWNERS)
            )
        try:
            records = await submission
        except SubmitRejected:
            records = []  # it was given up: then there is none, ever
        await eventually(lambda: len(rig.scheduler.live()) == len(records))
        await hub.cancel_owned(PREFIX)
        await eventually(lambda: rig.scheduler.live() == [])
        assert rig.scheduler.calls["submit_set"] <= 1

    async def test_the_same_request_after_a_death_is_the_same_set(self, rig, new_spec):
        hub, spec = await rig.client(settings=QUICK), new_spec()
        first = await hub.submit_set(spec, user="alice", owners=OWNERS)
        await rig.kill()
        await rig.start()
        again = await hub.submit_set(spec, user="alice", owners=OWNERS)
        assert [record.job for record in again] == [record.job for record in first]
        assert rig.scheduler.calls["submit_set"] == 1


def bare(spec):
    """The spec as a client sends it that has no script of its own."""
    object.__setattr__(spec, "script", None)
    return spec


def workers(count, user="alice", name="c"):
    return [f"cluster:{user}/{name}/{n}" for n in range(count)]


class TestRights:
    @pytest.fixture
    async def clusters(self, rig):
        return await rig.client("clusters")

    @pytest.fixture
    def submit(self, clusters, new_spec):
        async def go(owners, **given):
            given = {"user": "alice", "launch": Launch(("work",))} | given
            spec = given.pop("spec", None) or bare(new_spec())
            return await clusters.submit_set(spec, owners=owners, **given)

        return go

    async def test_a_set_counts_as_its_jobs(self, rig, clusters, submit):
        with pytest.raises(LimitReached):
            await submit(workers(5))
        first = await submit(workers(4))
        with pytest.raises(LimitReached):
            await submit(workers(1, name="d"))
        with pytest.raises(LimitReached):
            await submit(workers(3, "bob"))
        await submit(workers(2, "bob"))
        await clusters.cancel_many([record.name for record in first])
        for record in first:
            await clusters.wait(record.name, ended)
        await submit(workers(4))
        assert len(rig.scheduler.live()) == 6
        with pytest.raises(LimitReached, match="5 jobs"):
            await clusters.check(Resources(), user="alice", count=5)

    @pytest.mark.parametrize(
        "owners",
        [
            ["server:alice/1", "server:alice/2"],
            ["cluster:alice/1", "server:alice/1"],
            ["cluster:alice/1", "cluster:bob/1"],
            ["cluster:alice/1", "cluster:alice/1\n"],
            ["cluster:", "cluster:alice/1"],
        ],
    )
    async def test_a_set_is_of_one_user_and_ones_own(self, rig, submit, owners):
        with pytest.raises((NotPermitted, InvalidSpec)):
            await submit(owners)
        assert rig.scheduler.calls["submit_set"] == 0

    async def test_only_the_hub_sends_a_script(self, submit, new_spec):
        with pytest.raises(NotPermitted, match="script"):
            await submit(workers(2), spec=new_spec())

    async def test_another_clients_set_is_as_if_it_were_not(
        self, rig, clusters, submit, new_spec
    ):
        hub, spec = await rig.client(), new_spec()
        records = await hub.submit_set(spec, user="alice", owners=OWNERS)
        with pytest.raises(UnknownJob):
            await clusters.cancel_many([records[0].name])
        await clusters._end(f"/v1/sets/{spec.name}")
        with pytest.raises(NameUsed):
            await submit(workers(2), spec=bare(new_spec(name=spec.name)))
        assert len(rig.scheduler.live()) == 5

    async def test_a_name_is_good_for_one_set(self, rig, new_spec):
        hub, spec = await rig.client(), new_spec()
        await hub.submit_set(spec, user="alice", owners=OWNERS)
        for owners in (OWNERS[:4], [*OWNERS[:4], f"{PREFIX}x"], OWNERS[::-1]):
            with pytest.raises(NameUsed):
                await hub.submit_set(spec, user="alice", owners=owners)
        with pytest.raises(NameUsed):
            await hub.submit(spec, user="alice", owner=f"{KIND}x")
        assert len(rig.scheduler.live()) == 5

    async def test_so_many_names_at_once_and_no_more(self, rig, new_spec, monkeypatch):
        hub = await rig.client()
        asked = Names(tuple(f"lb-{n}" for n in range(1001)))
        with pytest.raises(InvalidSpec, match="at most 1000"):
            await hub._client.ask("POST", "/v1/cancellations", Count, asked)
        monkeypatch.setattr(remote, "MOST_TASKS", 2)
        records = await hub.submit_set(new_spec(), user="alice", owners=OWNERS)
        assert await hub.cancel_many([record.name for record in records]) == 5
        await eventually(lambda: rig.scheduler.live() == [])
