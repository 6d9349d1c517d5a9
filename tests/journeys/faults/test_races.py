"""Many starts, stops and removals at once on Slurm: one winner, no orphan."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from rigs.faults.site import FaultSite

pytestmark = [pytest.mark.slurm, pytest.mark.root]

STUB = {"user_options": {"profile": "stub"}}


def call(site: FaultSite, method: str, path: str, body: Any = None) -> int:
    """Ask the hub over a connection of our own; return the status."""
    return httpx.request(
        method,
        f"http://127.0.0.1:{site.hub.port}/hub/api/{path}",
        headers=dict(site.hub.api.headers),
        json=body,
        timeout=90,
        trust_env=False,
    ).status_code


def test_fifty_clicks_are_one_job(site: FaultSite) -> None:
    def click(_: int) -> int:
        return call(site, "POST", "users/alice/server", STUB)

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(click, range(50)))
    assert set(answers) <= {201, 202, 400}, answers
    site.wait_ready("alice")
    assert len(site.names("server:alice/")) == 1
    assert site.live_jobs("alice") == list(site.live_records())


def test_stops_amid_starts_end_as_the_last_one_said(site: FaultSite) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = []
        for _ in range(8):
            asked.append(pool.submit(call, site, "POST", "users/alice/server", STUB))
            asked.append(pool.submit(call, site, "DELETE", "users/alice/server"))
        answers = Counter(one.result() for one in asked)
    # JupyterHub's handlers say 500 to some that cross; what they leave must be right.
    assert sum(answers.values()) == 16

    def stopped() -> bool:
        call(site, "DELETE", "users/alice/server")
        return site.marked_stopped("alice") and not site.live_jobs("alice")

    site.wait_for("nothing of alice is left", stopped)


def test_a_named_server_removed_while_it_waits_leaves_nothing(site: FaultSite) -> None:
    slurm = site.slurm
    blocker = slurm.submit("sleep 600", "--exclusive", "-w", "n4", user="bob")
    slurm.wait_state(blocker, "RUNNING")
    site.start("alice", "waits")
    site.hub.wait_state("alice", "queued", name="waits")

    def gone() -> bool:
        call(site, "DELETE", "users/alice/servers/waits", {"remove": True})
        shown = site.hub.call(
            "GET", "users/alice", params={"include_stopped_servers": "true"}
        )
        return "waits" not in shown["servers"]

    site.wait_for("it is removed", gone)
    site.wait_for("its job has gone", lambda: not site.live_jobs("alice"))
    assert slurm.state(blocker) == "RUNNING"


def test_a_user_deleted_with_a_live_server_leaves_no_job(site: FaultSite) -> None:
    site.ready("alice")
    site.ready("bob")
    site.wait_for(
        "alice is deleted", lambda: call(site, "DELETE", "users/alice") in (204, 404)
    )
    site.wait_for("her job has gone", lambda: not site.live_jobs("alice"))
    assert site.hub.answers("bob")
    site.hub.add_user("alice")
    site.ready("alice")


def test_a_user_with_a_named_server_is_not_deleted_before_it_ends(
    site: FaultSite,
) -> None:
    """JupyterHub refuses; what matters is that the job stays somebody's."""
    site.ready("alice", "named")
    assert call(site, "DELETE", "users/alice") >= 400
    assert site.hub.answers("alice", "named")
    site.hub.stop_server("alice", "named")
    site.wait_for("it is stopped", lambda: site.marked_stopped("alice", "named"))
    assert call(site, "DELETE", "users/alice") == 204
    site.hub.add_user("alice")


def test_thirty_starts_at_once_are_thirty_servers(site: FaultSite) -> None:
    names = [f"s{n}" for n in range(30)]

    def click(name: str) -> int:
        return call(site, "POST", f"users/alice/servers/{name}", STUB)

    submissions = site.tools.calls("sbatch")
    with ThreadPoolExecutor(30) as pool:
        answers = Counter(pool.map(click, names))
    assert set(answers) <= {201, 202}, answers
    for name in names:
        site.wait_ready("alice", name)
    site.wait_for(
        "all answer", lambda: all(site.hub.answers("alice", name) for name in names)
    )
    jobs = site.live_jobs("alice")
    assert len(jobs) == len(set(jobs)) == 30
    assert site.tools.calls("sbatch") - submissions == 30
