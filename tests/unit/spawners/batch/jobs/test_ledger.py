"""Promises and notes about one record do not undo each other."""

import asyncio
from dataclasses import replace

import pytest

from spawners.batch.jobs.ledger import Ledger
from spawners.batch.jobs.reconciler.examples import (
    ADDRESS,
    FAILURE,
    MOMENT,
    OVER,
    RECORDS,
    RUNNING,
    UNTIL,
)
from spawners.batch.jobs.record import Address, IllegalTransition, Phase, Situation
from spawners.batch.jobs.store import JobStore
from spawners.common.errors import DatabaseUnavailable

pytestmark = pytest.mark.usefixtures("deadline")

POLLED = RECORDS[Situation.POLLED][0]
NAME = POLLED.name


@pytest.fixture
async def store(store_url):
    store = await JobStore.open(store_url)
    yield store
    await store.close()


@pytest.fixture
async def ledger(store):
    ledger = Ledger(store)
    await ledger.insert_all([POLLED])
    return ledger


@pytest.fixture
def gate(store, monkeypatch):
    """Let writes wait until they may; they can be made to fail."""

    class Gate:
        def __init__(self):
            self.open = asyncio.Event()
            self.reached = asyncio.Event()
            self.error = None

        async def save(self, changes):
            self.reached.set()
            await self.open.wait()
            if self.error is not None:
                raise self.error
            await real(changes)

    real = store.save
    gate = Gate()
    monkeypatch.setattr(store, "save", gate.save)
    return gate


async def stored(store):
    return (await store.get(NAME)).record


def request_end(record):
    return record.cancel_requested(MOMENT)


async def test_a_promise_is_on_disk_before_anybody_sees_it(ledger, store, gate):
    promise = asyncio.create_task(ledger.promise(NAME, request_end))
    await gate.reached.wait()
    assert ledger.get(NAME).cancel_wanted is None
    gate.open.set()
    assert (await promise).cancel_wanted == MOMENT
    assert (await stored(store)).cancel_wanted == MOMENT


async def test_a_promise_that_cannot_be_written_changes_nothing(ledger, store, gate):
    gate.error = DatabaseUnavailable("full")
    gate.open.set()
    with pytest.raises(DatabaseUnavailable):
        await ledger.promise(NAME, request_end)
    assert ledger.get(NAME) == POLLED
    assert ledger.unsaved == 0


async def test_a_note_is_true_at_once_and_written_soon(ledger, store):
    running = asyncio.create_task(ledger.run())
    ledger.note(NAME, lambda record: record.read(RUNNING))
    assert ledger.get(NAME).status == RUNNING
    while (await stored(store)).status != RUNNING:
        await asyncio.sleep(0)
    running.cancel()


async def test_a_note_during_a_promise_keeps_both(ledger, store, gate):
    promise = asyncio.create_task(ledger.promise(NAME, request_end))
    await gate.reached.wait()
    ledger.note(NAME, lambda record: record.read(RUNNING))
    gate.open.set()
    await promise
    await ledger.flush()
    for record in (ledger.get(NAME), await stored(store)):
        assert record.status == RUNNING
        assert record.cancel_wanted == MOMENT


async def test_what_ended_while_its_end_was_requested_ended_by_itself(
    ledger, store, gate
):
    promise = asyncio.create_task(ledger.promise(NAME, request_end))
    await gate.reached.wait()
    ledger.note(NAME, lambda record: record.ended(OVER, FAILURE, UNTIL))
    gate.open.set()
    record = await promise
    assert record.phase is Phase.ENDED
    await ledger.flush()
    for record in (ledger.get(NAME), await stored(store)):
        assert record.phase is Phase.ENDED
        assert record.failure == FAILURE
        assert record.cancel_wanted is None


async def test_promises_about_one_record_are_made_one_after_the_other(
    ledger, store, gate
):
    other = Address("n02", "10.0.0.2", 40000)
    promises = [
        asyncio.create_task(ledger.promise(NAME, lambda record: record.ready(ADDRESS))),
        asyncio.create_task(ledger.promise(NAME, lambda record: record.ready(other))),
        asyncio.create_task(ledger.promise(NAME, request_end)),
        asyncio.create_task(ledger.promise(NAME, request_end)),
    ]
    gate.open.set()
    first, second, *_ = await asyncio.gather(*promises, return_exceptions=True)
    assert first.address == ADDRESS
    assert isinstance(second, IllegalTransition)
    assert second.record.address == ADDRESS
    events = await store.events(NAME)
    assert [event.kind for event in events] == ["ready", "cancelling"]
    assert await stored(store) == ledger.get(NAME)


async def test_promises_about_many_are_kept_together(ledger, store):
    other = replace(POLLED, name="lb-other", owner="server:bob/")
    await ledger.insert_all([other])
    with pytest.raises(IllegalTransition):
        await ledger.promise_all(
            [NAME, "lb-other"],
            lambda record: (
                record.ready(ADDRESS) if record.name == NAME else record.search_over()
            ),
        )
    assert ledger.get(NAME).address is None
    one, two = await ledger.promise_all(["lb-other", NAME], request_end)
    assert (one.name, two.name) == ("lb-other", NAME)
    assert one.cancel_wanted == two.cancel_wanted == MOMENT


async def test_crossing_promises_about_many_end(ledger):
    await ledger.insert_all([replace(POLLED, name="lb-other", owner="server:bob/")])
    names = [NAME, "lb-other"]
    await asyncio.gather(
        *(ledger.promise_all(order, request_end) for order in (names, names[::-1]) * 5)
    )


async def test_a_caller_that_goes_away_does_not_part_memory_from_disk(
    ledger, store, gate
):
    promise = asyncio.create_task(ledger.promise(NAME, request_end))
    await gate.reached.wait()
    promise.cancel()
    with pytest.raises(asyncio.CancelledError):
        await promise
    gate.open.set()
    await ledger.settle()
    assert ledger.get(NAME).cancel_wanted == MOMENT
    assert (await stored(store)).cancel_wanted == MOMENT


async def test_notes_that_could_not_be_written_are_written_later(ledger, store, gate):
    gate.error = DatabaseUnavailable("full")
    gate.open.set()
    ledger.note(NAME, lambda record: record.read(RUNNING))
    ledger.note(NAME, lambda record: record.noted("server", "One"))
    assert not await ledger.flush()
    assert ledger.unsaved == 1
    ledger.note(NAME, lambda record: record.noted("server", "Two"))
    gate.error = None
    assert await ledger.flush()
    assert ledger.unsaved == 0
    assert [event.message for event in await store.events(NAME)] == ["One", "Two"]
    assert (await stored(store)).status == RUNNING


async def test_an_illegal_note_changes_nothing(ledger, store):
    with pytest.raises(IllegalTransition):
        ledger.note(NAME, lambda record: record.search_over())
    assert ledger.get(NAME) == POLLED
    assert ledger.unsaved == 0
