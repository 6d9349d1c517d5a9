"""A gateway of an older release runs with servers; the code of today takes it over.

The older one is commit c6a3b0a, the last before files and names moved.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from rigs.checkout import CHECKOUT
from rigs.hub.old_release import OldRelease
from rigs.hub.process import HubProcess, until
from rigs.notebooks.on_hub import NotebookServer, browser
from rigs.slurm.cluster import Cluster

RELEASE = "c6a3b0a"
# Two GPUs are all that there are of their kind.
PROFILES = """\
profiles:
  cpu:
    title: One core
    resources: {{cpus: 1, memory: 600M, time_limit: 20min}}
  gpus:
    title: Two GPUs
    resources: {{cpus: 1, memory: 600M, gpus: 2, time_limit: 20min{model}}}
"""
STORAGE_PAGE = "/services/storage/"
STORAGE = "/services/storage/api/v1"
LOCAL = "[scheduler]\nslots_gpus = 2\n"
SLURM = """\
[jobs]
address = "127.0.0.1"
munge_socket = "{socket}"
proof = "munge"
"""


@contextmanager
def old_gateway(
    directory: Path, settings: str, model: str = "", **environment: str
) -> Iterator[HubProcess]:
    """A gateway of the older release, which :func:`upgrade` makes one of today's."""
    release = OldRelease(RELEASE, directory / "release")
    (directory / "gateway.toml").write_text(settings)
    (directory / "profiles.yaml").write_text(PROFILES.format(model=model))
    hub = HubProcess(
        directory / "state",
        checkout=release.checkout,
        python=release.python,
        LANDBRIDGE_CONFIG=str(directory / "gateway.toml"),
        LANDBRIDGE_ENVIRONMENT=str(release.prefix),
        **environment,
    )
    try:
        hub.start()
        until("the store is there", lambda: storage_works(hub))
        yield hub
    finally:
        hub.close()


def storage_works(hub: HubProcess) -> bool:
    return hub.api.get("/services/storage/health").status_code == 200


def upgrade(hub: HubProcess) -> None:
    """End the older gateway's hub, and start today's with all that it left."""
    hub.stop()
    for name in ("config", "hub", "services"):  # what running servers do not import
        shutil.rmtree(hub.checkout / name)
    hub.checkout, hub.python = CHECKOUT, sys.executable
    hub.environment["LANDBRIDGE_ENVIRONMENT"] = sys.prefix
    hub.start()
    until("the store is there", lambda: storage_works(hub))


@pytest.fixture
def local_hub(shared: Path) -> Iterator[HubProcess]:
    """An older gateway on this machine, with two simulated GPUs."""
    with old_gateway(shared, LOCAL) as hub:
        yield hub


@pytest.fixture
def slurm_hub(slurm: Cluster, shared: Path, people: object) -> Iterator[HubProcess]:
    """An older gateway as root on the private Slurm."""
    settings = SLURM.format(socket=slurm.munge_socket)
    environment = {**slurm.environment, "LANDBRIDGE_SCHEDULER": "slurm"}
    model = ", gpu_model: l40, partition: gpu"
    with old_gateway(shared, settings, model, **environment) as hub:
        yield hub


class StorageUser:
    """A user of the storage service, by an API token of her own."""

    def __init__(self, hub: HubProcess, user: str) -> None:
        self.token = hub.call("POST", f"users/{user}/tokens", {"note": "test"})["token"]
        self._api = hub.api

    def call(self, method: str, path: str, body: object = None) -> Any:
        response = self._api.request(
            method,
            f"{STORAGE}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert response.is_success, response.text
        return response.json() if response.content else None

    def upload(self, bucket: str, key: str, content: bytes) -> None:
        upload = {"bucket": bucket, "key": key, "size": len(content)}
        url = self.call("POST", "urls/upload", upload)
        httpx.request(
            url["method"],
            url["url"],
            content=content,
            headers=url["headers"],
            trust_env=False,
        ).raise_for_status()

    def rows(self) -> dict[str, Any]:
        """All that the service remembers for her; lists had no cursor then."""
        paths = ("buckets", "credentials", "shares", "links")
        return {path: self.call("GET", path)[path] for path in paths}


def s3_client(credentials: dict[str, Any]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=credentials["endpoint"],
        region_name=credentials["region"],
        aws_access_key_id=credentials["access_key"],
        aws_secret_access_key=credentials["secret_key"],
        aws_session_token=credentials["session_token"],
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def jobs_of(hub: HubProcess) -> dict[str, str]:
    """Every job that was ever written down, by its random name, and whose it is."""
    with sqlite3.connect(hub.state / "db" / "jobs.sqlite") as database:
        return dict(database.execute("select name, owner from landbridge_jobs"))


def kernel_named(server: NotebookServer, ending: str) -> str:
    """Start a kernel of the kind whose name ends so; return its id."""
    kinds = server.call("GET", "api/kernelspecs")["kernelspecs"]
    name = next(kind for kind in kinds if kind.endswith(ending))
    return str(server.call("POST", "api/kernels", {"name": name})["id"])


def have_adopted(server: NotebookServer, kernel: str) -> None:
    """A kept kernel outlives the older release's server, and is its next one's."""
    where = f"landbridge/kernels/{kernel}"
    job = server.call("PUT", f"{where}/keep", {"keep": True, "hours": 1})["job_id"]
    server.stop()
    server.hub.start_server(server.user, options={"profile": "cpu"})
    server.hub.wait_state(server.user, "ready", seconds=90)
    until("it answers", lambda: server.hub.answers(server.user))
    view = server.wait(kernel, "running")
    assert (view["job_id"], view["keep"]) == (job, True)
    assert server.run(kernel, "print(variable, kernel)") == f"4711 {kernel}"
    # In its job, by the launcher of then.
    server.call("POST", f"api/kernels/{kernel}/restart")
    assert "NameError" in server.run(kernel, "print(variable)")
    assert server.wait(kernel, "running")["job_id"] == job


def taken_over(hub: HubProcess, user: str, queue: Callable[[], set[str]]) -> None:
    """Have all that a gateway has; upgrade it; nothing is lost and nothing doubled.

    Args:
        hub: of the older release.
        user: whose servers it runs.
        queue: tells the ids of all jobs that wait or run.
    """
    hub.add_user(user)
    hub.add_user("bob")
    alice, server = StorageUser(hub, user), NotebookServer(hub, user)
    hub.start_server(user, options={"profile": "cpu"})
    job = hub.wait_state(user, "ready", "failed", seconds=90)["job"]
    until("it answers", lambda: hub.answers(user))
    beside = kernel_named(server, "python3")
    in_job = kernel_named(server, "python3.lb.gpus")
    server.wait(in_job, "running")
    for kernel in (beside, in_job):
        server.run(kernel, f"variable = 4711; kernel = '{kernel}'")

    # All GPUs are taken: this start waits in the queue, with its programs of then.
    hub.start_server(user, "waiting", {"profile": "gpus"})
    queued = hub.wait_state(user, "queued", name="waiting")["job"]

    bucket = alice.call("GET", "buckets")["buckets"][0]["name"]
    alice.upload(bucket, "object", b"content")
    share = {"bucket": bucket, "prefix": "", "kind": "user", "name": "bob"}
    alice.call("POST", "shares", share)
    link = alice.call("POST", "links", {"bucket": bucket, "key": "object"})
    credentials = alice.call("POST", "credentials", {"purpose": "a notebook"})
    rows = alice.rows()
    jobs, waiting_or_running = jobs_of(hub), queue()
    assert len(waiting_or_running) == 3

    with browser(hub, user) as session:
        upgrade(hub)
        for path in ("/hub/home", f"/user/{user}/lab"):
            page = session.get(path, follow_redirects=False)
            assert page.status_code == 200, (path, page)
        # By the hub, which knows her, and not by its form to sign in.
        assert session.get(STORAGE_PAGE).url.path == STORAGE_PAGE

    # The same jobs, and what is in them.
    assert hub.wait_state(user, "ready", seconds=5)["job"]["id"] == job["id"]
    assert hub.server(user, "waiting")["job"]["id"] == queued["id"]
    assert jobs_of(hub) == jobs
    assert queue() == waiting_or_running
    for kernel in (beside, in_job):
        assert server.run(kernel, "print(variable, kernel)") == f"4711 {kernel}"

    # The same storage, by every way that was open.
    assert alice.rows() == rows
    # Keys are good still; the older gateway led programs to a port of the store's own.
    endpoint = alice.call("POST", "credentials", {"purpose": "later"})["endpoint"]
    client = s3_client({**credentials, "endpoint": endpoint})
    stored = client.get_object(Bucket=bucket, Key="object")
    assert stored["Body"].read() == b"content"
    assert httpx.get(link["url"], follow_redirects=True, trust_env=False).content == (
        b"content"
    )

    have_adopted(server, in_job)

    # What was submitted before starts under the new hub; all of it ends under it.
    server.call("DELETE", f"api/kernels/{in_job}")
    ready = hub.wait_state(user, "ready", "failed", name="waiting", seconds=90)
    assert ready["state"] == "ready", ready
    assert ready["job"]["id"] == queued["id"]
    until("it answers", lambda: hub.answers(user, "waiting"))
    for name in ("waiting", ""):
        hub.stop_server(user, name)
        hub.wait_state(user, "stopped", name=name)

    # And the new one goes on: one more job, beside the one that took the kernel over.
    hub.start_server(user, options={"profile": "cpu"})
    assert hub.wait_state(user, "ready", "failed", seconds=90)["state"] == "ready"
    until("it answers", lambda: hub.answers(user))
    assert len(jobs_of(hub)) == len(jobs) + 2
    usage = hub.call("GET", f"landbridge/usage?user={user}")["jobs"]
    assert job["id"] in [entry["job_id"] for entry in usage]


def test_a_gateway_on_this_machine_is_taken_over(local_hub: HubProcess) -> None:
    jobs = local_hub.state / "local" / "jobs"

    def queue() -> set[str]:
        return {job.name for job in jobs.iterdir() if not (job / "end.json").exists()}

    taken_over(local_hub, "ann", queue)


@pytest.mark.slurm
@pytest.mark.root
def test_a_gateway_on_slurm_is_taken_over(
    slurm_hub: HubProcess, slurm: Cluster
) -> None:
    taken_over(
        slurm_hub, "alice", lambda: set(slurm.admin("squeue", "-ho", "%i").split())
    )
