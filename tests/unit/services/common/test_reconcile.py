"""Keys that are looked at when they were woken: none lost, none twice at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from services.common.background.reconcile import Reconciler
from spawners.common.errors import GatewayError


async def eventually(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.005)


class World:
    """What is wanted and what there is, by key, with work that can be made to fail."""

    def __init__(self) -> None:
        self.wanted: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()
        self.busy: set[str] = set()
        self.most_busy = 0
        self.fails: Callable[[str], bool] = lambda key: False
        self.again: float | None = None
        self.reconciler = Reconciler(
            "Thing", self.work, at_once=4, settle_seconds=0, first_pause=0.02
        )

    async def work(self, key: str) -> float | None:
        assert key not in self.busy, "twice at once"
        self.busy.add(key)
        self.most_busy = max(self.most_busy, len(self.busy))
        self.looks[key] += 1
        wanted = self.wanted[key]
        await asyncio.sleep(random.random() / 200)
        self.busy.discard(key)
        if self.fails(key):
            raise GatewayError("away")
        self.there[key] = wanted
        return self.again


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.reconciler.start()
    yield world
    await world.reconciler.close()


async def test_what_is_wanted_last_is_there_in_the_end(world: World) -> None:
    keys = [f"key-{number}" for number in range(20)]
    world.fails = lambda key: random.random() < 0.2
    for _ in range(300):
        key = random.choice(keys)
        world.wanted[key] += 1
        world.reconciler.wake(key)
        if random.random() < 0.3:
            await asyncio.sleep(random.random() / 500)
    await eventually(lambda: world.there == world.wanted)
    assert world.most_busy <= 4


async def test_many_wakes_are_one_look(world: World) -> None:
    for _ in range(1000):
        world.reconciler.wake("key")
    await eventually(lambda: world.looks["key"])
    await asyncio.sleep(0.05)
    assert world.looks["key"] == 1


async def test_the_soonest_wake_counts(world: World) -> None:
    world.reconciler.wake("key", 3600)
    world.reconciler.wake("key")
    world.reconciler.wake("key", 3600)
    await eventually(lambda: world.looks["key"] == 1)


async def test_work_tells_when_to_look_again(world: World) -> None:
    world.again = 0.01
    world.reconciler.wake("key")
    await eventually(lambda: world.looks["key"] >= 4)


async def test_what_wakes_a_key_that_fails_makes_no_pause_shorter() -> None:
    looks: list[float] = []
    loop = asyncio.get_running_loop()

    async def work(key: str) -> None:
        looks.append(loop.time())
        reconciler.wake(key)
        raise GatewayError("away")

    reconciler = Reconciler("Thing", work, settle_seconds=0, first_pause=0.05)
    reconciler.start()
    reconciler.wake("key")
    async with asyncio.timeout(10):
        while len(looks) < 4:
            reconciler.wake("key")
            await asyncio.sleep(0.001)
    assert reconciler.failing == {"key"}
    await reconciler.close()
    pauses = [after - before for before, after in pairwise(looks)]
    assert all(
        pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True)
    )


async def test_a_key_that_fails_keeps_no_other_waiting(world: World) -> None:
    world.fails = lambda key: key == "bad"
    world.reconciler.wake("bad")
    await eventually(lambda: world.reconciler.failing == {"bad"})
    world.wanted["good"] = 1
    world.reconciler.wake("good")
    await eventually(lambda: world.there["good"] == 1)
    world.fails = lambda key: False
    await eventually(lambda: not world.reconciler.failing)


async def test_a_forgotten_key_is_not_looked_at(world: World) -> None:
    world.reconciler.wake("key", 0.02)
    world.reconciler.forget("key")
    await asyncio.sleep(0.06)
    assert world.looks["key"] == 0
