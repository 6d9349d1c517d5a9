"""Work that is done again and again, slower while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.common.background.loops import Periodic
from spawners.common.errors import GatewayError


async def eventually(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.005)


class Work:
    """Counts what is done, and fails as it is told."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


async def test_it_is_done_at_once_and_again() -> None:
    work = Work()
    loop = Periodic("Counting", work, seconds=0.01)
    loop.start()
    await eventually(lambda: work.times >= 3)
    await loop.close()
    times = work.times
    await asyncio.sleep(0.05)
    assert work.times == times


async def test_who_wakes_it_does_not_wait() -> None:
    work = Work()
    loop = Periodic("Counting", work, seconds=3600)
    loop.start()
    await eventually(lambda: work.times == 1)
    loop.wake()
    await eventually(lambda: work.times == 2)
    await loop.close()


async def test_what_wakes_it_in_the_middle_is_not_lost() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        begun.set()
        await go_on.wait()

    loop = Periodic("Waiting", work, seconds=3600)
    loop.start()
    await begun.wait()
    loop.wake()
    go_on.set()
    await eventually(lambda: times == 2)
    await loop.close()


async def test_pauses_grow_with_failures_and_are_forgotten() -> None:
    work = Work(GatewayError("away"), RuntimeError("a bug"), GatewayError("away"))
    loop = Periodic("Asking", work, seconds=2.0, longest_seconds=7.0)
    assert [await loop._once() for _ in range(4)] == [2.0, 4.0, 7.0, 2.0]
    assert loop.failures == 0


async def test_one_that_never_began_can_be_closed() -> None:
    await Periodic("Nothing", Work(), seconds=1).close()
