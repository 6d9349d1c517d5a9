"""A way to the jobs service that loses, halves, doubles, delays and reorders."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from rigs.services.jobs import QUICK
from services.common.web import event_writer
from spawners.batch.errors import BatchError
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.record import Phase
from spawners.batch.jobs.service_client import RemoteSettings, ServiceAway
from spawners.batch.jobs.wire import NameUsed
from spawners.batch.models import JobState

OWNER = "server:alice/"
HARM = ["refuse", "lose", "half", "double"]


def ended(record):
    return not record.live


async def eventually(fact):
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.01)


def phases(api):
    return {record.name: record.phase for record in api.records(live_only=False)}


@pytest.fixture
async def api(rig, meddler):
    """A client that comes by the proxy."""
    return await rig.client(socket=meddler.path)


class TestRequests:
    @pytest.mark.parametrize("harm", HARM)
    @pytest.mark.parametrize("times", [1, 3])
    async def test_one_life_however_its_requests_fare(
        self, rig, meddler, api, new_spec, harm, times
    ):
        def hurt():
            meddler.orders.extend([harm] * times)

        spec = new_spec()
        hurt()
        record = await api.submit(spec, user="alice", owner=OWNER)
        assert [job.name for job in rig.scheduler.live()] == [spec.name]
        hurt()
        event = await api.note(record.name, "route", "It is set")
        hurt()
        story = await api.events(OWNER)
        assert story.count(event) == 1
        assert [e.kind for e in story].count("route") == 1
        hurt()
        assert await api.limits("alice") == rig.scheduler.user_limits
        hurt()
        await api.give_up(record.name, Failure("No use"))
        record = await api.wait(record.name, ended)
        assert record.failure == Failure("No use")
        hurt()
        await api.cancel(record.name)
        assert rig.scheduler.live() == []
        assert rig.scheduler.calls["submit"] == 1

    @pytest.mark.parametrize("harm", HARM)
    async def test_a_refusal_is_the_same_when_it_is_asked_for_again(
        self, meddler, api, new_spec, harm
    ):
        await api.submit(new_spec(), user="alice", owner=OWNER)
        meddler.orders.append(harm)
        spec = new_spec(workdir="/elsewhere")
        with pytest.raises(BatchError, match="already has the job"):
            await api.submit(spec, user="alice", owner=OWNER)

    async def test_a_service_that_is_away_for_long_is_said_to_be(
        self, rig, meddler, new_spec
    ):
        short = RemoteSettings(patience=timedelta(seconds=0.3))
        api = await rig.client(socket=meddler.path, settings=short)
        meddler.orders.extend(["refuse"] * 20)
        spec = new_spec()
        with pytest.raises(ServiceAway):
            await api.submit(spec, user="alice", owner=OWNER)

    async def test_what_was_given_up_ends_when_it_arrives_after_all(
        self, rig, meddler, new_spec
    ):
        short = RemoteSettings(
            patience=timedelta(seconds=0.2), answer_within=timedelta(seconds=0.3)
        )
        api = await rig.client(socket=meddler.path, settings=short)
        meddler.orders.extend(["late"])
        spec = new_spec()
        with pytest.raises(ServiceAway):
            await api.submit(spec, user="alice", owner=OWNER)
        # The end that was asked for in the background has arrived by now; then comes
        # the submission that was on its way.
        await eventually(lambda: any("DELETE" in line for line in meddler.seen))
        await asyncio.sleep(0.1)
        await meddler.deliver()
        await eventually(lambda: rig.scheduler.live() == [])
        hub = await rig.client()
        with pytest.raises(NameUsed):
            await hub.submit(spec, user="alice", owner=OWNER)
        assert rig.scheduler.live() == []

    async def test_an_end_that_overtakes_its_submission_holds(
        self, rig, meddler, api, new_spec
    ):
        spec = new_spec()
        meddler.orders.append("late")
        submission = asyncio.create_task(api.submit(spec, user="alice", owner=OWNER))
        await eventually(lambda: any("PUT" in line for line in meddler.seen))
        await api.cancel(spec.name)
        await meddler.deliver()
        with pytest.raises(NameUsed):
            await submission
        assert rig.scheduler.live() == []
        assert rig.scheduler.calls["submit"] == 0

    async def test_requests_that_arrive_in_another_order_have_the_same_end(
        self, rig, meddler, api, new_spec
    ):
        specs = [new_spec() for _ in range(4)]
        meddler.orders.extend(["late"] * 4)
        tasks = [
            asyncio.create_task(
                api.submit(spec, user="alice", owner=f"{OWNER}{number}")
            )
            for number, spec in enumerate(specs)
        ]
        await eventually(lambda: sum("PUT" in line for line in meddler.seen) >= 4)
        await meddler.deliver()
        records = await asyncio.gather(*tasks)
        assert {record.name for record in records} == {spec.name for spec in specs}
        assert len(rig.scheduler.live()) == 4
        assert await api.cancel_owned(OWNER) == 4
        await eventually(lambda: rig.scheduler.live() == [])


class TestTheMirror:
    async def test_a_mirror_that_was_cut_off_says_so_and_ends_nothing(
        self, rig, api, new_spec
    ):
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        await api.wait(record.name, lambda r: r.status_is_current)
        await rig.stop()
        await eventually(lambda: not api.get(record.name).status_is_current)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert api.get(record.name).live
            assert not api.get(record.name).status_is_current
        await rig.start()
        await api.wait(record.name, lambda r: r.status_is_current)

    async def test_what_happened_meanwhile_is_learned(
        self, rig, meddler, api, new_spec
    ):
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        other = await rig.client()
        for state in (JobState.RUNNING, JobState.SUSPENDED, JobState.RUNNING):
            meddler.cut()
            rig.scheduler.move(record.job, state, node="n01")
            await other.wait(record.name, lambda r, s=state: r.status.state is s)
            await api.wait(record.name, lambda r, s=state: r.status.state is s)
        meddler.cut()
        await other.cancel(record.name)
        assert (await api.wait(record.name, ended)).phase is Phase.ENDED

    @pytest.mark.parametrize("how", ["stop", "kill"])
    async def test_a_new_service_is_listed_anew(self, rig, api, new_spec, how):
        kept = await api.submit(new_spec(), user="alice", owner=OWNER)
        gone = await api.submit(new_spec(), user="bob", owner="server:bob/")
        await getattr(rig, how)()
        await rig.start()
        hub = await rig.client()
        await hub.cancel(gone.name)
        await hub.wait(gone.name, ended)
        newest = await hub.submit(new_spec(), user="bob", owner="server:bob/")
        await eventually(lambda: api.current("server:bob/").name == newest.name)
        assert api.get(kept.name).live
        await eventually(lambda: phases(api) == phases(hub))
        assert len(rig.scheduler.live()) == 2

    async def test_a_stream_that_says_nothing_is_taken_for_cut_off(
        self, rig, meddler, new_spec
    ):
        silent = replace(QUICK, silence=timedelta(seconds=0.3))
        api = await rig.client(socket=meddler.path, settings=silent)
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        await eventually(lambda: not api.get(record.name).status_is_current)
        assert api.get(record.name).live
        watches = sum("/v1/watch" in line for line in meddler.seen)
        await eventually(
            lambda: sum("/v1/watch" in line for line in meddler.seen) > watches
        )

    async def test_a_slow_reader_gets_what_is_true_now(self, rig, api, new_spec):
        """And holds up nobody: of each record only the newest change is kept."""
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        before = rig.service.feed.revision
        for _ in range(50):
            await api.note(record.name, "line", "x" * 1000)
        assert rig.service.feed.revision > before + 40
        assert len(rig.service.feed.after(before)) == 1

    async def test_a_reader_that_takes_nothing_is_hung_up_on(
        self, rig, api, new_spec, monkeypatch
    ):
        monkeypatch.setattr(event_writer, "_SLOWEST_SECONDS", 0.2)
        token = rig.tokens.file_of("hub").read_text().strip()
        feed = rig.service.feed
        _, writer = await asyncio.open_unix_connection(rig.socket, limit=1)
        writer.write(
            f"GET /v1/watch?after={feed.epoch}-{feed.revision} HTTP/1.0\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        for number in range(40):
            facts = {"fact": "x" * 100_000}
            owner = f"{OWNER}{number}"
            await api.submit(new_spec(), user="alice", owner=owner, facts=facts)
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.05)
        writer.close()
        # Who reads goes on.
        await eventually(lambda: len(api.records()) == 40)

    async def test_what_is_dropped_is_not_brought_back_by_a_late_answer(
        self, rig, meddler, api, new_spec
    ):
        first = await api.submit(new_spec(), user="alice", owner=OWNER)
        revision = rig.service.feed.revision
        entry = replace(rig.service.feed.entry(first), revision=revision)
        api._drop(first.name, revision + 1)
        api._put(entry)
        assert api.get(first.name) is None

    async def test_what_was_dropped_long_ago_is_listed_again(self, rig, api, new_spec):
        feed = rig.service.feed
        assert feed.knows(feed.epoch, 0)
        feed._oldest = feed.revision = 7
        assert not feed.knows(feed.epoch, 6)
        assert feed.knows(feed.epoch, 7)
        assert not feed.knows("another", 7)
        assert not feed.knows(feed.epoch, 8)


class TestDeaths:
    @pytest.mark.parametrize("method", ["submit", "check"])
    async def test_a_service_that_dies_while_it_submits(
        self, rig, api, new_spec, method
    ):
        """The client asks the next one, and there is one job."""
        spec = new_spec()
        async with rig.dies_in(method):
            submission = asyncio.create_task(
                api.submit(spec, user="alice", owner=OWNER)
            )
        try:
            record = await submission
        except BatchError:
            record = None  # it was given up: then there is none, ever
        await eventually(
            lambda: len(rig.scheduler.live()) == (record is not None and record.live)
        )
        if record is not None:
            assert record.name == spec.name
            await api.cancel(spec.name)
        await eventually(lambda: rig.scheduler.live() == [])

    async def test_an_end_that_was_asked_for_survives_a_death(self, rig, api, new_spec):
        rig.scheduler.cancels_work = False
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        await api.cancel(record.name)
        await rig.kill()
        rig.scheduler.cancels_work = True
        await rig.start()
        await api.wait(record.name, ended)
        assert rig.scheduler.live() == []

    async def test_the_same_request_after_a_death_is_the_same_job(self, rig, new_spec):
        hub = await rig.client(settings=QUICK)
        spec = new_spec()
        first = await hub.submit(spec, user="alice", owner=OWNER)
        await rig.kill()
        await rig.start()
        again = await hub.submit(spec, user="alice", owner=OWNER)
        assert again.job == first.job
        assert rig.scheduler.calls["submit"] == 1

    async def test_a_name_without_a_job_stays_refused_after_a_death(
        self, rig, new_spec
    ):
        hub = await rig.client()
        spec = new_spec()
        with pytest.raises(UnknownJob):
            await hub.cancel(spec.name)
        await rig.kill()
        await rig.start()
        with pytest.raises(NameUsed):
            await hub.submit(spec, user="alice", owner=OWNER)
        assert rig.scheduler.calls["submit"] == 0

    async def test_a_line_that_is_sent_again_after_a_death_is_there_once(
        self, rig, meddler, api, new_spec
    ):
        """The request arrived, its answer did not, and the next process knows it."""
        record = await api.submit(new_spec(), user="alice", owner=OWNER)
        meddler.orders.append("lose")
        line = asyncio.create_task(api.note(record.name, "route", "Set", port=1))
        await eventually(lambda: any("/events" in seen for seen in meddler.seen))
        while not [
            e for e in await rig.service.jobs.events(OWNER) if e.message == "Set"
        ]:
            await asyncio.sleep(0.01)
        await rig.kill()
        await rig.start()
        event = await line
        assert (event.message, event.data) == ("Set", {"port": 1})
        story = await api.events(OWNER)
        assert [e for e in story if e.kind == "route"] == [event]
        other = await api.note(record.name, "route", "Set", port=1)
        assert other.seq > event.seq, "another request is another line"
