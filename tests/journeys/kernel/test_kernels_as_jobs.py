"""A server that is a job starts kernels that are jobs: through the hub and the edge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rigs.hub.process import NO_STORAGE, HubProcess, running_hub, until
from rigs.slurm.cluster import Cluster

PROFILES = """\
profiles:
  cpu:
    title: One core
    resources: {cpus: 1, memory: 400 MB, time_limit: 20min}
  gpu:
    title: One GPU
    resources: {cpus: 1, memory: 200 MB, gpus: 1, time_limit: 20min}
"""


def write_settings(shared: Path, text: str) -> str:
    (shared / "profiles.yaml").write_text(PROFILES)
    settings = shared / "gateway.toml"
    settings.write_text(text + NO_STORAGE)
    return str(settings)


@pytest.fixture
def gpu_hub(shared: Path) -> Iterator[HubProcess]:
    """A hub on this machine, with two simulated GPUs."""
    settings = write_settings(shared, "[scheduler]\nslots_gpus = 2\n")
    with running_hub(shared, LANDBRIDGE_CONFIG=settings) as hub:
        yield hub


@pytest.fixture
def slurm_hub(slurm: Cluster, shared: Path, people: object) -> Iterator[HubProcess]:
    """A hub as root on the private Slurm."""
    settings = write_settings(
        shared,
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{slurm.munge_socket}"\n'
        'proof = "munge"\n',
    )
    with running_hub(
        shared,
        LANDBRIDGE_CONFIG=settings,
        LANDBRIDGE_SCHEDULER="slurm",
        **slurm.environment,
    ) as hub:
        yield hub


def kernel_runs(hub: HubProcess, user: str) -> dict[str, Any]:
    """Start a server and a GPU kernel; return what is told of the kernel."""
    hub.add_user(user)
    hub.start_server(user, options={"profile": "cpu"})
    server = hub.wait_state(user, "ready", "failed", seconds=120)
    assert server["state"] == "ready", server
    until("the server answers", lambda: hub.answers(user))
    base = f"/user/{user}"
    made = hub.api.post(f"{base}/api/kernels", json={"name": "python3.lb.gpu"})
    assert made.status_code == 201, made.text
    where = f"{base}/landbridge/kernels/{made.json()['id']}"

    def settled() -> Any:
        view = hub.api.get(where).json()
        return view if view["state"] in ("running", "dead") else None

    view = until("the kernel runs", settled, seconds=90)
    assert view["state"] == "running", view
    assert view["job_id"] != server["job"]["id"]
    assert view["resources"]["gpus"] == 1
    return {**view, "id": made.json()["id"]}


def test_a_kernel_is_a_job_beside_its_servers_and_is_metered(
    gpu_hub: HubProcess,
) -> None:
    view = kernel_runs(gpu_hub, "ann")
    listed = gpu_hub.api.get("/user/ann/landbridge/jobs").json()["jobs"]
    assert [job["kind"] for job in listed] == ["server", "kernel"]
    assert listed[1]["job_id"] == view["job_id"]

    def metered() -> Any:
        told = gpu_hub.call("GET", "landbridge/usage?user=ann")
        kinds = {job["kind"]: job for job in told["jobs"]}
        return told if {"server", "kernel"} <= set(kinds) else None

    told = until("what was used", metered)
    kernel = next(job for job in told["jobs"] if job["kind"] == "kernel")
    assert kernel["job_id"] == view["job_id"]
    assert kernel["gpus"] == 1
    assert told["totals"]["gpu_hours"] >= 0
    assert list(told["users"]) == ["ann"]
    gpu_hub.stop_server("ann")
    gpu_hub.wait_state("ann", "stopped")


@pytest.mark.slurm
@pytest.mark.root
def test_alice_submits_her_kernels_from_her_servers_job(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    view = kernel_runs(slurm_hub, "alice")
    done = subprocess.run(
        ["squeue", "-h", "-o", "%i %u %T"],
        env={"PATH": "/usr/bin:/bin", **slurm.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{view['job_id']} alice RUNNING" in done.stdout
    slurm_hub.stop_server("alice")
    slurm_hub.wait_state("alice", "stopped")

    def gone() -> bool:
        listing = subprocess.run(
            ["squeue", "-h", "-u", "alice"],
            env={"PATH": "/usr/bin:/bin", **slurm.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return not listing.stdout.strip()

    until("no job of alice is left", gone)
