"""Processes of the gateway are killed, alone and two at a time: nothing is lost.

At each step of a server's start, beside a server that runs, one or two of the gateway's
processes get ``kill -9`` and are started again. At the end both servers answer, each is
one job, and no process is left over.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import pytest

from rigs.hub.process import HubProcess, find_server, hub_of_its_own, until
from spawners.common.processes import ProcessId, processes

VICTIMS = ("jobs", "hub", "edge", "haproxy", "storage")
STEPS = ("asked", "queued", "starting", "ready")
# What a server is told to be when it has come as far as a step.
REACHED = {
    "asked": {"queued", "starting", "ready", "submitting"},
    "queued": {"queued", "starting", "ready"},
    "starting": {"starting", "ready"},
    "ready": {"ready"},
}
PAIRS = [pair for pair in combinations(VICTIMS, 2) if set(pair) != {"edge", "haproxy"}]
SINGLE = [
    pytest.param((victim,), step, id=f"{victim}-{step}")
    for victim, step in product(VICTIMS, STEPS)
]
DOUBLE = [
    pytest.param(pair, step, id=f"{'+'.join(pair)}-{step}", marks=pytest.mark.long)
    for pair, step in product(PAIRS, STEPS)
]


@pytest.fixture(scope="module")
def running() -> Iterator[HubProcess]:
    with hub_of_its_own(storage=True) as hub:
        for name in ("ann", "bea"):
            hub.add_user(name)
        yield hub


@pytest.fixture
def hub(running: HubProcess) -> HubProcess:
    """The gateway whole, with bea's server and none of ann's."""
    running.start_missing()
    running.clear("ann")
    if running.server("bea")["state"] != "ready":
        running.clear("bea")
        running.start_server("bea")
        running.wait_state("bea", "ready", seconds=90)
    until("bea's server answers", lambda: running.answers("bea"))
    return running


def haproxy(hub: HubProcess) -> int:
    file = hub.state / "haproxy" / "process.json"
    return int(json.loads(file.read_text())["pid"])


def kill(hub: HubProcess, victim: str) -> None:
    if victim == "hub":
        hub.kill()
    elif victim == "haproxy":
        os.kill(haproxy(hub), signal.SIGKILL)
    else:
        hub.kill_sibling(victim)


def servers_of(hub: HubProcess, user: str) -> list[int]:
    """All processes that serve as the notebook server of a user."""
    home = str(hub.state / "users" / user)
    return [
        process.pid
        for process in processes()
        if any("notebook_server.py" in word for word in process.id.command)
        and _directory(process.pid) == home
    ]


def _directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


@pytest.mark.parametrize(("victims", "step"), SINGLE + DOUBLE)
def test_a_kill_at_any_step_loses_doubles_and_orphans_nothing(
    hub: HubProcess, victims: tuple[str, ...], step: str
) -> None:
    beas = find_server(hub, "bea")
    assert beas is not None
    identity = ProcessId.of(beas)
    hub.start_server("ann")
    if step != "asked":
        states = REACHED[step]
        until(f"a start that is {step}", lambda: hub.server("ann")["state"] in states)
    for victim in victims:
        kill(hub, victim)
    hub.start_missing()
    hub.wait_state("ann", "ready", seconds=120)
    until("ann's server answers", lambda: hub.answers("ann"))
    until("bea's server answers", lambda: hub.answers("bea"))
    assert ProcessId.of(beas) == identity, "bea's server went on throughout"
    assert len(servers_of(hub, "ann")) == 1
    assert len(hub.live_records("ann")) == 1
    hub.stop_server("ann")
    until("ann's server ends", lambda: not servers_of(hub, "ann"), seconds=60)


def test_without_a_hub_jobs_are_watched_and_storage_answers(hub: HubProcess) -> None:
    hub.start_server("ann")
    hub.wait_state("ann", "ready", seconds=90)
    hub.kill()
    # Through the edge, past the hub.
    health = hub.api.get("/services/storage/health")
    assert health.json()["status"] == "ready"
    assert hub.answers("bea"), "routes are the edge's"
    ended = find_server(hub, "ann")
    assert ended is not None
    # An end; what crashes is started again in its job (test_hub_away.py).
    os.kill(ended, signal.SIGTERM)
    until("the end is written down", lambda: not hub.live_records("ann"))
    hub.start()
    hub.wait_state("ann", "failed", "stopped", "ended", seconds=60)
    assert hub.answers("bea")


def test_without_the_jobs_service_nothing_ends_and_pages_tell_it(
    hub: HubProcess,
) -> None:
    hub.kill_sibling("jobs")
    page = until("the hub notices", lambda: _told(hub))
    assert "Running servers go on" in page
    assert hub.answers("bea")
    assert hub.call("GET", "users/bea")["servers"][""]["ready"]
    hub.start_missing()
    until("the hub hears of it again", lambda: not _told(hub))
    assert hub.answers("bea")


def _told(hub: HubProcess) -> str:
    text = hub.api.get("/hub/login").text
    return text if "jobs service does not answer" in text else ""
