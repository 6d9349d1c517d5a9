"""Hub, jobs service and HAProxy are killed beside servers on Slurm."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest

from rigs.faults.notebook import Tab
from rigs.faults.site import FaultSite

pytestmark = [pytest.mark.slurm, pytest.mark.root]


def haproxy_of(site: FaultSite) -> list[int]:
    """Ids of the processes of this gateway's HAProxy."""
    mark = str(site.hub.state).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if mark in words and b"haproxy" in words.split(b"\0")[0]:
                found.append(int(entry.name))
    return found


def test_the_same_tab_works_on_without_hub_and_after_haproxy(site: FaultSite) -> None:
    job = site.ready("alice", profile="lab")["job"]["id"]
    tab = Tab(site.hub, "alice")
    tab.run("kept = [6 * 7]")
    tab.run("import os; kept.append(os.environ['SLURM_JOB_ID'])")
    site.hub.kill()
    # The very same connection, while there is no hub at all.
    assert tab.run("print(*kept)").split() == ["42", job]
    site.hub.start()
    assert tab.run("kept.append('hub'); print(*kept)").split() == ["42", job, "hub"]
    assert site.hub.wait_state("alice", "ready")["job"]["id"] == job

    processes = haproxy_of(site)
    assert processes
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    with pytest.raises(Exception):  # noqa: B017 -- however the library says it
        tab.run("print(1)", seconds=5)

    def back() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return site.hub.answers("alice")
        return False

    site.wait_for("the edge is back", back, seconds=10)
    assert time.monotonic() - killed < 3
    tab.open()
    assert tab.run("print(*kept)").split() == ["42", job, "hub"]
    tab.close()
    assert site.live_jobs() == site.names("server:alice/")


def test_haproxy_dies_while_there_is_no_hub(site: FaultSite) -> None:
    """Nobody restarts it then; the next hub does, with every route."""
    site.ready("alice")
    site.hub.kill()
    for pid in haproxy_of(site):
        os.kill(pid, signal.SIGKILL)
    site.hub.start()
    site.wait_for("the server answers", lambda: site.hub.answers("alice"))
    assert site.live_jobs() == site.names("server:alice/")


@pytest.mark.parametrize("victim", ["hub", "jobs", "hub and jobs"])
@pytest.mark.parametrize("moment", ["in sbatch", "written down", "submitted", "random"])
def test_a_start_on_slurm_outlives_them_at_each_step(
    site: FaultSite, moment: str, victim: str
) -> None:
    """Also between sbatch's answer and the note of it: sbatch is held there."""
    seed = random.randrange(10**6)
    print("seed", seed)

    def kill() -> None:
        if "jobs" in victim:
            site.hub.kill_sibling("jobs")
        if "hub" in victim:
            site.hub.kill()

    if moment == "in sbatch":
        seen = site.tools.calls("sbatch")
        late = '/usr/bin/sbatch "$@"; exec sleep 2'
        with site.tools.do("sbatch", late):
            site.start("alice")
            site.wait_for("sbatch runs", lambda: site.tools.calls("sbatch") > seen)
            site.wait_for("the job is there", lambda: site.live_jobs("alice"))
            kill()
    else:
        site.start("alice")
        if moment == "random":
            time.sleep(random.Random(seed).random() * 3)
        else:
            site.wait_for("the row", lambda: site.live_records())
        if moment == "submitted":
            site.wait_for("a job", lambda: site.live_jobs("alice"))
        kill()
    site.hub.start_missing()
    # A hub that lived through it tells of a start that it was asked for.
    ends = {"ready", "failed"} if victim == "jobs" else {"ready", "failed", "none"}
    server = site.hub.wait_state("alice", *ends, seconds=90)
    if server["state"] == "ready":
        site.wait_for("it answers", lambda: site.hub.answers("alice"))
        assert site.live_jobs() == site.names("server:alice/")
        return
    # Killed before sbatch ran: there never was a job, which is told, and none comes.
    assert moment in ("written down", "random"), server
    assert site.live_jobs() == []
    if server["state"] == "failed":
        assert server["failure"]["hint"]
