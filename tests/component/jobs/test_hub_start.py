"""What the hub knows when it has started, of a jobs service that has just started."""

from __future__ import annotations

import asyncio

import pytest

from hub import gateway
from hub.config.settings import load_settings
from rigs.services.jobs import Rig
from services.jobs.settings import Site

SITE = Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", 8001)


@pytest.fixture
async def opened(rig: Rig, monkeypatch):
    """Open the hub's side of this service's jobs."""
    path = rig.state / "gateway.toml"
    path.write_text("")
    settings = load_settings(
        {"LANDBRIDGE_CONFIG": str(path), "LANDBRIDGE_STATE": str(rig.state)}
    )
    file = rig.tokens.file_of("hub")
    client = await rig.client_with(lambda: file.read_text().strip(), starts=False)
    monkeypatch.setattr(gateway, "jobs_client", lambda _: client)

    async def open_it() -> gateway.HubGateway:
        async with asyncio.timeout(20):
            return await gateway.open_gateway(settings, SITE)

    return open_it


async def test_the_first_page_knows_the_cluster(opened):
    made = await opened()
    assert made.jobs.snapshot is not None
    assert made.jobs.snapshot.partition(None).name == "main"


async def test_a_controller_that_is_away_holds_up_no_hub(rig, opened):
    await rig.kill()
    rig.scheduler.fail_next("snapshot", times=1_000)
    await rig.start()
    made = await opened()
    assert made.jobs.snapshot is None
    rig.scheduler.heal()
    async with asyncio.timeout(20):
        assert await made.jobs.fresh_snapshot() is not None
