"""Readers of a database wait for no writer, and write nothing."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
import sqlalchemy as sa

from spawners.common.database import Database, open_engine
from spawners.common.errors import DatabaseUnavailable

METADATA = sa.MetaData()
NUMBERS = sa.Table("numbers", METADATA, sa.Column("n", sa.Integer, primary_key=True))
COUNT = sa.select(sa.func.count()).select_from(NUMBERS)


@pytest.fixture
async def database(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}", 0.2, what="database")
    opened = Database(engine, "database")
    await opened.run(METADATA.create_all)
    await opened.run(lambda c: c.execute(sa.insert(NUMBERS), [{"n": 1}]))
    yield opened
    await opened.close()


@pytest.fixture
def other(tmp_path, database):
    """Another process's connection, as far as SQLite can tell."""
    path = tmp_path / "x.sqlite"
    opened = sqlite3.connect(
        path, isolation_level=None, timeout=0.2, check_same_thread=False
    )
    with closing(opened) as connection:
        yield connection


def count(connection):
    return connection.scalar(COUNT)


async def test_a_reader_does_not_wait_while_another_holds_the_write_lock(
    database, other
):
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO numbers VALUES (2)")
    began = time.monotonic()
    assert await database.read(count) == 1
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await database.run(count)  # may write, so it waits for its turn
    assert time.monotonic() - began >= 0.2
    other.execute("COMMIT")
    assert await database.read(count) == 2


async def test_a_writer_does_not_wait_for_a_reader(database, other):
    def work(connection):
        before = count(connection)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO numbers VALUES (2)")
        other.execute("COMMIT")
        return before, count(connection)

    assert await database.read(work) == (1, 1)  # one moment of all tables
    assert await database.read(count) == 2


async def test_what_only_reads_cannot_write(database):
    insert = sa.insert(NUMBERS)
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        await database.read(lambda c: c.execute(insert, [{"n": 2}]))
    await database.run(lambda c: c.execute(insert, [{"n": 3}]))
    assert await database.read(count) == 2
