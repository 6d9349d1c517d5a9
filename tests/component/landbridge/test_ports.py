"""The ports of the edge: held by `landbridge up`, and when one may be chosen anew."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from hub.config.paths import prepare_state
from hub.config.ports import forget_ports, jobs_port
from hub.config.settings import Settings, load_settings
from hub.edge import edge_config
from hub.run.up import CannotStart, preflight
from services.edge.process import hold_ports
from services.jobs.settings import Site
from spawners.batch.jobs.record import JobRecord, Phase
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import Resources
from spawners.common.held_ports import HeldPorts, PortTaken

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, free_port) -> Settings:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    found = load_settings(
        {
            "LANDBRIDGE_CONFIG": str(path),
            "LANDBRIDGE_STATE": str(tmp_path / "var"),
            "LANDBRIDGE_PORT": str(free_port()),
        }
    )
    prepare_state(found)
    return found


def site_of(settings: Settings) -> Site:
    port = jobs_port(settings, "127.0.0.1")
    return Site("local", "self", "token", False, "127.0.0.1", "127.0.0.1", port)


def listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def remember(settings: Settings, phase: Phase) -> None:
    """Write down a job in this phase, as the batch core does."""

    async def work() -> None:
        url = f"sqlite:///{settings.state / 'db' / 'jobs'}.sqlite"
        store = await JobStore.open(url)
        record = JobRecord(
            name=f"lb-{phase}",
            owner=f"server:{phase}/",
            generation=1,
            user="ann",
            phase=phase,
            resources=Resources(),
            created=NOW,
            updated=NOW,
        )
        await store.insert_all([record])
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize("phase", [None, Phase.ENDED, Phase.REFUSED])
def test_without_jobs_a_taken_port_of_theirs_is_left_for_another(settings, phase):
    site = site_of(settings)
    if phase is not None:
        remember(settings, phase)
    with listening(site.jobs_port):
        preflight(settings, site)
        assert jobs_port(settings, "127.0.0.1") != site.jobs_port


@pytest.mark.parametrize("phase", [Phase.INTENT, Phase.SUBMITTED])
def test_a_port_that_jobs_know_stays_and_ends_the_start(settings, phase):
    site = site_of(settings)
    remember(settings, phase)
    with (
        listening(site.jobs_port),
        pytest.raises(CannotStart, match=f"{site.jobs_port}.*jobs that run report"),
    ):
        preflight(settings, site)
    assert jobs_port(settings, "127.0.0.1") == site.jobs_port


def test_a_database_that_cannot_be_read_moves_nothing(settings):
    site = site_of(settings)
    (settings.state / "db" / "jobs.sqlite").write_text("no database" * 100)
    assert not forget_ports(settings)
    ours = settings.database.model_copy(update={"url": "postgresql://db/x"})
    assert not forget_ports(replace(settings, database=ours))
    assert jobs_port(settings, "127.0.0.1") == site.jobs_port


def test_both_ports_are_held_and_a_stranger_ends_the_start(settings):
    site = site_of(settings)
    config = edge_config(settings, site)
    held = HeldPorts()
    with closing(held):
        hold_ports(held, config())
        for port in (settings.hub.port, site.jobs_port):
            with pytest.raises(OSError, match="in use"):
                listening(port)
    with (
        listening(site.jobs_port),
        closing(HeldPorts()) as held,
        pytest.raises(PortTaken, match=f"port {site.jobs_port}"),
    ):
        hold_ports(held, config())
    listening(settings.hub.port).close()  # and what was held before is let go


def test_processes_that_start_at_once_choose_one_port(settings):
    taken = listening(settings.hub.port + 1)
    chosen: list[int] = []
    with closing(taken):
        threads = [
            Thread(target=lambda: chosen.append(jobs_port(settings, "127.0.0.1")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(chosen) == 8
    assert len(set(chosen)) == 1
