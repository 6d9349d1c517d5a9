"""The job store keeps what it was given, and says so when it cannot."""

import asyncio
import sqlite3
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from spawners.batch.explain.failure import Failure
from spawners.batch.explain.vocabulary import SERVER, Vocabulary
from spawners.batch.jobs.record import (
    Address,
    JobEvent,
    JobRecord,
    Phase,
    Retain,
    utc_now,
)
from spawners.batch.jobs.store import Change, JobStore, OwnerTaken
from spawners.batch.jobs.tables import VERSION_TABLE, jobs, metadata
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources, new_job_name
from spawners.common.errors import DatabaseIncompatible, DatabaseUnavailable

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def make_record(owner="server:alice/", generation=1, **fields):
    values = {
        "name": new_job_name(),
        "owner": owner,
        "generation": generation,
        "user": "alice",
        "phase": Phase.INTENT,
        "resources": Resources(cpus=2, gpus=1, time_limit=timedelta(hours=2)),
        "created": utc_now(),
        "updated": utc_now(),
    }
    return JobRecord(**(values | fields))


def full_record():
    now = utc_now()
    return make_record(
        phase=Phase.ENDED,
        facts={"profile": "gpu", "path": "/home/älice/'; DROP TABLE x; --"},
        output="/home/alice/%j.log",
        job=BatchJob("12", "lb-x", "alice", 1001, now, "cluster"),
        status=JobStatus(
            JobState.FAILED, "None", 1, 9, ("n01", "n02"), started=now, restarts=2
        ),
        status_is_current=True,
        address=Address("n01", "10.0.0.1", 40000, "ab" * 32),
        cancel_wanted=now,
        failure=Failure("Out of memory", "4 GB", "Try 8 GB.", "log\n☃"),
        search_until=now,
        vocabulary=Vocabulary("worker", "Dask"),
        retain=Retain.NONE,
    )


def mode(url):
    return stat.S_IMODE(Path(url.removeprefix("sqlite:///")).stat().st_mode)


def event(record, seq, message="hello", **data):
    return JobEvent(record.name, seq, utc_now(), "queued", message, data)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, store_url):
    if request.param == "sqlite":
        return store_url
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
async def store(url):
    store = await JobStore.open(url, timeout_seconds=0.5)
    yield store
    await store.close()


async def test_a_record_comes_back_as_it_was(store):
    record = full_record()
    await store.insert_all([record])
    await store.save(
        [
            Change(
                record,
                events=(event(record, 1), event(record, 2, place=3, at=None)),
            )
        ]
    )
    (stored,) = await store.load()
    assert stored.record == record
    assert stored.last_seq == 2
    first, second = await store.events(record.name)
    assert second.data == {"place": 3, "at": None}
    assert await store.events(record.name, after=1) == [second]
    assert first.at.tzinfo is not None


async def test_an_event_is_found_by_the_request_that_it_came_by(store):
    record = full_record()
    kept = replace(event(record, 2), key="abc")
    await store.insert_all([record])
    await store.save([Change(record, events=(event(record, 1), kept))])
    assert await store.event_by(record.name, "abc") == kept
    assert await store.event_by(record.name, "abd") is None
    assert await store.event_by("lb-other", "abc") is None


async def test_records_survive_a_new_connection(store, url):
    record = full_record()
    await store.insert_all([record])
    again = await JobStore.open(url)
    stored = await again.get(record.name)
    await again.close()
    assert stored is not None
    assert stored.record == record


async def test_an_owner_has_one_live_record(store):
    await store.insert_all([make_record()])
    with pytest.raises(OwnerTaken):
        await store.insert_all([make_record(generation=2)])
    assert len(await store.load()) == 1


async def test_a_generation_is_never_used_twice(store):
    await store.insert_all([make_record(phase=Phase.REFUSED)])
    with pytest.raises(OwnerTaken):
        await store.insert_all([make_record(phase=Phase.INTENT)])
    await store.insert_all([make_record(generation=2)])


async def test_a_change_writes_its_fields_and_no_others(store):
    record = make_record(phase=Phase.SUBMITTED)
    await store.insert_all([record])
    wish = replace(record, cancel_wanted=utc_now())
    await store.save([Change(wish, frozenset({"cancel_wanted"}), (event(record, 1),))])
    ready = replace(record, address=Address("n01", "::1", 5000))
    await store.save([Change(ready, frozenset({"address"}))])
    stored = await store.get(record.name)
    assert stored.record.cancel_wanted == wish.cancel_wanted
    assert stored.record.address == ready.address
    assert stored.last_seq == 1


async def test_changes_are_written_together_or_not_at_all(store):
    record = make_record()
    await store.insert_all([record])
    await store.save([Change(record, events=(event(record, 1),))])
    ended = replace(record, phase=Phase.ENDED)
    twice = (event(record, 2), event(record, 1))
    with pytest.raises(DatabaseUnavailable):
        await store.save([Change(ended, frozenset({"phase"}), twice)])
    assert (await store.get(record.name)).record.phase is Phase.INTENT
    assert [e.seq for e in await store.events(record.name)] == [1]


async def test_loading_skips_old_closed_records(store):
    old = make_record(phase=Phase.ENDED)
    twin = make_record(generation=2, phase=Phase.REFUSED, search_until=utc_now())
    newest = make_record(generation=3, phase=Phase.ENDED)
    for record in (old, twin, newest):
        await store.insert_all([record])
    assert [s.record for s in await store.load()] == [twin, newest]
    assert (await store.get(old.name)).record == old
    assert await store.name_of(old.owner, 1) == old.name
    assert await store.name_of(old.owner, 9) is None


async def test_keepers_do_not_see_each_other_but_share_owners(store, url):
    await store.insert_all([make_record()])
    other = await JobStore.open(url, keeper="clusters")
    try:
        assert await other.load() == []
        with pytest.raises(OwnerTaken):
            await other.insert_all([make_record(generation=2)])
    finally:
        await other.close()


async def test_pruning_keeps_the_open_the_young_and_the_newest(store):
    def old(**fields):
        return make_record(created=LONG_AGO, updated=LONG_AGO, **fields)

    gone = old(generation=1, phase=Phase.ENDED)
    kept = [
        old(generation=2, phase=Phase.REFUSED, search_until=LONG_AGO),
        make_record(generation=3, phase=Phase.ENDED),
        old(generation=4, phase=Phase.ENDED),
        old(owner="server:bob/", phase=Phase.SUBMITTED),
    ]
    for record in (gone, *kept):
        await store.insert_all([record])
        await store.save([Change(record, events=(event(record, 1),))])
    assert await store.prune(utc_now() - timedelta(days=30)) == 1
    assert await store.get(gone.name) is None
    assert await store.events(gone.name) == []
    for record in kept:
        assert (await store.get(record.name)).record == record
        assert len(await store.events(record.name)) == 1


async def test_times_keep_their_moment_whatever_their_zone(store):
    east = datetime(2026, 3, 29, 12, tzinfo=timezone(timedelta(hours=5)))
    record = make_record(cancel_wanted=east)
    await store.insert_all([record])
    read = (await store.get(record.name)).record.cancel_wanted
    assert read == east
    assert read.utcoffset() == timedelta(0)


async def test_calls_are_done_in_their_order(store):
    record = make_record()
    await store.insert_all([record])
    changes = [
        store.save([Change(record, frozenset(), (event(record, n, f"line {n}"),))])
        for n in range(1, 30)
    ]
    await asyncio.gather(*changes)
    assert [e.seq for e in await store.events(record.name)] == list(range(1, 30))


async def test_the_migrations_make_the_tables_that_the_code_uses(store):
    def difference(connection):
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "include_name": lambda name, kind, _: (
                    kind != "table" or str(name).startswith("landbridge_job")
                ),
            },
        )
        return compare_metadata(context, metadata)

    assert await store.transact(difference) == []


async def test_a_row_of_an_earlier_release_is_a_servers_and_kept(store):
    record = make_record()
    await store.insert_all([record])
    await store.transact(
        lambda c: c.execute(sa.text("UPDATE landbridge_jobs SET vocabulary = NULL"))
    )
    (stored,) = await store.load()
    assert stored.record == replace(record, vocabulary=SERVER)
    assert stored.record.retain is Retain.NEWEST


async def test_opening_twice_changes_nothing(store, url):
    record = make_record()
    await store.insert_all([record])
    await (await JobStore.open(url)).close()
    assert len(await store.load()) == 1


async def test_a_database_of_a_newer_release_is_refused_untouched(store, url):
    def pretend(connection):
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))

    await store.transact(pretend)
    with pytest.raises(DatabaseIncompatible, match="not of this release"):
        await JobStore.open(url)


async def test_a_record_of_an_earlier_release_is_read(store):
    record = full_record()
    await store.insert_all([record])

    def age(connection):  # resources had an array's size
        column = jobs.c.resources
        old = sa.func.replace(column, "{", '{"array_size":null,')
        connection.execute(sa.update(jobs).values(resources=old))

    await store.transact(age)
    assert (await store.get(record.name)).record == record


async def test_a_damaged_record_is_told_as_such(store):
    record = make_record()
    await store.insert_all([record])
    await store.transact(
        lambda c: c.execute(sa.text("UPDATE landbridge_jobs SET status = '{\"a\"'"))
    )
    with pytest.raises(DatabaseIncompatible, match="damaged"):
        await store.load()


async def test_a_lock_of_somebody_else_is_waited_for_not_for_ever(store_url):
    store = await JobStore.open(store_url, timeout_seconds=0.2)
    record = make_record()
    other = sqlite3.connect(store_url.removeprefix("sqlite:///"))
    try:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            await store.insert_all([record])
        other.rollback()
        await store.insert_all([record])
    finally:
        other.close()
        await store.close()


async def test_a_lock_in_postgresql_is_waited_for_not_for_ever(postgresql_url):
    store = await JobStore.open(postgresql_url, timeout_seconds=0.2)
    record = make_record()
    engine = sa.create_engine(postgresql_url)
    try:
        with engine.connect() as other:
            other.execute(sa.text("LOCK TABLE landbridge_jobs"))
            with pytest.raises(DatabaseUnavailable, match="lock timeout"):
                await store.insert_all([record])
        await store.insert_all([record])
    finally:
        engine.dispose()
        await store.close()


async def test_a_connection_that_was_cut_is_made_anew(postgresql_url):
    store = await JobStore.open(postgresql_url)
    try:
        await store.insert_all([make_record()])
        engine = sa.create_engine(postgresql_url)
        with engine.connect() as other:
            other.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid != pg_backend_pid() AND datname = current_database()"
                )
            )
        engine.dispose()
        assert len(await store.load()) == 1
    finally:
        await store.close()


async def test_a_full_disk_changes_nothing_and_ends_with_the_fullness(store_url):
    store = await JobStore.open(store_url)

    def limit(pages):
        return lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    try:
        await store.transact(limit(1))
        record = make_record(facts={"x": "y" * 200_000})
        with pytest.raises(DatabaseUnavailable, match="full"):
            await store.insert_all([record])
        await store.transact(limit(100_000))
        assert await store.load() == []
        await store.insert_all([record])
    finally:
        await store.close()


async def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "x.sqlite"
    path.write_text("precious " * 1000)
    with pytest.raises(DatabaseIncompatible, match="damaged"):
        await JobStore.open(f"sqlite:///{path}")
    assert path.read_text() == "precious " * 1000


async def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        await JobStore.open(f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite'}")


async def test_the_file_is_its_owners_alone_and_commits_are_durable(store_url):
    store = await JobStore.open(store_url)
    try:
        assert mode(store_url) == 0o600

        def pragma(name):
            return lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert await store.transact(pragma("journal_mode")) == "wal"
        assert await store.transact(pragma("synchronous")) == 2
    finally:
        await store.close()


async def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(DatabaseUnavailable):
        await JobStore.open(
            "postgresql+psycopg://nobody@127.0.0.1:1/none", timeout_seconds=1
        )
