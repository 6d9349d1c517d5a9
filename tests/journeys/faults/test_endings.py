"""Jobs that end without being asked to: what their owner is told, and what is left."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest

from rigs.faults.site import FaultSite

pytestmark = [pytest.mark.slurm, pytest.mark.root]


def failed(site: FaultSite, user: str = "alice", seconds: float = 60) -> dict[str, Any]:
    """Wait for a failure; return its words, after JupyterHub has cleaned up."""
    server = site.hub.wait_state(user, "failed", seconds=seconds)
    site.wait_for("JupyterHub knows", lambda: site.marked_stopped(user))
    site.wait_for("the route has gone", lambda: f"/user/{user}/" not in site.routes())
    assert server["failure"]["hint"]
    return dict(server["failure"])


def test_an_operators_scancel_is_told_as_such(site: FaultSite) -> None:
    job = site.ready("alice")["job"]["id"]
    site.slurm.admin("scancel", job)
    failure = failed(site)
    assert failure["title"] == "Cancelled"
    assert "scancel" in failure["detail"]


def test_a_job_that_eats_too_much_is_told_how_much_it_had(site: FaultSite) -> None:
    site.ready("alice")
    with contextlib.suppress(httpx.TransportError):
        site.hub.api.get("/user/alice/eat")
    failure = failed(site)
    assert failure["title"] == "Out of memory"
    assert "100 MB" in failure["detail"]
    assert "200 MB" in failure["hint"]


def test_the_end_of_the_server_itself_is_told_with_its_log(site: FaultSite) -> None:
    site.ready("alice")
    site.hub.api.get("/user/alice/end")
    failure = failed(site, seconds=10)
    assert "stub: asked to end" in failure["log"]
    assert "3" in failure["detail"]


def test_a_requeued_job_is_ended_and_told(site: FaultSite) -> None:
    """What was in its memory has gone; it does not come back hours later, empty."""
    job = site.ready("alice")["job"]["id"]
    site.slurm.admin("scontrol", "update", f"jobid={job}", "requeue=1")
    site.slurm.admin("scontrol", "requeue", job)
    assert failed(site)["title"] == "Put back into the queue"
    assert site.live_jobs("alice") == []


def test_a_preempted_server_is_told_as_such(site: FaultSite) -> None:
    site.ready("alice", profile="low")
    other = site.slurm.submit(
        "sleep 60", "-p", "high", "--exclusive", "-w", "n4", user="bob"
    )
    try:
        assert failed(site)["title"] == "Preempted"
    finally:
        site.slurm.admin("scancel", other)


def test_a_node_that_is_lost_is_told_and_another_start_works(site: FaultSite) -> None:
    site.ready("alice")
    before = site.names("server:alice/")[-1]
    site.slurm.admin("scontrol", "update", "node=n4", "state=down", "reason=test")
    try:
        failure = failed(site)
        assert failure["title"] == "The node failed"
        assert "n4" in failure["detail"]
    finally:
        # It may have come back by itself already: its daemon lives.
        site.slurm.run(["scontrol", "update", "node=n4", "state=resume"])
    site.slurm.wait_up()
    site.ready("alice")
    assert before not in site.live_records()


@pytest.mark.long  # a minute of waiting; test_scheduler_life reads such an end of Slurm
def test_the_time_limit_is_told_with_a_longer_one(site: FaultSite) -> None:
    site.ready("alice", profile="brief")
    failure = failed(site, seconds=130)
    assert failure["title"] == "Time limit reached"
    assert "2 min" in failure["hint"]
