"""What a job starts, from its submission to its end: kept, handed out, erased."""

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from rigs.batch.rendezvous import NONCE, QUICK, Rig
from spawners.batch.errors import InvalidSpec, SubmitRejected
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs import migrations
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.store import JobStore
from spawners.batch.jobs.tables import launches
from spawners.batch.models import (
    LARGEST_LAUNCH,
    JobSpec,
    JobState,
    Launch,
    Resources,
    new_job_name,
)
from spawners.batch.rendezvous.launch import AGENT_VARIABLES, JobSideSettings
from spawners.batch.rendezvous.launches import StoredLaunches
from spawners.batch.rendezvous.messages import Refusal
from spawners.common.errors import DatabaseUnavailable
from spawners.node import agent

CANARY = "canary-of-the-launch"
LAUNCH = Launch(
    ("run", CANARY), {"TOKEN": CANARY}, {"program.py": f"# {CANARY} \u2603"}
)
OTHER = Launch(("other",), {"TOKEN": "another"})


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.launch = LAUNCH
    await rig.start()
    yield rig
    await rig.stop()


async def kept(rig):
    """Names of the jobs of which a launch is kept."""
    query = sa.select(launches.c.name)
    return set(await rig.store.read(lambda c: list(c.scalars(query))))


def started(answer):
    assert answer.status == 200, answer.json
    got = answer.json
    return Launch(tuple(got["argv"]), got["environment"], got["files"])


def refused(answer, refusal):
    assert answer == refusal.answer(), answer.json
    return True


# -- handed over -----------------------------------------------------------------------


async def test_a_job_gets_what_it_was_submitted_with_from_the_core_alone(rig):
    record, environment = await rig.submit()
    await rig.restart()  # nobody who submitted it is there any more
    assert started(await rig.fetch(record, environment)) == LAUNCH


async def test_every_task_of_a_set_gets_what_the_set_was_submitted_with(rig):
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
    owners = [f"cluster:alice/c/{n}" for n in range(3)]
    records = await rig.jobs.submit_set(
        spec, user="alice", owners=owners, launch=LAUNCH
    )
    environment = dict(rig.scheduler.spec(records[0].job).environment)
    assert "LANDBRIDGE_JOB" not in environment
    for number, record in enumerate(records):
        index = {"SLURM_ARRAY_TASK_ID": str(number)}
        assert agent.own_name({**environment}, index) == record.name
        assert agent.own_name({**environment, "LANDBRIDGE_TASK": str(number)}, {}) == (
            record.name
        )
        rig.run(record)
        first = await rig.fetch(record, environment)
        assert started(first) == LAUNCH
        assert (await rig.ready(record, first)).status == 200
        assert await kept(rig) == {other.name for other in records[number + 1 :]}


async def test_the_launch_of_a_set_is_no_other_jobs(rig):
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
    (task,) = await rig.jobs.submit_set(
        spec, user="alice", owners=["cluster:alice/c/0"], launch=LAUNCH
    )
    other, environment = await rig.submit()

    def move(connection):
        sealed = sa.select(launches.c.sealed).where(launches.c.name == task.name)
        row = launches.c.name == other.name
        moved = sa.update(launches).where(row).values(sealed=sealed.scalar_subquery())
        connection.execute(moved)

    await rig.store.transact(move)
    answer = await rig.fetch(other, environment)
    assert answer.status != 200
    assert CANARY not in str(answer.json)


async def test_a_fetch_again_before_it_is_ready_answers_the_same(rig):
    record, environment = await rig.submit()
    first = started(await rig.fetch(record, environment))
    await rig.restart()
    assert started(await rig.fetch(record, environment)) == first == LAUNCH


async def test_it_is_told_when_its_time_is_up(rig):
    record, environment = await rig.submit()
    ends = (await rig.jobs.wait(record.name, lambda r: r.status.nodes)).status.ends
    got = started(await rig.fetch(record, environment)).environment
    told = {} if ends is None else {"LANDBRIDGE_JOB_ENDS": ends.isoformat()}
    assert got == {**LAUNCH.environment, **told}


async def test_the_scheduler_learns_of_the_agent_only(rig):
    record, environment = await rig.submit()
    assert environment.keys() <= set(AGENT_VARIABLES)
    assert environment["LANDBRIDGE_JOB"] == record.name
    spec = rig.scheduler.spec(record.job)
    assert CANARY not in f"{spec.script}{dict(spec.environment)}{spec.comment}"
    assert set(environment) == set(AGENT_VARIABLES) - {
        "LANDBRIDGE_SET",
        "LANDBRIDGE_MUNGE_SOCKET",
        "LANDBRIDGE_MUNGE_UID",
        "LANDBRIDGE_PYTHON",
    }


async def test_an_intent_that_is_not_written_leaves_no_launch(rig):
    await rig.submit()
    assert len(await kept(rig)) == 1
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
    twice = JobStore(rig.store._database, "another keeper")
    jobs = Jobs(rig.scheduler, twice, launches=rig.launches)
    with pytest.raises(DatabaseUnavailable, match="server:alice/"):
        await jobs.submit(spec, user="alice", owner="server:alice/", launch=LAUNCH)
    await jobs.close()
    assert len(await kept(rig)) == 1


async def test_without_a_keeper_of_launches_none_is_taken(rig):
    jobs = Jobs(FakeScheduler(), rig.store)
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
    with pytest.raises(InvalidSpec, match="launch"):
        await jobs.submit(spec, user="alice", owner="server:alice/", launch=LAUNCH)
    await jobs.close()


# -- erased ----------------------------------------------------------------------------


async def test_it_is_erased_once_the_job_is_ready(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    assert await kept(rig) == {record.name}
    assert (await rig.ready(record, fetched)).status == 200
    assert await kept(rig) == set()
    assert not await rig.jobs.give_launch(record.name, OTHER)
    assert await kept(rig) == set()


@pytest.mark.parametrize("end", ["cancelled", "ended", "refused"])
async def test_it_is_erased_with_the_records_end(rig, end):
    if end == "refused":
        rig.scheduler.fail_next("submit", SubmitRejected("no"))
        with pytest.raises(SubmitRejected):
            await rig.submit()
        assert await kept(rig) == set()
        return
    record, _ = await rig.submit()
    if end == "cancelled":
        rig.scheduler.cancels_work = False
        await rig.jobs.cancel(record.name)
    else:
        rig.scheduler.move(record.job, JobState.COMPLETED)
        await rig.jobs.wait(record.name, lambda r: not r.live)
        await rig.jobs.note(record.name, "x", "so that all is written")
    assert await kept(rig) == set()


async def test_what_a_crash_or_another_version_left_is_erased_at_the_next_start(rig):
    record, _ = await rig.submit()
    waiting, _ = await rig.submit("server:bob/", "bob")
    rig.scheduler.move(record.job, JobState.COMPLETED)
    await rig.jobs.wait(record.name, lambda r: not r.live)
    await rig.stop()
    with sqlite3.connect(rig.directory / "jobs.sqlite") as database:
        row = (record.name, "left behind")
        database.execute(
            "INSERT OR REPLACE INTO landbridge_job_launches VALUES (?, ?)", row
        )
    database.close()
    await rig.start()
    async with asyncio.timeout(10):
        while await kept(rig) != {waiting.name}:
            await asyncio.sleep(0.01)


async def test_the_erased_leaves_nothing_in_the_file(rig):
    record, environment = await rig.submit()
    query = sa.select(launches.c.sealed)
    sealed = await rig.store.read(lambda connection: connection.scalar(query))
    fetched = await rig.fetch(record, environment)
    assert (await rig.ready(record, fetched)).status == 200
    await rig.stop()
    (file,) = rig.directory.glob("jobs.sqlite*")
    content = file.read_bytes()
    pieces = {sealed[at : at + 64] for at in range(0, len(sealed) - 64, 64)}
    assert pieces
    assert not any(piece.encode() in content for piece in pieces)
    await rig.start()


# -- closed to others ------------------------------------------------------------------


async def test_the_database_tells_nothing_without_the_key(rig):
    record, environment = await rig.submit()
    for path in rig.directory.glob("jobs.sqlite*"):
        content = path.read_bytes()
        for text in (CANARY, "program.py", NONCE):
            assert text.encode() not in content
    rig.secrets = [b"another key"]
    await rig.restart()
    assert refused(await rig.fetch(record, environment), Refusal.NOT_NOW)
    rig.secrets = [b"another key", b"key of launches"]
    await rig.restart()
    assert started(await rig.fetch(record, environment)) == LAUNCH


async def test_a_row_that_was_moved_to_another_job_is_of_no_use(rig):
    record, environment = await rig.submit()
    other, _ = await rig.submit("server:bob/", "bob")
    await rig.stop()
    with sqlite3.connect(rig.directory / "jobs.sqlite") as database:
        database.execute(
            "UPDATE landbridge_job_launches SET sealed = (SELECT sealed"
            " FROM landbridge_job_launches WHERE name = ?) WHERE name = ?",
            (other.name, record.name),
        )
    database.close()
    await rig.start()
    assert refused(await rig.fetch(record, environment), Refusal.NOT_NOW)


async def test_nothing_of_it_is_logged_or_shown(rig, caplog):
    caplog.set_level(logging.DEBUG)
    assert CANARY not in repr(LAUNCH)
    record, environment = await rig.submit()
    prepared = rig.launches.prepare(record.name, LAUNCH)
    assert CANARY not in repr(prepared)
    assert "LANDBRIDGE_TOKEN" not in repr(prepared)
    answer = await rig.fetch(record, environment)
    assert started(answer) == LAUNCH
    assert CANARY not in repr(answer)
    await rig.fetch(record, environment, proof="wrong")
    rig.secrets = [b"another key"]
    await rig.restart()
    await rig.fetch(record, environment)
    events = await rig.jobs.events(record.owner)
    assert CANARY not in caplog.text + repr(rig.jobs.get(record.name)) + repr(events)
    assert caplog.records


# -- bounds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        ((),),
        (("a\0",),),
        ((1,),),
        (("a",), {"A": "\0"}),
        (("a",), {"A": None}),
        (("a",), {"A=B": "x"}),
        (("a",), {"": "x"}),
        (("a",), {}, {"../x": ""}),
        (("a",), {}, {".profile": ""}),
        (("a",), {}, {"": ""}),
        (("a",), {}, {"x" * 129: ""}),
        (("a",), {}, {"x": "y" * LARGEST_LAUNCH}),
        (("a",), {}, {"x": "\1" * (LARGEST_LAUNCH // 6)}),
        (("a",), {"X": "y" * LARGEST_LAUNCH}),
    ],
)
def test_what_cannot_be_handed_over_is_refused_in_words(values):
    with pytest.raises(InvalidSpec, match=r"^launch: ") as caught:
        Launch(*values)
    assert "yyy" not in str(caught.value)


async def test_the_largest_launch_arrives(rig):
    rig.launch = Launch(("a",), {}, {"x": "y" * (LARGEST_LAUNCH - 100)})
    record, environment = await rig.submit()
    assert started(await rig.fetch(record, environment)) == rig.launch


# -- upgrade ---------------------------------------------------------------------------


def as_before(directory):
    """Bring the database into the form of the version that kept no launches."""
    engine = sa.create_engine(f"sqlite:///{directory}/jobs.sqlite")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    engine.dispose()


async def test_a_pending_job_of_the_version_before_gets_what_is_handed_in_later(rig):
    record, environment = await rig.submit(node=None)
    await rig.stop()
    as_before(rig.directory)
    await rig.start()
    rig.run(rig.jobs.get(record.name))
    await rig.jobs.wait(record.name, lambda r: r.status.nodes)
    assert refused(await rig.fetch(record, environment), Refusal.NO_LAUNCH)
    assert Refusal.NO_LAUNCH.answer().json["action"] == "retry"
    assert await rig.jobs.give_launch(record.name, LAUNCH)
    assert await rig.jobs.give_launch(record.name, LAUNCH)
    assert started(await rig.fetch(record, environment)) == LAUNCH


async def test_the_newest_that_is_handed_in_counts(rig):
    record, environment = await rig.submit()
    assert await rig.jobs.give_launch(record.name, OTHER)
    assert started(await rig.fetch(record, environment)) == OTHER


async def test_a_running_job_of_the_version_before_goes_on(rig):
    record, environment = await rig.submit()
    fetched = await rig.fetch(record, environment)
    await rig.stop()
    as_before(rig.directory)
    await rig.start()
    assert (await rig.ready(record, fetched)).status == 200


async def test_nothing_is_handed_in_for_a_job_that_nobody_knows(rig):
    with pytest.raises(UnknownJob):
        await rig.jobs.give_launch("lb-nobody", LAUNCH)


# -- PostgreSQL ------------------------------------------------------------------------


async def test_a_life_in_postgresql(postgresql_url, tmp_path):
    store = await JobStore.open(postgresql_url)
    ca = Rig(tmp_path).pki.hub_ca.certificate
    side = JobSideSettings("https://127.0.0.1:1/x", ca, proof="token")
    stored = StoredLaunches(store, [b"key"], side)
    jobs = Jobs(FakeScheduler(), store, QUICK, launches=stored)
    await jobs.start()
    spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
    record = await jobs.submit(spec, user="alice", owner="server:alice/", launch=LAUNCH)
    assert await stored.load(record.name) == LAUNCH
    assert await jobs.give_launch(record.name, OTHER)
    assert await stored.load(record.name) == OTHER
    await jobs.cancel(record.name)
    assert await stored.load(record.name) is None
    assert not await jobs.give_launch(record.name, OTHER)
    await jobs.close()
    await store.close()
