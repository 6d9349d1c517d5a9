"""The hub is killed at every step of a start, and with live servers.

After each death the next hub must have the same job: none lost, none doubled.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rigs.hub.process import (
    CHECKOUT,
    NO_STORAGE,
    HubProcess,
    hub_of_its_own,
    running_hub,
    until,
)
from rigs.places import open_directory

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[HubProcess]:
    with hub_of_its_own() as hub:
        yield hub


@pytest.fixture
def hub(running: HubProcess, ann: str) -> Iterator[HubProcess]:
    """A hub on the local scheduler, with nobody in it but ann."""
    running.clear()
    running.add_user(ann)
    yield running
    running.clear(ann)


@pytest.fixture
def ann() -> str:
    """Somebody of whom no job was ever written down."""
    return f"ann{next(_numbers)}"


@pytest.fixture(scope="module")
def running_narrow() -> Iterator[HubProcess]:
    with open_directory() as directory:
        settings = directory / "gateway.toml"
        settings.write_text(
            "[scheduler]\nslots_cpus = 1\n"
            f'[jobs]\nprofiles = "{directory / "profiles.yaml"}"\n' + NO_STORAGE
        )
        (directory / "profiles.yaml").write_text(
            "profiles:\n  one:\n    title: One core\n    resources: {cpus: 1}\n"
        )
        with running_hub(directory, LANDBRIDGE_CONFIG=str(settings)) as hub:
            yield hub


@pytest.fixture
def bea() -> str:
    """Somebody else."""
    return f"bea{next(_numbers)}"


@pytest.fixture
def narrow_hub(running_narrow: HubProcess, ann: str, bea: str) -> Iterator[HubProcess]:
    """A hub with room for one server, with ann and bea in it."""
    running_narrow.clear()
    for user in (ann, bea):
        running_narrow.add_user(user)
    yield running_narrow
    running_narrow.clear(ann, bea)


def jobs_of(hub: HubProcess, user: str) -> list[str]:
    """Names of all jobs that were ever written down for a user's servers."""
    with sqlite3.connect(hub.state / "db" / "jobs.sqlite") as database:
        return [
            name
            for (name,) in database.execute(
                "select name from landbridge_jobs where owner like ?",
                (f"server:{user}/%",),
            )
        ]


def reborn(hub: HubProcess) -> None:
    hub.kill()
    hub.start()


def test_a_queued_start_outlives_hub_after_hub(
    narrow_hub: HubProcess, ann: str, bea: str
) -> None:
    hub = narrow_hub
    hub.start_server(ann)
    hub.wait_state(ann, "ready")
    hub.start_server(bea)
    queued = hub.wait_state(bea, "queued")["job"]
    for _ in range(2):
        reborn(hub)
        assert hub.wait_state(bea, "queued")["job"]["id"] == queued["id"]
        assert hub.call("GET", f"users/{bea}")["pending"] == "spawn"
        assert hub.wait_state(ann, "ready", seconds=5)
        assert hub.answers(ann)
    hub.stop_server(ann)
    ready = hub.wait_state(bea, "ready")
    assert ready["job"]["id"] == queued["id"]
    until("bea's server answers", lambda: hub.answers(bea))
    assert len(jobs_of(hub, bea)) == 1


def test_a_queued_start_of_the_version_before_is_taken_over(
    narrow_hub: HubProcess, ann: str, bea: str
) -> None:
    hub = narrow_hub
    hub.start_server(ann)
    hub.wait_state(ann, "ready")
    hub.start_server(bea)
    queued = hub.wait_state(bea, "queued")["job"]
    hub.kill()
    hub.kill_sibling("jobs")
    as_before(hub)
    hub.start()
    hub.wait_state(bea, "queued")
    until("its launch is kept", lambda: launches_of(hub) == jobs_of(hub, bea))
    hub.stop_server(ann)
    assert hub.wait_state(bea, "ready")["job"]["id"] == queued["id"]
    until("bea's server answers", lambda: hub.answers(bea))
    assert launches_of(hub) == []


def launches_of(hub: HubProcess) -> list[str]:
    """Names of the jobs of which it is kept what they start."""
    with closing(sqlite3.connect(hub.state / "db" / "jobs.sqlite")) as database:
        rows = database.execute("select name from landbridge_job_launches")
        return [name for (name,) in rows]


def as_before(hub: HubProcess) -> None:
    """Bring the databases of a dead gateway into the form before launches were kept."""
    with closing(sqlite3.connect(hub.state / "db" / "jobs.sqlite")) as database:
        database.execute("drop table landbridge_job_launches")
        for table, column in (
            ("landbridge_job_events", "request_key"),
            ("landbridge_jobs", "vocabulary"),
            ("landbridge_jobs", "retain"),
        ):
            database.execute(f"alter table {table} drop column {column}")
        database.execute("update landbridge_jobs_version set version_num = '0003'")
        database.commit()
    with closing(sqlite3.connect(hub.state / "db" / "jupyterhub.sqlite")) as database:
        changed = database.execute(
            "update spawners set state = json_remove(state, '$.landbridge.launched')"
            " where state like '%launched%'"
        )
        assert changed.rowcount == 2  # one runs, one waits
        database.commit()


def test_a_queued_start_is_cancelled_at_once(
    narrow_hub: HubProcess, ann: str, bea: str
) -> None:
    hub = narrow_hub
    hub.start_server(ann)
    hub.wait_state(ann, "starting", "ready")
    hub.start_server(bea)
    hub.wait_state(bea, "queued")
    reborn(hub)
    hub.wait_state(bea, "queued")
    hub.stop_server(bea)
    server = hub.wait_state(bea, "stopped", seconds=15)
    assert server["failure"] is None
    assert hub.call("GET", f"users/{bea}")["pending"] is None


@pytest.mark.parametrize("step", ["submitted", "running", "starting"])
def test_a_start_outlives_the_hub_at_each_step(
    hub: HubProcess, ann: str, step: str
) -> None:
    hub.start_server(ann)

    def reached() -> bool:
        events = hub.progress(ann).get("events", [])
        return any(event["kind"] == step for event in events)

    until(f"the start is {step}", reached, every=0.01)
    hub.kill()
    hub.start()
    assert hub.wait_state(ann, "ready", "failed", "stopped")["state"] == "ready"
    until("the server answers", lambda: hub.answers(ann))
    assert len(jobs_of(hub, ann)) == 1
    # The server's own token is the hub's still: it may report its activity.
    model = hub.call("GET", f"users/{ann}")["servers"][""]
    assert model["ready"]
    assert "token" not in (model["state"] or {}).get("landbridge", {})


def test_live_servers_outlive_the_hub(hub: HubProcess, ann: str) -> None:
    for name in ("", "second"):
        hub.start_server(ann, name)
    jobs = {
        name: hub.wait_state(ann, "ready", name=name)["job"]["id"]
        for name in ("", "second")
    }
    until("both answer", lambda: hub.answers(ann) and hub.answers(ann, "second"))
    hub.kill()
    assert hub.answers(ann, "second"), "the edge serves without the hub"
    hub.start()
    for name, job in jobs.items():
        server = hub.wait_state(ann, "ready", name=name, seconds=5)
        assert server["job"]["id"] == job
    until("both answer", lambda: hub.answers(ann) and hub.answers(ann, "second"))
    hub.stop_server(ann, "second")
    hub.wait_state(ann, "stopped", name="second")
    assert hub.answers(ann)


def test_a_clean_end_of_the_hub_leaves_the_queue_alone(
    hub: HubProcess, ann: str
) -> None:
    hub.start_server(ann)
    until("it starts", lambda: hub.progress(ann).get("events"), every=0.02)
    hub.stop()
    hub.start()
    assert hub.wait_state(ann, "ready", "failed", "stopped")["state"] == "ready"
    assert len(jobs_of(hub, ann)) == 1


def test_a_service_that_cannot_start_takes_nothing_with_it(shared: Path) -> None:
    with running_hub(shared) as hub:
        hub.stop()
        taken = hub.state / "run" / "storage.sock"
        taken.unlink(missing_ok=True)
        taken.write_text("a file, which no service of ours replaces")
        hub.start()
        assert hub.api.get("/services/storage/health").status_code == 503
        hub.add_user("ann")
        hub.start_server("ann")
        hub.wait_state("ann", "ready")


def test_profiles_of_the_checkout_load() -> None:
    assert (CHECKOUT / "config" / "profiles.yaml").is_file()
