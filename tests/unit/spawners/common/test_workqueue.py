"""The reconciler's queue: one entry and one worker per key, some at a time."""

import asyncio
import time

import pytest

from spawners.common.workqueue import DelayQueue, Lane


@pytest.fixture
async def queue():
    return DelayQueue()


async def is_empty(queue):
    waiting = asyncio.create_task(queue.take())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    return not waiting.done()


async def test_keys_come_in_the_order_of_their_moments(queue):
    now = time.monotonic()
    for key, due in (("c", now - 1), ("a", float("-inf")), ("b", now - 2)):
        queue.put(key, due)
    assert [await queue.take() for _ in range(3)] == ["a", "b", "c"]


async def test_a_key_is_in_it_once_with_the_moment_that_was_said_last(queue):
    now = time.monotonic()
    for due in (now - 5, now + 3600, now - 1):
        queue.put("a", due)
    queue.put("b", now - 2)
    assert [await queue.take() for _ in range(2)] == ["b", "a"]
    assert await is_empty(queue)
    assert len(queue) == 0


async def test_a_key_that_is_put_off_is_not_taken(queue):
    queue.put("a", 0.0)
    queue.put("a", time.monotonic() + 3600)
    assert await is_empty(queue)
    queue.discard("a")
    assert len(queue) == 0


async def test_a_key_has_one_worker_at_a_time(queue):
    queue.put("a", 0.0)
    assert await queue.take() == "a"
    queue.put("a", 1.0)
    queue.put("a", 2.0)
    assert await is_empty(queue)
    queue.done("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert await is_empty(queue)


async def test_an_earlier_key_wakes_who_waits_for_a_later_one(queue):
    queue.put("late", time.monotonic() + 3600)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put("early", 0.0)
    assert await waiting == "early"


class Bench:
    """A lane whose work waits for a gate."""

    def __init__(self, **bounds):
        self.gate = asyncio.Event()
        self.begun, self.done = [], []
        self.lane = Lane(self.work, self.done.append, **bounds)

    async def work(self, keys):
        self.begun.append(list(keys))
        await self.gate.wait()
        if "bad" in keys:
            raise ZeroDivisionError


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lane_does_so_much_at_a_time_in_order():
    bench = Bench(at_once=2)
    for key in "abcd":
        bench.lane.add(key)
    await turns()
    assert bench.begun == [["a"], ["b"]]
    bench.gate.set()
    await turns()
    assert bench.begun == [["a"], ["b"], ["c"], ["d"]]
    assert bench.done == ["a", "b", "c", "d"]


async def test_what_comes_together_goes_together():
    bench = Bench(at_once=1, batch=3)
    for key in "abcde":
        bench.lane.add(key)
    bench.gate.set()
    await turns()
    assert bench.begun == [["a", "b", "c"], ["d", "e"]]


async def test_work_that_fails_gives_its_keys_back(caplog):
    bench = Bench(at_once=1)
    bench.lane.add("bad")
    bench.lane.add("good")
    bench.gate.set()
    await turns()
    assert bench.done == ["bad", "good"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_closed_lane_begins_nothing():
    bench = Bench(at_once=1)
    bench.lane.add("a")
    await turns()
    bench.lane.add("b")
    await bench.lane.close()
    await turns()
    assert bench.begun == [["a"]]
    assert bench.done == ["a"]
