"""Long work: each task ends in a named phase, and a crash loses no step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.background.tasks import Phase, Progress, Tasks, tasks_table
from services.common.background.turns import FairSlots
from services.common.web.errors import NotThere, TooMany
from services.common.web.paging import PageQuery
from spawners.common.database import Database, open_engine
from spawners.common.errors import DatabaseUnavailable

METADATA = sa.MetaData()
TABLE = tasks_table("tasks", METADATA)


class Unlucky(Exception):
    """An error that users may read."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}", 5, what="database")
    found = Database(engine, "database")
    await found.run(METADATA.create_all)
    yield found
    await found.close()


class Worker:
    """A kind of task that counts to ten and can be held at a step."""

    def __init__(self, hold_at: int = -1) -> None:
        self.hold_at = hold_at
        self.held = asyncio.Event()
        self.go = asyncio.Event()
        self.steps: list[int] = []

    async def __call__(self, progress: Progress) -> None:
        for step in range(int(progress.task.cursor or 0), 10):
            if step == self.hold_at:
                self.held.set()
                await self.go.wait()
            self.steps.append(step)
            await progress.advance(cursor=str(step + 1), done=1, bytes_done=2)


async def fail(progress: Progress) -> None:
    raise Unlucky("the moon is full")


async def break_(progress: Progress) -> None:
    raise RuntimeError("secret of the implementation")


async def half(progress: Progress) -> None:
    await progress.advance(done=1, failures=({"key": "b", "message": "no"},))


def tasks(database: Database, worker: Worker, **more: int) -> Tasks:
    kinds = {"count": worker, "fail": fail, "break": break_, "half": half}
    errors = {Unlucky: (400, "unlucky")}
    return Tasks(database, TABLE, kinds, errors=errors, **more)


async def finished(found: Tasks, kind: str):
    task = await found.begin(kind, "alice", {"what": "ever\udcff"})
    await found.wait(task.id)
    return await found.get(task.id, "alice")


async def test_a_task_is_done_and_says_what_it_did(database):
    found = tasks(database, Worker())
    task = await finished(found, "count")
    assert (task.phase, task.done, task.bytes_done) == (Phase.DONE, 10, 20)
    assert task.facts == {"what": "ever\udcff"}


async def test_a_failure_is_told_and_a_bug_is_not(database):
    found = tasks(database, Worker())
    task = await finished(found, "fail")
    assert (task.phase, task.message) == (Phase.FAILED, "the moon is full")
    task = await finished(found, "break")
    assert task.phase is Phase.FAILED
    assert "secret" not in task.message
    task = await finished(found, "half")
    assert (task.phase, task.failed) == (Phase.FAILED, 1)
    assert task.failures == ({"key": "b", "message": "no"},)


async def test_a_new_process_goes_on_where_the_old_one_was(database):
    worker = Worker(hold_at=4)
    first = tasks(database, worker)
    task = await first.begin("count", "alice", {})
    await worker.held.wait()
    await first.close()
    again = Worker()
    second = tasks(database, again)
    await second.start()
    await second.wait(task.id)
    ended = await second.get(task.id, "alice")
    assert (ended.phase, ended.done) == (Phase.DONE, 10)
    assert worker.steps + again.steps == list(range(10))


async def test_a_cancel_holds_even_over_a_restart(database):
    worker = Worker(hold_at=4)
    first = tasks(database, worker)
    task = await first.begin("count", "alice", {})
    await worker.held.wait()
    assert (await first.cancel(task.id, "alice")).cancel_wanted
    await first.close()
    second = tasks(database, Worker())
    await second.start()
    await second.wait(task.id)
    assert (await second.get(task.id, "alice")).phase is Phase.CANCELLED


async def test_a_running_task_ends_at_its_next_step(database):
    worker = Worker(hold_at=4)
    found = tasks(database, worker)
    task = await found.begin("count", "alice", {})
    await worker.held.wait()
    await found.cancel(task.id, "alice")
    worker.go.set()
    await found.wait(task.id)
    ended = await found.get(task.id, "alice")
    assert (ended.phase, ended.done) == (Phase.CANCELLED, 5)


async def test_tasks_are_their_users_and_not_too_many(database):
    worker = Worker(hold_at=0)
    found = tasks(database, worker, per_user=2)
    task = await found.begin("count", "alice", {})
    await found.begin("count", "alice", {})
    with pytest.raises(TooMany):
        await found.begin("count", "alice", {})
    await found.begin("count", "bob", {})
    with pytest.raises(NotThere):
        await found.get(task.id, "bob")
    with pytest.raises(NotThere):
        await found.cancel(task.id, "bob")
    page = await found.page("alice", PageQuery())
    assert (len(page.entries), page.next) == (2, None)
    await found.close()


class Away(Database):
    """A database that can be away."""

    away = False
    asked = asyncio.Event()

    async def run(self, work):
        if self.away:
            self.asked.set()
            raise DatabaseUnavailable("The database did not take a call.")
        return await super().run(work)


async def test_a_task_that_a_database_away_ended_is_ended_once_it_is_back(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("services.common.background.tasks._FIRST_PAUSE", 0.01)
    database = Away(open_engine(f"sqlite:///{tmp_path / 'x'}", 5, what="d"), "d")
    await database.run(METADATA.create_all)
    worker = Worker(hold_at=4)
    found = tasks(database, worker, per_user=1)
    task = await found.begin("count", "alice", {})
    await worker.held.wait()
    database.away = True
    worker.go.set()
    for _ in range(3):  # its own step, and what would have ended it, twice
        database.asked.clear()
        await database.asked.wait()
    database.away = False
    await found.wait(task.id)
    ended = await found.get(task.id, "alice")
    assert (ended.phase, ended.done) == (Phase.FAILED, 5)
    await found.begin("half", "alice", {})  # it does not count any more
    await found.close()
    await database.close()


async def test_one_users_long_tasks_do_not_stop_those_of_others(database):
    worker = Worker(hold_at=0)
    found = tasks(database, worker, at_once=4)
    mine = [await found.begin("count", "alice", {}) for _ in range(5)]
    async with asyncio.timeout(10):
        assert (await finished_by(found, "bob")).phase is Phase.FAILED
    phases = [(await found.get(task.id, "alice")).phase for task in mine]
    assert phases == [Phase.RUNNING] * 2 + [Phase.WAITING] * 3
    worker.go.set()
    for task in mine:
        await found.wait(task.id)
        assert (await found.get(task.id, "alice")).phase is Phase.DONE


async def finished_by(found: Tasks, user: str):
    task = await found.begin("half", user, {})
    await found.wait(task.id)
    return await found.get(task.id, user)


async def test_a_task_that_waits_its_turn_is_cancelled_at_once(database):
    worker = Worker(hold_at=0)
    found = tasks(database, worker, at_once=1)
    first = await found.begin("count", "alice", {})
    await worker.held.wait()
    second = await found.begin("count", "alice", {})
    third = await found.begin("count", "bob", {})
    assert (await found.cancel(second.id, "alice")).phase is Phase.CANCELLED
    assert (await found.get(first.id, "alice")).phase is Phase.RUNNING
    worker.go.set()
    await found.wait(third.id)  # the place in the queue is given on
    assert (await found.get(third.id, "bob")).phase is Phase.DONE


async def test_turns_are_given_back_by_who_goes_away():
    turns = FairSlots(2, 1)
    going = asyncio.Event()

    async def go(user: str, name: str) -> str:
        async with turns.of(user, name):
            await going.wait()
        return name

    first, second, other = [
        asyncio.create_task(go(user, name))
        for user, name in (("alice", "1"), ("alice", "2"), ("bob", "3"))
    ]
    await asyncio.sleep(0)
    first.cancel()  # while it goes on
    await asyncio.wait([first])
    second.cancel()  # when it was just called
    await asyncio.wait([second])
    assert not turns.call_off("3", RuntimeError())  # it goes on
    last = asyncio.create_task(go("alice", "4"))
    late = asyncio.create_task(go("alice", "5"))
    await asyncio.sleep(0)
    assert turns.call_off("5", RuntimeError("not wanted"))
    going.set()
    assert await asyncio.gather(other, last) == ["3", "4"]
    with pytest.raises(RuntimeError, match="not wanted"):
        await late
