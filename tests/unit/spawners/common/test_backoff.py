"""Pauses between tries, and before what ended is started again."""

from __future__ import annotations

import asyncio
from itertools import islice

from spawners.common.backoff import Restarts, growing, pause


def test_pauses_grow_up_to_the_longest():
    assert list(islice(growing(0.5, 5.0), 6)) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert list(islice(growing(2.0, 5.0, 1.5), 4)) == [2.0, 3.0, 4.5, 5.0]


def test_what_served_well_comes_back_at_once():
    restarts = Restarts(longest_seconds=3.0, well_seconds=60.0)
    assert [restarts.ended(1) for _ in range(5)] == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert restarts.failed() == 3.0
    assert restarts.ended(60) == 0.0
    assert [restarts.failed(), restarts.ended(1)] == [1.0, 2.0]


def test_pauses_grow_to_a_minute_and_are_forgotten_after_good_service():
    restarts = Restarts()
    assert [restarts.ended(1) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert restarts.ended(121) == 0
    assert restarts.ended(5) == 1


def test_a_daemon_that_ends_soon_waits_shortly_and_failed_starts_longer():
    restarts = Restarts(
        first_seconds=0.5, longest_seconds=3.0, well_seconds=60.0, patient=True
    )
    assert restarts.ended(61) == 0.0
    assert [restarts.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert restarts.ended(1) == 0.5
    assert restarts.failed() == 1.0


async def test_a_wake_ends_a_pause_and_is_used_up():
    wake = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, wake.set)
    async with asyncio.timeout(20):
        await pause(60, wake)
    assert not wake.is_set()
    await pause(0.01, wake)
    await pause(-1, wake)
