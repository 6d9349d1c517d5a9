"""``landbridge up`` and its processes: adopted, started again, replaced, taken over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.hub.old_release import OldRelease
from rigs.hub.process import until
from spawners.common.processes import ProcessId

NAMES = ("jobs", "hub", "storage", "culler")
RELEASE = "c6a3b0a"
TOKEN = "0123456789abcdef"


def process_of(state: Path, name: str) -> ProcessId:
    file = state / "run" / f"{name}.process.json"
    if name == "edge":
        file = state / "haproxy" / "process.json"
    facts = json.loads(file.read_text())
    return ProcessId(facts["pid"], facts["started"])


def all_of(state: Path) -> dict[str, ProcessId]:
    return {name: process_of(state, name) for name in (*NAMES, "edge")}


@pytest.fixture
def whole(place: dict[str, str]) -> Path:
    """A gateway with all its processes; its state."""
    Path(place["LANDBRIDGE_CONFIG"]).write_text("")
    return Path(place["LANDBRIDGE_STATE"])


def test_what_a_killed_up_left_goes_on_and_is_adopted(run, whole):
    first = run("up")
    first.wait_for("Landbridge is ready at")
    before = all_of(whole)
    first.process.kill()
    first.process.wait(10)
    assert first.get("/hub/login")[0] == 200, "nobody needs it"
    second = run("up")
    second.wait_for("Landbridge is ready at")
    assert all_of(whole) == before
    assert second.end() == 0
    assert not any(process.alive for process in before.values())


@pytest.mark.root
def test_status_and_doctor_know_what_runs_in_another_container(run, whole, place):
    """There the sockets are the same, and pids mean nothing."""
    up = run("up")
    up.wait_for("Landbridge is ready at")

    def elsewhere(command: str) -> str:
        done = subprocess.run(
            [
                *("unshare", "--pid", "--fork", "--mount-proc"),
                *(sys.executable, "-m", "hub.cli", command),
            ],
            env={
                **os.environ,
                "LANDBRIDGE_SCHEDULER": "local",
                "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
                **place,
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.stdout + done.stderr

    assert re.search(r"^proxy +HAProxy 2\.\S+ serves$", elsewhere("status"), re.M)
    findings = elsewhere("doctor")
    assert "ok    ports        HAProxy is listening" in findings
    assert re.search(r"^ok +edge +HAProxy 2\.\S+ serves$", findings, re.M)
    assert up.end() == 0
    assert "HAProxy does not answer" in elsewhere("status")


def test_other_settings_replace_what_a_killed_up_left(run, whole, place):
    first = run("up")
    first.wait_for("Landbridge is ready at")
    before = all_of(whole)
    first.process.kill()
    first.process.wait(10)
    Path(place["LANDBRIDGE_CONFIG"]).write_text('[hub]\nname = "Another"\n')
    second = run("up")
    second.wait_for("Landbridge is ready at")
    after = all_of(whole)
    assert all(after[name] != before[name] for name in NAMES)
    assert not any(before[name].alive for name in NAMES)
    assert b"Another" in second.get("/hub/login")[1]
    assert second.end() == 0


def test_each_that_is_killed_is_started_again_and_no_other(run, whole):
    up = run("up")
    up.wait_for("Landbridge is ready at")
    titles = {
        "jobs": "The jobs service",
        "hub": "The hub",
        "storage": "The storage service",
        "culler": "The culler",
    }
    for name, title in titles.items():
        before = all_of(whole)
        os.kill(before[name].pid, signal.SIGKILL)
        up.wait_for(f"{title} is back.")
        after = all_of(whole)
        changed = {one for one in before if before[one] != after[one]}
        assert changed == {name}
    assert up.end() == 0
    assert not any(process.alive for process in after.values())


def test_a_gateway_whose_hub_had_children_is_taken_over(run, whole, place, short_tmp):
    release = OldRelease(RELEASE, short_tmp / "release")
    variables = {
        **os.environ,
        "LANDBRIDGE_SCHEDULER": "local",
        "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
        "LANDBRIDGE_ENVIRONMENT": str(release.prefix),
        "LANDBRIDGE_ADMIN_TOKEN": TOKEN,
        **place,
    }
    with subprocess.Popen(
        [release.python, "-m", "hub.cli", "up"],
        cwd=release.checkout,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as old:
        assert old.stdout is not None
        for line in old.stdout:
            if "ready at" in line:
                break
        edge = process_of(whole, "edge")
        old.kill()
    up = run("up", LANDBRIDGE_ADMIN_TOKEN=TOKEN)
    up.wait_for("Landbridge is ready at")
    until("old configuration is gone", lambda: not edge.alive, seconds=60)
    assert up.get("/hub/login")[0] == 200
    assert up.end() == 0
    assert not any(
        f"{release.checkout}".encode() in (entry / "cmdline").read_bytes()
        for entry in Path("/proc").glob("[0-9]*")
        if (entry / "cmdline").exists()
    )
