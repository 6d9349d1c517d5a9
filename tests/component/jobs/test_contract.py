"""What JobsApi promises, held by the batch core and by the jobs service's client."""

import asyncio
from datetime import timedelta

import pytest

from spawners.batch.errors import InvalidSpec, SchedulerUnavailable, SubmitRejected
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import AlreadyLive, UnknownJob
from spawners.batch.jobs.record import Phase, Retain
from spawners.batch.models import JobState, Launch, Resources

OWNER = "server:alice/"


def ended(record):
    return not record.live


async def eventually(fact):
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


class TestSubmitting:
    async def test_a_job_is_submitted_and_known_at_once(self, use, new_spec):
        spec = new_spec(resources=Resources(cpus=2, time_limit=timedelta(hours=1)))
        record = await use.api.submit(
            spec, user="alice", owner=OWNER, facts={"profile": "small"}
        )
        assert record.phase is Phase.SUBMITTED
        assert record.job.name == spec.name
        assert (record.owner, record.generation, record.user) == (OWNER, 1, "alice")
        assert record.facts == {"profile": "small"}
        assert use.api.get(spec.name).job == record.job
        assert use.api.current(OWNER).name == spec.name
        assert [job.name for job in use.fake.live()] == [spec.name]
        assert use.fake.spec(record.job).script == spec.script
        assert use.fake.spec(record.job).resources == spec.resources

    async def test_an_owner_has_one_live_job(self, use, new_spec):
        first = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        with pytest.raises(AlreadyLive) as caught:
            await use.api.submit(new_spec(), user="alice", owner=OWNER)
        assert caught.value.record.name == first.name
        assert use.api.current(OWNER).name == first.name
        assert len(use.fake.live()) == 1

    async def test_a_second_start_has_the_next_generation(self, use, new_spec):
        first = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        await use.api.cancel(first.name)
        await use.api.wait(first.name, ended)
        second = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        assert second.generation == 2
        assert use.api.current(OWNER).name == second.name

    async def test_a_refusal_says_which_field_and_what_to_do(self, use, new_spec):
        spec = new_spec(resources=Resources(cpus=64))
        with pytest.raises(SubmitRejected) as caught:
            await use.api.submit(spec, user="alice", owner=OWNER)
        assert caught.value.field == "cpus"
        assert "64 CPUs asked" in caught.value.message
        await eventually(lambda: use.api.current(OWNER) is not None)
        record = await use.api.wait(spec.name, ended)
        assert record.phase is Phase.REFUSED
        assert record.failure is not None

    async def test_an_owner_that_is_none_is_refused(self, use, new_spec):
        with pytest.raises(InvalidSpec, match="owner"):
            await use.api.submit(new_spec(), user="alice", owner="")
        assert use.fake.live() == []

    async def test_a_scheduler_that_is_away_is_said_to_be(self, use, new_spec):
        use.fake.fail_next("check")
        with pytest.raises(SchedulerUnavailable):
            await use.api.submit(new_spec(), user="alice", owner=OWNER)
        assert use.fake.live() == []

    async def test_a_lost_answer_of_the_scheduler_is_no_second_job(self, use, new_spec):
        use.fake.lose_answer()
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        assert record.job is not None
        assert len(use.fake.live()) == 1

    async def test_a_launch_goes_with_it_and_is_seen_nowhere(self, use, new_spec):
        spec = new_spec()
        launch = Launch(("serve",), {"TOKEN": "secret"}, {"a.py": "pass"})
        record = await use.api.submit(spec, user="alice", owner=OWNER, launch=launch)
        environment = use.fake.spec(record.job).environment
        assert environment["LANDBRIDGE_JOB"] == spec.name
        assert "secret" not in repr(environment)
        assert await use.api.give_launch(spec.name, launch)

    async def test_a_caller_that_goes_away_does_not_undo_it(self, use, new_spec):
        spec = new_spec()
        task = asyncio.create_task(use.api.submit(spec, user="alice", owner=OWNER))
        await asyncio.sleep(0)
        task.cancel()
        await eventually(lambda: use.api.get(spec.name) is not None)
        await use.api.wait(spec.name, lambda record: record.job)
        assert len(use.fake.live()) == 1


class TestEnding:
    async def test_a_cancel_ends_a_job(self, use, new_spec):
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        await use.api.cancel(record.name)
        record = await use.api.wait(record.name, ended)
        assert record.status.state is JobState.CANCELLED
        assert use.fake.live() == []
        await use.api.cancel(record.name)

    async def test_a_job_that_nobody_knows_cannot_be_ended(self, use):
        with pytest.raises(UnknownJob):
            await use.api.cancel("lb-nobody")
        with pytest.raises(UnknownJob):
            await use.api.give_up("lb-nobody", Failure("Why"))
        with pytest.raises(UnknownJob):
            await use.api.wait("lb-nobody", ended)

    async def test_a_failure_stays_with_a_job_that_is_given_up(self, use, new_spec):
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        failure = Failure("Never came up", "For five minutes.", "Look.", "the log")
        await use.api.give_up(record.name, failure)
        record = await use.api.wait(record.name, ended)
        assert record.failure == failure

    async def test_all_of_an_owners_prefix_end(self, use, new_spec):
        for n in range(3):
            owner = f"server:alice/{n}"
            await use.api.submit(new_spec(), user="alice", owner=owner)
        other = await use.api.submit(new_spec(), user="bob", owner="server:bob/")
        assert await use.api.cancel_owned("server:alice/") == 3
        await eventually(lambda: len(use.fake.live()) == 1)
        assert use.fake.live() == [other.job]

    @pytest.mark.parametrize("prefix", ["", "server:al"])
    async def test_half_a_name_is_no_prefix(self, use, prefix):
        with pytest.raises(InvalidSpec, match="owner"):
            await use.api.cancel_owned(prefix)


class TestForgetting:
    async def test_of_what_is_used_once_nothing_is_held(self, use, new_spec):
        owner = f"{OWNER}worker"
        record = await use.api.submit(
            new_spec(), user="alice", owner=owner, retain=Retain.NONE
        )
        use.fake.move(record.job, JobState.COMPLETED, exit_code=0)
        assert (await use.api.wait(record.name, ended)).phase is Phase.ENDED
        await eventually(lambda: use.api.get(record.name) is None)
        assert use.api.current(owner) is None
        assert use.api.records(live_only=False) == []


class TestReading:
    async def test_a_job_is_followed_to_its_end(self, use, new_spec):
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        use.fake.move(record.job, JobState.RUNNING, node="n01")
        record = await use.api.wait(record.name, lambda r: r.status.nodes)
        assert record.status.nodes == ("n01",)
        assert record.status_is_current
        use.fake.move(record.job, JobState.COMPLETED, exit_code=0)
        record = await use.api.wait(record.name, ended)
        assert record.phase is Phase.ENDED
        assert use.api.records(user="alice") == []
        await eventually(
            lambda: [r.name for r in use.api.records(live_only=False)] == [record.name]
        )

    async def test_records_are_of_one_account_or_of_all(self, use, new_spec):
        alice = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        bob = await use.api.submit(new_spec(), user="bob", owner="server:bob/")
        names = [record.name for record in use.api.records()]
        assert names == [alice.name, bob.name]
        assert [r.name for r in use.api.records(user="bob")] == [bob.name]
        assert use.api.get("lb-nobody") is None
        assert use.api.current("server:nobody/") is None

    async def test_an_old_start_can_be_waited_for(self, use, new_spec):
        first = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        await use.api.cancel(first.name)
        await use.api.wait(first.name, ended)
        await use.api.submit(new_spec(), user="alice", owner=OWNER)
        assert (await use.api.wait(first.name, ended)).generation == 1

    async def test_a_story_is_told_and_followed(self, use, new_spec):
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        before = await use.api.events(OWNER)
        assert before[0].kind == "submitted"
        after = before[-1].seq
        waiting = asyncio.create_task(use.api.changed(OWNER, after + 20))
        event = await use.api.note(
            record.name, "route", "The way is set", port=1, x=None
        )
        assert (event.kind, event.message) == ("route", "The way is set")
        assert event.data == {"port": 1, "x": None}
        assert event in await use.api.events(OWNER, after)
        assert event not in await use.api.events(OWNER, event.seq)
        for _ in range(25):
            await use.api.note(record.name, "more", "More")
        async with asyncio.timeout(20):
            await waiting

    async def test_the_story_of_an_earlier_start_stays(self, use, new_spec):
        first = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        await use.api.note(first.name, "first", "Of the first")
        await use.api.cancel(first.name)
        await use.api.wait(first.name, ended)
        await use.api.submit(new_spec(), user="alice", owner=OWNER)
        kinds = [event.kind for event in await use.api.events(OWNER, 0, 1)]
        assert "first" in kinds
        assert await use.api.events("server:nobody/") == []

    async def test_the_cluster_is_read_in_the_background(self, use):
        await eventually(lambda: use.api.snapshot is not None)
        assert use.api.snapshot.partition(None).name == "main"
        async with asyncio.timeout(20):
            fresh = await use.api.fresh_snapshot(timedelta(minutes=1))
        assert fresh.node_addresses["n01"] == "127.0.0.1"

    async def test_questions_about_what_a_user_may_have(self, use, new_spec):
        assert await use.api.limits("alice") == use.fake.user_limits
        await use.api.check(Resources(), user="alice")
        with pytest.raises(SubmitRejected) as caught:
            await use.api.check(Resources(partition="none"), user="alice")
        assert caught.value.field == "partition"
        assert await use.api.estimate(new_spec(), user="alice") is not None

    async def test_a_scheduler_that_is_away_leaves_old_news(self, use, new_spec):
        record = await use.api.submit(new_spec(), user="alice", owner=OWNER)
        record = await use.api.wait(record.name, lambda r: r.status_is_current)
        use.fake.fail_next("status", times=5)
        await use.api.wait(record.name, lambda r: not r.status_is_current)
        assert use.api.get(record.name).live
