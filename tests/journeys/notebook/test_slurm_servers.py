"""Notebook servers as jobs of real accounts on a real Slurm."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from rigs.hub.process import NO_STORAGE, HubProcess, running_hub, until
from rigs.notebooks.on_hub import browser
from rigs.places import open_directory
from rigs.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.root]


@pytest.fixture(scope="module")
def running_hub_on_slurm(slurm_rig: Cluster, people: object) -> Iterator[HubProcess]:
    with open_directory() as directory, hub_on_slurm(directory, slurm_rig) as hub:
        yield hub


@pytest.fixture
def slurm_hub(running_hub_on_slurm: HubProcess, slurm: Cluster) -> Iterator[HubProcess]:
    """A hub as root on the private Slurm, where alice and bob have accounts."""
    yield running_hub_on_slurm
    slurm.repair()
    running_hub_on_slurm.clear("alice", "bob")


@contextmanager
def hub_on_slurm(directory: Path, slurm: Cluster) -> Iterator[HubProcess]:
    settings = directory / "gateway.toml"
    settings.write_text(
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{slurm.munge_socket}"\n'
        'proof = "munge"\nprofiles = "profiles.yaml"\n' + NO_STORAGE
    )
    (directory / "profiles.yaml").write_text(
        "profiles:\n"
        "  cpu:\n    title: One core\n"
        "    resources: {cpus: 1, memory: 400 MB, time_limit: 20min}\n"
        "  gpu:\n    title: One GPU\n"
        "    resources: {cpus: 1, memory: 400 MB, gpus: 1, partition: gpu,"
        " time_limit: 20min}\n"
        "  own:\n    title: Your own\n"
        "    resources: {cpus: 1, memory: 100 MB, time_limit: 20min}\n"
        "    choices: {memory: {min: 50M, max: 400M}}\n"
        "  never:\n    title: Too long\n"
        "    resources: {time_limit: 9d}\n"
    )
    with running_hub(
        directory,
        # These tests start more often than a person does.
        "--AccountRule.starts_at_once=1000",
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        **slurm.environment,
    ) as hub:
        for user in ("alice", "bob"):
            hub.add_user(user)
        yield hub


def queue(slurm: Cluster) -> list[str]:
    """``job id, user, state`` of every job in the queue."""
    done = subprocess.run(
        ["squeue", "-h", "-o", "%i %u %T"],
        env={"PATH": "/usr/bin:/bin", **slurm.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")[:-1]


def test_two_users_work_in_jobs_of_their_own(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    hub = slurm_hub
    hub.start_server("alice", options={"profile": "gpu"})
    hub.start_server("bob", options={"profile": "cpu"})
    ready = {
        user: hub.wait_state(user, "ready", "failed", seconds=90)
        for user in ("alice", "bob")
    }
    assert {server["state"] for server in ready.values()} == {"ready"}, ready
    until("both answer", lambda: hub.answers("alice") and hub.answers("bob"))
    for user, server in ready.items():
        assert f"{server['job']['id']} {user} RUNNING" in queue(slurm)
        assert 0 < server["job"]["time_left"] <= 20 * 60
    assert ready["alice"]["resources"]["gpus"] == 1
    hub.stop_server("alice")
    hub.wait_state("alice", "stopped")
    until("alice's job has gone", lambda: not [j for j in queue(slurm) if "alice" in j])
    assert hub.answers("bob")


def test_the_hub_dies_while_alice_waits_in_the_queue(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    hub = slurm_hub
    blocker = slurm.submit("sleep 600", "-N1", "--exclusive", "-w", "n4", user="bob")
    slurm.wait_state(blocker, "RUNNING")
    hub.start_server("alice", options={"profile": "cpu"})
    queued = hub.wait_state("alice", "queued")
    hub.kill()
    hub.start()
    assert hub.wait_state("alice", "queued")["job"]["id"] == queued["job"]["id"]
    subprocess.run(
        ["scancel", str(blocker)],
        env={"PATH": "/usr/bin:/bin", **slurm.environment},
        check=True,
    )
    ready = hub.wait_state("alice", "ready", "failed", seconds=90)
    assert ready["state"] == "ready", ready
    assert ready["job"]["id"] == queued["job"]["id"]
    until("it answers", lambda: hub.answers("alice"))


def guesses_asked(slurm: Cluster) -> int:
    """How many times the controller was asked when a job would start."""
    done = slurm.run(["sdiag"], user="root")
    (line,) = [x for x in done.stdout.splitlines() if "REQUEST_JOB_WILL_RUN" in x] or [
        "count:0"
    ]
    return int(re.search(r"count:(\d+)", line)[1])


def test_one_users_previews_are_few_questions_to_slurm(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    """200 previews of bob's; alice's own is answered meanwhile."""
    hub = slurm_hub
    blocker = slurm.submit("sleep 600", "-N1", "--exclusive", "-w", "n4")
    slurm.wait_state(blocker, "RUNNING")
    tokens = {
        user: hub.call("POST", f"users/{user}/tokens", {})["token"]
        for user in ("alice", "bob")
    }

    def preview(user: str, megabytes: int) -> httpx.Response:
        return httpx.post(
            f"http://127.0.0.1:{hub.port}/hub/api/landbridge/preview",
            json={"profile": "own", "memory": f"{megabytes}M"},
            headers={"Authorization": f"token {tokens[user]}"},
            trust_env=False,
            timeout=60,
        )

    def waits() -> bool:
        answer = hub.api.get("/hub/api/landbridge/cluster").json()
        if answer["partitions"] is None:
            return False  # not read yet
        return not any(p["idle_cpus"] for p in answer["partitions"] if p["default"])

    # The hub's picture may be a minute old, and the service's, which it asks for, too.
    until("the snapshot shows no free core", waits, seconds=150)
    assert preview("bob", 400).json()["allowed"]
    before = guesses_asked(slurm)
    with ThreadPoolExecutor(20) as pool:
        flood = [pool.submit(preview, "bob", 50 + n) for n in range(200)]
        hers = preview("alice", 77)
        answers = [one.result() for one in flood]
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    assert all(a.headers["Retry-After"] for a in answers if a.status_code == 429)
    assert hers.status_code == 200
    assert "start" in hers.json()["text"]
    # Five left of six at once, one more each ten seconds, and alice's.
    assert guesses_asked(slurm) - before <= 16, statuses


def test_what_can_never_start_is_refused_in_words(slurm_hub: HubProcess) -> None:
    answer = slurm_hub.api.post(
        "/hub/api/users/alice/server", json={"user_options": {"profile": "never"}}
    )
    # 202 where the answer did not wait for the refusal: the machine is busy.
    assert answer.status_code in (400, 202)
    server = slurm_hub.wait_state("alice", "failed")
    assert "1 d" in json.dumps(server["failure"])
    if answer.status_code == 400:
        assert server["failure"]["detail"] in answer.json()["message"]


def test_servers_live_through_a_dead_controller_and_a_new_hub(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    hub = slurm_hub
    hub.start_server("alice", options={"profile": "cpu"})
    job = hub.wait_state("alice", "ready", "failed", seconds=90)["job"]["id"]
    until("it answers", lambda: hub.answers("alice"))
    with slurm.stopped("slurmctld"):
        hub.kill()
        hub.start()
        server = hub.wait_state("alice", "ready", seconds=30)
        assert server["job"]["id"] == job
        assert hub.answers("alice")
        answer = hub.api.post(
            "/hub/api/users/bob/server", json={"user_options": {"profile": "cpu"}}
        )
        assert answer.status_code in (202, 503), answer.text
        assert hub.answers("alice")
    until(
        "the scheduler is believed again",
        lambda: hub.server("alice")["job"]["is_current"],
    )
    assert hub.server("alice")["state"] == "ready"
    hub.stop_server("alice")
    hub.wait_state("alice", "stopped", seconds=60)


def test_no_secret_of_a_server_is_in_sight(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    hub = slurm_hub
    hub.start_server("alice", options={"profile": "cpu"})
    job = hub.wait_state("alice", "ready", "failed", seconds=90)["job"]["id"]
    shown = subprocess.run(
        ["scontrol", "show", "job", "-d", str(job)],
        env={"PATH": "/usr/bin:/bin", **slurm.environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    script = subprocess.run(
        ["scontrol", "write", "batch_script", str(job), "-"],
        env={"PATH": "/usr/bin:/bin", **slurm.environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    state = hub.call("GET", "users/alice")["servers"][""]["state"]
    for place in (shown, script, hub.log.read_text(), str(state)):
        for word in ("API_TOKEN", "PRIVATE KEY", "report_secret"):
            assert word not in place


@contextmanager
def small_home(home: Path, mode: str, owner: str) -> Iterator[None]:
    """Put a file system of 64 kB over somebody's home, and fill it up."""
    options = f"size=64k,mode={mode}"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "landbridge-test", home], check=True
    )
    try:
        subprocess.run(["chown", owner, home], check=True)
        data = os.open(home / "data", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space left"):
            while True:
                os.write(data, bytes(4096))
        os.close(data)
        yield
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)


def test_a_full_home_keeps_no_server_from_starting(slurm_hub: HubProcess) -> None:
    """What a start writes lies on the node; the full home shows in JupyterLab."""
    with small_home(Path("/home/alice"), "0700", "alice"):
        slurm_hub.start_server("alice", options={"profile": "cpu"})
        server = slurm_hub.wait_state("alice", "failed", "ready", seconds=120)
        assert server["state"] == "ready", server
        until("it answers", lambda: slurm_hub.answers("alice"))
        slurm_hub.stop_server("alice")
        slurm_hub.wait_state("alice", "stopped", seconds=60)


def test_the_log_of_a_server_is_its_users_alone_and_holds_no_secret(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    hub = slurm_hub
    log = Path(pwd.getpwnam("alice").pw_dir) / ".landbridge-server.log"
    # As slurmd made it for an earlier release, with bob reading along already.
    log.unlink(missing_ok=True)  # a server of another gateway may still write to it
    log.write_text("of an earlier release\n")
    shutil.chown(log, "alice", "alice")
    log.chmod(0o644)
    lurker = subprocess.Popen(
        ["tail", "-c", "+1", "-f", log], user="bob", stdout=subprocess.PIPE
    )
    try:
        hub.start_server("alice", options={"profile": "cpu"})
        server = hub.wait_state("alice", "ready", "failed", seconds=150)
        assert server["state"] == "ready", hub.progress("alice")
        with browser(hub, "alice") as client:
            (session,) = (
                one.value
                for one in client.cookies.jar
                if one.name == "jupyterhub-session-id"
            )
            assert client.get("/user/alice/lab").status_code == 200
        until("the visit is logged", lambda: "/user/alice/lab" in log.read_text())
        text = log.read_text()
        hub.stop_server("alice")
        hub.wait_state("alice", "stopped", seconds=90)
    finally:
        lurker.terminate()
        seen, _ = lurker.communicate(timeout=20)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert b"ServerApp" not in seen
    refused = subprocess.run(["cat", log], user="bob", capture_output=True, text=True)
    assert "Permission denied" in refused.stderr
    assert session
    assert session not in text
    assert "JUPYTERHUB_API_TOKEN" not in text
