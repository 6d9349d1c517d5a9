"""Websockets that nobody uses any more go; those in use, however quietly, stay."""

from __future__ import annotations

import asyncio
import time

import pytest

from rigs.edge.abandoned import (
    KINDS,
    Live,
    PingingServer,
    abandon,
    descriptors,
    raise_limit,
    reset,
)

# A thirtieth of 300 s of silence, and about as much of 30 s between pings.
SILENCE, PING = 10, 2


@pytest.fixture
async def server():
    server = PingingServer(PING)
    await server.start()
    yield server
    await server.stop()


async def test_a_thousand_websockets_that_were_left_are_gone_and_two_in_use_stay(
    make_edge, server
):
    raise_limit(8192)
    edge = await make_edge(tunnel_timeout=SILENCE, connections_per_server=2000)
    await edge.proxy.add_route("/user/alice/", f"http://127.0.0.1:{server.port}", {})
    live = [Live(edge.port) for _ in range(2)]
    tasks = [asyncio.create_task(one.run()) for one in live]
    async with asyncio.timeout(10):
        while not all(one.pings for one in live):
            await asyncio.sleep(0.05)
    before = descriptors(edge.pid)

    kinds = [KINDS[number % 3] for number in range(1000)]
    left = await asyncio.gather(*(abandon(edge.port, kind) for kind in kinds))
    began = time.monotonic()
    assert descriptors(edge.pid) > before + 1200, "two for each that is not closed"
    # A thirtieth of ten minutes, and what a busy machine adds.
    async with asyncio.timeout(20 + 20):
        while descriptors(edge.pid) > before + 5:
            await asyncio.sleep(0.1)
    took = time.monotonic() - began
    print(f"the last of 1,000 was gone after {took:.1f} s")
    assert took > PING, "they were open"

    heard = [one.pings for one in live]
    async with asyncio.timeout(10):
        while any(
            one.pings < count + 3 for one, count in zip(live, heard, strict=True)
        ):
            await asyncio.sleep(0.05)
    assert not any(one.closed for one in live)
    for task in tasks:
        task.cancel()
    await reset(left)


async def test_an_old_setting_of_the_site_holds(make_edge, server):
    edge = await make_edge(tunnel_timeout=86_400)
    config = (edge.directory / "haproxy.cfg").read_text()
    assert "timeout tunnel 86400s" in config
