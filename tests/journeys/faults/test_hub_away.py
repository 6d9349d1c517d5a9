"""The hub is away for minutes: everything but sign-ins and new servers goes on.

What expires in the first five minutes without a hub is the answer of the hub's that
notebook servers and services keep about a token (15 s); the test outlasts that by far.
What lasts longer is not reached, here or in five minutes: the belief in the hub's last
answer while it is away (15 min), keys to the store (15 min to an hour), a start's time
to come up (5 min at the least, counted by the hub alone), tokens and sessions (days).
``LANDBRIDGE_TEST_AWAY_SECONDS=300`` is the whole of it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from rigs.faults.notebook import Tab
from rigs.hub.process import HubProcess, find_server, running_hub, until
from rigs.notebooks.on_hub import NotebookServer
from rigs.places import open_directory
from rigs.services.person import Document, Person

AWAY_SECONDS = float(os.environ.get("LANDBRIDGE_TEST_AWAY_SECONDS", "40"))
USERS = ("ann", "bea", "cas", "eve")
SETTINGS = """
[scheduler]
slots_cpus = 4
[jobs]
profiles = "{directory}/profiles.yaml"
"""
PROFILES = """
profiles:
  one:
    title: One core
    resources: {cpus: 1}
"""


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    """A gateway with storage and room for four servers, which run; dee's waits."""
    with open_directory() as directory:
        settings = directory / "gateway.toml"
        settings.write_text(SETTINGS.format(directory=directory))
        (directory / "profiles.yaml").write_text(PROFILES)
        with running_hub(directory, LANDBRIDGE_CONFIG=str(settings)) as hub:
            for name in (*USERS, "dee"):
                hub.add_user(name)
            for name in USERS:
                hub.start_server(name)
            for name in USERS:
                hub.wait_state(name, "ready", seconds=120)
                until(f"{name}'s server answers", lambda name=name: hub.answers(name))
            hub.start_server("dee")
            hub.wait_state("dee", "queued")
            yield hub


def storage_of(hub: HubProcess, name: str) -> Person:
    """Somebody who uses storage by a token of hers, with one object in a bucket."""
    token = hub.call("POST", f"users/{name}/tokens")["token"]
    answer = httpx.get(
        f"http://127.0.0.1:{hub.port}/services/storage/api/v1/openapi.json",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    person = Person(name, hub.port, Document(answer.json()), token)
    person.call("POST", "buckets", {"name": name})
    person.put("before", b"the hub goes")
    return person


def cancel(hub: HubProcess, name: str) -> None:
    """Have a job ended by the jobs service's API, as one of its clients."""
    token = (hub.state / "secrets" / "jobs-hub.token").read_text().strip()
    transport = httpx.HTTPTransport(uds=str(hub.state / "run" / "jobs.sock"))
    with httpx.Client(transport=transport, trust_env=False) as client:
        answer = client.delete(
            f"http://jobs/v1/jobs/{name}", headers={"Authorization": f"Bearer {token}"}
        )
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"known": True}


def job_of(hub: HubProcess, user: str) -> str:
    (name,) = hub.live_records(user)
    return name


def address_of(hub: HubProcess, user: str) -> str | None:
    """Where a server answers, as it has proved to the jobs service."""
    database = hub.state / "db" / "jobs.sqlite"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        (address,) = db.execute(
            "SELECT endpoint FROM landbridge_jobs WHERE name = ?", (job_of(hub, user),)
        ).fetchone()
    return address


def end(hub: HubProcess, user: str, number: int) -> None:
    pid = find_server(hub, user)
    assert pid is not None
    os.kill(pid, number)
    until("it has ended", lambda: find_server(hub, user) != pid)


@pytest.mark.timeout(300 + AWAY_SECONDS)
def test_minutes_without_a_hub(hub: HubProcess) -> None:
    anns, tab = NotebookServer(hub, "ann"), Tab(hub, "ann")
    tab.run("kept = [6 * 7]")
    storage = storage_of(hub, "ann")
    jobs = {name: hub.server(name)["job"] for name in ("ann", "cas", "dee")}
    hub.kill()
    # A job is cancelled; the one that waited for its place starts, proves itself and
    # comes up.
    cancel(hub, job_of(hub, "bea"))
    until("bea's server ends", lambda: find_server(hub, "bea") is None)
    until("its end is written down", lambda: not hub.live_records("bea"))
    until("dee's server comes up", lambda: address_of(hub, "dee"), seconds=120)
    # A server that crashes is started again in its job.
    end(hub, "cas", signal.SIGKILL)
    _live_without_it(hub, anns, tab, storage)
    assert find_server(hub, "cas") is not None
    # One that ends is seen to.
    end(hub, "eve", signal.SIGTERM)
    until("its end is written down", lambda: not hub.live_records("eve"))

    hub.start()
    for name in ("ann", "cas", "dee"):
        assert hub.wait_state(name, "ready")["job"]["id"] == jobs[name]["id"]
        until(f"{name}'s server answers", lambda name=name: hub.answers(name))
    for name in ("bea", "eve"):
        hub.wait_state(name, "stopped", "failed", "ended")
    assert tab.run("print(*kept)").split() == ["42"]
    storage.http.close()
    tab.close()


def _live_without_it(
    hub: HubProcess, anns: NotebookServer, tab: Tab, storage: Person
) -> None:
    """Do what people do, again and again, until the hub was away for long."""
    began, number = time.monotonic(), 0
    while number < 2 or time.monotonic() - began < AWAY_SECONDS:
        number += 1
        assert tab.run("print(*kept)").split() == ["42"]
        note = {"type": "file", "format": "text", "content": f"note {number}"}
        anns.call("PUT", "api/contents/notes.txt", note)
        kernel = anns.call("POST", "api/kernels", {"name": "python3"})["id"]
        assert anns.run(kernel, f"print({number})").split() == [str(number)]
        anns.call("DELETE", f"api/kernels/{kernel}")
        storage.put(f"note-{number}", b"written")
        assert storage.get("before").content == b"the hub goes"
        assert f"note-{number}" in storage.names()
        assert len(hub.live_records("ann")) == 1
        time.sleep(5)
