"""Processes are killed at each step of a kernel's start: nothing is lost or left over.

Beside a kernel that runs, another one is started, and one or two of the gateway's
processes, or of those in the jobs, get ``kill -9``. At the end the first has its
variables, the second is there once or is told dead, and no process is without a record.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from rigs.hub.process import (
    HubProcess,
    find_server,
    hub_of_its_own,
    server_process,
    until,
)
from rigs.notebooks.on_hub import NotebookServer
from spawners.common.processes import processes

GATEWAY = ("jobs", "hub", "edge", "haproxy")
#: The notebook server, the agent of its job, and the agent of the kernel's job.
IN_JOBS = ("server", "agent", "kernel's agent")
STEPS = ("asked", "queued", "starting", "running")
REACHED = {
    "queued": {"queued", "starting", "running"},
    "starting": {"starting", "running"},
    "running": {"running"},
}
SHORT = [
    *product(("jobs", "server"), ("asked", "starting")),
    ("hub", "queued"),
    ("agent", "starting"),
    ("kernel's agent", "running"),
]
PAIRS = [
    pair
    for pair in combinations((*GATEWAY, *IN_JOBS), 2)
    if set(pair) not in ({"edge", "haproxy"}, {"server", "agent"})
]
CASES = [
    *(pytest.param((victim,), step, id=f"{victim}-{step}") for victim, step in SHORT),
    *(
        pytest.param((victim,), step, id=f"{victim}-{step}", marks=pytest.mark.long)
        for victim, step in product((*GATEWAY, *IN_JOBS), STEPS)
        if (victim, step) not in SHORT
    ),
    *(
        pytest.param(pair, step, id=f"{'+'.join(pair)}-{step}", marks=pytest.mark.long)
        for pair, step in product(PAIRS, ("asked", "starting"))
    ),
]


@pytest.fixture(scope="module")
def running() -> Iterator[HubProcess]:
    with hub_of_its_own() as hub:
        hub.add_user("ann")
        yield hub


class Kernels:
    """Ann's kernels, as her server, the records and the machine know them."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.server = NotebookServer(hub, "ann")
        self._seen: set[str] = set()

    def start(self) -> str:
        made = self.server.call("POST", "api/kernels", {"name": self._kind()})
        return str(made["id"])

    def _kind(self) -> str:
        kinds = self.server.call("GET", "api/kernelspecs")["kernelspecs"]
        return next(n for n in kinds if ".lb." in n and not n.endswith(".choose"))

    def keep(self, kernel: str) -> None:
        """Let a kernel outlive its server's job."""
        asked = {"keep": True, "hours": 1}
        self.server.call("PUT", f"landbridge/kernels/{kernel}/keep", asked)

    def view(self, kernel: str) -> dict[str, Any]:
        """What the server tells of a kernel; its state is ``gone`` if it has none."""
        answer = self.hub.api.get(f"/user/ann/landbridge/kernels/{kernel}")
        if answer.status_code == 404 and "error" in answer.text:
            return {"state": "gone"}
        return dict(answer.json()) if answer.is_success else {"state": "no answer"}

    def settled(self, kernel: str) -> dict[str, Any]:
        """Wait until a kernel runs, is dead, or is no more."""

        def look() -> dict[str, Any] | None:
            view = self.view(kernel)
            return view if view["state"] in ("running", "dead", "gone") else None

        return dict(until(f"{kernel} is settled", look, seconds=120))

    def records(self) -> dict[str, str]:
        """Name to kernel of every live job."""
        rows = self._rows("kernel:ann/%")
        self._seen |= {name for name, *_ in rows}
        return {
            name: owner.split("/")[1]
            for name, owner, phase in rows
            if phase in ("intent", "submitted")
        }

    def orphans(self) -> set[str]:
        """Names of jobs that have processes, and no live record."""
        over = self._seen - set(self.records())
        return {name for name in over if has_processes(name)}

    def _rows(self, owner: str) -> list[tuple[str, str, str]]:
        database = self.hub.state / "db" / "jobs.sqlite"
        query = "SELECT name, owner, phase FROM landbridge_jobs WHERE owner LIKE ?"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return db.execute(query, (owner,)).fetchall()

    def leader(self, job: str) -> int:
        """The process that a job began with: its agent."""
        run = self.hub.state / "local" / "jobs" / job / "run.json"
        return int(json.loads(run.read_text())["leader"])


def has_processes(job: str) -> bool:
    """Whether a process has a job's name among its variables."""
    for process in processes():
        with suppress(OSError):
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            if job.encode() in environment:
                return True
    return False


@pytest.fixture
def kernels(running: HubProcess) -> Iterator[Kernels]:
    """Ann's server, of a job of its own for each test, in which nothing crashed yet."""
    running.start_missing()
    running.clear("ann")
    kernels = Kernels(running)
    until("no kernel is left", lambda: not kernels.records())
    kernels.server.start()
    yield kernels


def kill(kernels: Kernels, victim: str, kernel: str) -> None:
    hub = kernels.hub
    if victim == "hub":
        hub.kill()
    elif victim == "haproxy":
        file = hub.state / "haproxy" / "process.json"
        os.kill(int(json.loads(file.read_text())["pid"]), signal.SIGKILL)
    elif victim in GATEWAY:
        hub.kill_sibling(victim)
    elif victim == "server":
        os.kill(server_process(hub, "ann"), signal.SIGKILL)
    elif victim == "agent":
        job, server = str(hub.server("ann")["job"]["id"]), server_process(hub, "ann")
        os.kill(kernels.leader(job), signal.SIGKILL)
        until("its server ends with it", lambda: find_server(hub, "ann") != server)
    else:
        job = until("the kernel has a job", lambda: kernels.view(kernel).get("job_id"))
        os.kill(kernels.leader(job), signal.SIGKILL)


def have_server_again(kernels: Kernels) -> None:
    """Start what does not run, ann's server as well; she would do so on its page."""
    hub = kernels.hub
    hub.start_missing()

    def answers() -> bool:
        if hub.answers("ann"):
            return True
        model = hub.call("GET", "users/ann")["servers"].get("")
        if model is None or not (model["ready"] or model["pending"]):
            hub.start_server("ann")
        return False

    until("ann's server answers", answers, seconds=120, every=0.5)


@pytest.mark.parametrize(("victims", "step"), CASES)
def test_a_kill_at_any_step_of_a_kernels_start_loses_and_orphans_nothing(
    kernels: Kernels, victims: tuple[str, ...], step: str
) -> None:
    first = kernels.start()
    kernels.server.wait(first, "running")
    kernels.server.run(first, "x = 4711")
    second = kernels.start()
    if step != "asked":
        states = REACHED[step]
        until(f"it is {step}", lambda: kernels.view(second)["state"] in states)
    kernels.records()
    if "agent" in victims:  # without it the server's job ends, and ends its kernels
        for kernel in (first, second):
            kernels.keep(kernel)
    # The last of them first: what is asked of the gateway needs it.
    for victim in sorted(victims, key=IN_JOBS.__contains__, reverse=True):
        kill(kernels, victim, second)
    have_server_again(kernels)

    assert kernels.settled(first)["state"] == "running"
    assert kernels.server.run(first, "print(x)") == "4711"
    if "kernel's agent" in victims:
        kernels.server.wait(second, "dead")
    view = kernels.settled(second)
    if view["state"] == "running":
        assert kernels.server.run(second, "print(6 * 7)") == "42"
    elif view["state"] == "dead":
        assert "kernel's agent" in victims, view
        assert view["failure"]["title"]
    else:
        # The server that had promised it died before it wrote anything down.
        assert step == "asked", view
        assert set(victims) & {"server", "agent"}
    wanted = {first, second} if view["state"] == "running" else {first}
    until(
        "each kernel is one job",
        lambda: sorted(kernels.records().values()) == sorted(wanted),
    )
    assert all(has_processes(name) for name in kernels.records())
    until("no process is left of a job that is over", lambda: not kernels.orphans())
    for kernel in (first, second):
        if kernels.view(kernel)["state"] != "gone":
            kernels.server.call("DELETE", f"api/kernels/{kernel}")
    until("both have ended", lambda: not kernels.records())
    until("no process is left of them", lambda: not kernels.orphans())
