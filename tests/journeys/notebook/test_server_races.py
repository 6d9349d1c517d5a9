"""Races, doubts and hostile requests against one real hub."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from rigs.hub.process import (
    HubProcess,
    find_server,
    hub_of_its_own,
    server_process,
    until,
)


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """One hub for all tests of this module; each takes users of its own."""
    with hub_of_its_own() as hub:
        yield hub


def live_jobs(hub: HubProcess, user: str) -> int:
    with sqlite3.connect(hub.state / "db" / "jobs.sqlite") as database:
        query = (
            "select count(*) from landbridge_jobs where owner = ?"
            " and phase in ('intent', 'submitted')"
        )
        return int(database.execute(query, (f"server:{user}/",)).fetchone()[0])


def post(hub: HubProcess, path: str, body: Any) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{hub.port}/hub/api/{path}",
        headers=dict(hub.api.headers),
        json=body,
        timeout=60,
        trust_env=False,
    )


def test_fifty_equal_starts_make_one_job(hub: HubProcess) -> None:
    hub.add_user("ann")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: post(hub, "users/ann/server", {}), range(50)))
    assert {answer.status_code for answer in answers} <= {201, 202, 400}, answers
    assert live_jobs(hub, "ann") == 1
    assert hub.wait_state("ann", "ready", "failed")["generation"] == 1
    hub.stop_server("ann")
    hub.wait_state("ann", "stopped")


def test_stops_amid_starts_leave_nothing_behind(hub: HubProcess) -> None:
    hub.add_user("bea")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            start = pool.submit(post, hub, "users/bea/server", {})
            stop = pool.submit(hub.stop_server, "bea")
            start.result()
            stop.result()
    hub.stop_server("bea")
    until("no job of bea lives", lambda: live_jobs(hub, "bea") == 0, seconds=40)
    assert hub.call("GET", "users/bea")["server"] is None


def test_a_server_that_does_not_answer_survives_the_hub(hub: HubProcess) -> None:
    hub.add_user("cid")
    hub.start_server("cid")
    job = hub.wait_state("cid", "ready")["job"]["id"]
    until("it answers", lambda: hub.answers("cid"))
    pid = server_process(hub, "cid")
    os.kill(pid, signal.SIGSTOP)
    try:
        hub.kill()
        hub.start()
        server = until(
            "the hub has looked",
            lambda: (s := hub.server("cid")) and s["reachable"] is False and s,
        )
        assert (server["state"], server["job"]["id"]) == ("ready", job)
        assert hub.call("GET", "users/cid")["servers"][""]["ready"]
    finally:
        os.kill(pid, signal.SIGCONT)
    until("it is asked again", lambda: hub.server("cid")["reachable"], seconds=70)
    assert hub.answers("cid")


def test_a_server_that_crashes_is_started_again_at_most_twice_then_explained(
    hub: HubProcess,
) -> None:
    hub.add_user("dan")
    hub.start_server("dan")
    job = hub.wait_state("dan", "ready")["job"]["id"]
    until("it answers", lambda: hub.answers("dan"))
    first = server_process(hub, "dan")
    os.kill(first, signal.SIGKILL)
    until("it answers again", lambda: hub.answers("dan"))
    assert server_process(hub, "dan") != first
    assert hub.server("dan")["job"]["id"] == job
    for crash in (2, 3):
        pid = until("a server", lambda: find_server(hub, "dan"))
        os.kill(pid, signal.SIGKILL)
        until(f"crash {crash}", lambda pid=pid: find_server(hub, "dan") != pid)
    server = hub.wait_state("dan", "failed", seconds=20)
    assert server["failure"]["title"]
    assert "crashed 3 times" in server["failure"]["log"]
    until("JupyterHub knows", lambda: hub.call("GET", "users/dan")["server"] is None)
    assert not hub.answers("dan")


HOSTILE = [
    {"profile": "small\n#SBATCH --uid=0"},
    {"profile": ["small"]},
    {"profile": {"$gt": ""}},
    {"profile": "../../etc/passwd"},
    {"profile": "small", "cmd": "rm -rf /"},
    {"profile": "small", "req_options": "--uid=0"},
    {"profile": "small", "batch_script": "#!/bin/sh"},
    {"profile": "custom", "partition": "-p; touch /tmp/x"},
    {"profile": "custom", "account": "$(id)"},
    {"profile": "custom", "cpus": 10**30},
    {"profile": "custom", "memory": "1e309"},
    {"profile": "custom", "cpus": True},
    {"profile": "{{ 7*7 }}"},
    {"profile": "\uff53mall"},
    {"profile": "x" * 1_000_000},
    {"__class__": "x"},
    {"user_options": {"profile": "small"}},
]


@pytest.mark.parametrize("options", HOSTILE, ids=lambda o: repr(o)[:40])
def test_hostile_options_are_refused_and_not_kept(
    hub: HubProcess, options: dict[str, Any]
) -> None:
    if hub.api.get("/hub/api/users/eve").status_code == 404:
        hub.add_user("eve")
    answer = post(hub, "users/eve/server", {"user_options": options})
    assert answer.status_code == 400, answer.text[:300]
    assert len(answer.text) < 2000
    assert live_jobs(hub, "eve") == 0
    model = hub.call("GET", "users/eve", params={"include_stopped_servers": "true"})
    kept = model["servers"].get("", {}).get("user_options") or {}
    assert kept == {}


@pytest.mark.parametrize("verb", ["fetch", "ready", "ended"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"job": "lb-nobody"}',
        b'{"job": "lb-nobody", "batch_script": "x", "ip": "10.0.0.1"}',
        b"[" * 100_000,
        b'{"job": "' + b"x" * 200_000 + b'"}',
    ],
    ids=range(8),
)
def test_nonsense_from_jobs_is_refused(hub: HubProcess, verb: str, body: bytes) -> None:
    answer = hub.ask_as_job(verb, body)
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) <= {"error", "message", "action"}


def test_the_setter_of_any_attribute_is_not_served(hub: HubProcess) -> None:
    assert post(hub, "batchspawner", {"cmd": "x"}).status_code == 404


def test_a_link_never_starts_a_server(hub: HubProcess) -> None:
    hub.add_user("fay")
    token = hub.call("POST", "users/fay/tokens", {"note": "test"})["token"]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{hub.port}",
        headers={"Authorization": f"token {token}"},
        trust_env=False,
        follow_redirects=True,
    ) as fay:
        for query in ("?opt-profile=small", "?profile=small", ""):
            page = fay.get(f"/hub/spawn{query}")
            assert page.status_code in (200, 401, 403), page.status_code
    assert live_jobs(hub, "fay") == 0


def test_the_stream_tells_the_same_log_and_ends(hub: HubProcess) -> None:
    hub.add_user("gus")
    hub.start_server("gus")
    until("it is written down", lambda: hub.progress("gus"))
    with hub.api.stream(
        "GET",
        "/hub/api/landbridge/servers/gus/progress",
        headers={"Accept": "text/event-stream"},
        timeout=90,
    ) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith(("id", "ev"))]
    assert lines[-1] == "event: done"
    numbers = [int(line.split()[1]) for line in lines if line.startswith("id")]
    stored = [event["seq"] for event in hub.progress("gus")["events"]]
    assert numbers == stored == sorted(set(stored))
    assert hub.server("gus")["state"] == "ready"
    # JupyterHub's own progress tells it too, from the first line.
    with hub.api.stream("GET", "/hub/api/users/gus/server/progress") as answer:
        assert '"ready": true' in answer.read().decode()
    hub.stop_server("gus")


def test_others_may_not_read_a_log(hub: HubProcess) -> None:
    for user in ("hal", "ida"):
        hub.add_user(user)
    hub.start_server("hal")
    until("it is written down", lambda: hub.progress("hal"))
    token = hub.call("POST", "users/ida/tokens", {"note": "test"})["token"]
    for path in ("servers/hal", "servers/hal/progress", "servers/hal/x/progress"):
        answer = httpx.get(
            f"http://127.0.0.1:{hub.port}/hub/api/landbridge/{path}",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
        )
        assert answer.status_code in (403, 404)
    hub.stop_server("hal")


def test_own_servers_and_the_cluster_are_told(hub: HubProcess) -> None:
    hub.add_user("jan")
    hub.start_server("jan")
    until("it is written down", lambda: hub.progress("jan"))
    token = hub.call("POST", "users/jan/tokens", {"note": "test"})["token"]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{hub.port}/hub/api/landbridge/",
        headers={"Authorization": f"token {token}"},
        trust_env=False,
    ) as jan:
        servers = jan.get("servers").json()["servers"]
        assert [(s["user"], s["name"]) for s in servers] == [("jan", "")]
        until("the cluster was read", lambda: jan.get("cluster").json()["partitions"])
    hub.stop_server("jan")
    for path in ("servers", "cluster"):
        url = f"http://127.0.0.1:{hub.port}/hub/api/landbridge/{path}"
        assert httpx.get(url, trust_env=False).status_code == 403
