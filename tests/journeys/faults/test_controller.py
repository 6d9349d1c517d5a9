"""The controller or munge is away: servers and pages go on, starts are told why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rigs.faults.site import FaultSite, signed_in

pytestmark = [pytest.mark.slurm, pytest.mark.root]


def test_a_minute_without_the_controller_and_a_new_hub_in_it(site: FaultSite) -> None:
    job = site.ready("alice")["job"]["id"]
    took: list[float] = []
    with signed_in(site, "alice") as browser, site.slurm.stopped("slurmctld"):
        began = time.monotonic()
        answer = site.hub.api.post(
            "/hub/api/users/bob/server",
            json={"user_options": {"profile": "stub"}},
            timeout=60,
        )
        reborn = False
        while time.monotonic() < began + 60:
            for path in ("/hub/home", "/hub/spawn/alice/extra", "/user/alice/api"):
                asked = time.monotonic()
                page = browser.get(path)
                took.append(time.monotonic() - asked)
                assert page.status_code == 200, (path, page.status_code)
            if not reborn and time.monotonic() > began + 30:
                site.hub.kill()
                site.hub.start()
                reborn = True
        server = site.hub.server("alice")
        assert (server["state"], server["job"]["id"]) == ("ready", job)
        assert not server["job"]["is_current"]
    took.sort()
    assert took[int(len(took) * 0.99)] < 1, took[-10:]
    assert answer.status_code in (202, 503), answer.text
    site.wait_for(
        "all is true again", lambda: site.hub.server("alice")["job"]["is_current"]
    )
    # What bob asked for is there now, or he was told why not.
    server = site.hub.wait_state("bob", "ready", "failed", seconds=90)
    if server["state"] == "failed":
        assert server["failure"]["title"] == "The scheduler does not answer"
    assert site.slurm.state(job) == "RUNNING"


def submitted(site: FaultSite) -> str:
    """The id of alice's live job, once sbatch has answered."""
    server = site.hub.server("alice")
    live = (server.get("job") or {}).get("name") in site.live_records()
    return str(server["job"]["id"] or "") if live else ""


def test_a_forgotten_job_is_told_and_its_ids_next_job_is_left_alone(
    site: FaultSite,
) -> None:
    slurm = site.slurm
    for _ in range(6):
        site.start("alice")
        job = site.wait_for("it is submitted", lambda: submitted(site))
        slurm.kill("slurmctld")
        slurm.start("slurmctld")
        slurm.wait_up()
        # On another node: a job of this id still dies on the first one.
        other = slurm.submit("sleep 300", "-p", "gpu", "-w", "n1", user="bob")
        if other == job:
            break
        slurm.admin("scancel", other)
        site.hub.stop_server("alice")
        site.hub.wait_state("alice", "stopped", "failed", seconds=90)
        site.wait_for("JupyterHub knows", lambda: site.marked_stopped("alice"))
    assert other == job, "the controller saved every job in time"
    server = site.hub.wait_state("alice", "failed", seconds=120)
    assert server["failure"]["title"] == "Lost by the scheduler"
    assert server["failure"]["hint"]
    site.hub.stop_server("alice")
    site.wait_for("JupyterHub knows", lambda: site.marked_stopped("alice"))
    assert slurm.state(other) == "RUNNING"
    slurm.admin("scancel", other)


def test_without_munge_servers_go_on_and_starts_say_why(site: FaultSite) -> None:
    job = site.ready("alice")["job"]["id"]
    site.slurm.kill("munged")
    Path(site.slurm.munge_socket).unlink()
    site.hub.api.post(
        "/hub/api/users/bob/server",
        json={"user_options": {"profile": "stub"}},
        timeout=90,
    )
    server = site.hub.wait_state("bob", "failed", seconds=90)
    assert server["failure"]["title"] == "The scheduler does not accept the gateway"
    assert server["failure"]["hint"]
    assert site.hub.answers("alice")
    assert site.hub.server("alice")["state"] == "ready"
    site.slurm.repair()
    site.wait_for(
        "all is true again", lambda: site.hub.server("alice")["job"]["is_current"]
    )
    assert site.slurm.state(job) == "RUNNING"
    site.wait_for("bob may try again", lambda: site.marked_stopped("bob"))
    site.ready("bob")
