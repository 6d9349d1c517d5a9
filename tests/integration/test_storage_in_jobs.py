"""S3 without arguments in a notebook that runs as alice in a real Slurm job."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cluster import Cluster
from hub_process import CHECKOUT, HubProcess, running_hub, until
from notebook_rig import Channel
from websockets.sync.client import connect

pytestmark = [pytest.mark.slurm, pytest.mark.root]

BOTO3 = """
import boto3, os
s3 = boto3.client("s3")
names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
s3.put_object(Bucket="alice", Key="by boto3", Body=b"hello")
print(os.getuid(), names, s3.get_object(Bucket="alice", Key="by boto3")["Body"].read())
try:
    s3.get_object(Bucket="bob", Key="secret")
except s3.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""
S3FS = """
import s3fs
fs = s3fs.S3FileSystem()
fs.pipe("alice/by-s3fs", b"hello")
print(fs.cat("alice/by-s3fs"), fs.cat("alice/by boto3"))
try:
    fs.cat("bob/secret")
except PermissionError:
    print("refused")
"""
HOME = """
from pathlib import Path
print([str(path) for path in Path.home().rglob("*") if "aws" in path.name.lower()])
from landbridge import storage
print([(b.name, b.why) for b in storage.buckets()])
"""


@pytest.fixture
def storage_hub(slurm: Cluster, shared: Path, people: object) -> Iterator[HubProcess]:
    """A hub as root with its store, where alice and bob have accounts."""
    settings = shared / "gateway.toml"
    settings.write_text(
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{slurm.munge_socket}"\n'
        'proof = "munge"\nprofiles = "profiles.yaml"\n'
    )
    extensions = CHECKOUT / "extensions"
    config = shared / "jupyter"
    config.mkdir()
    (config / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": {"landbridge_lab": True}}})
    )
    (shared / "profiles.yaml").write_text(
        "profiles:\n"
        "  cpu:\n    title: One core\n"
        "    resources: {cpus: 1, memory: 600M, time_limit: 20min}\n"
        "    environment:\n"
        f"      PYTHONPATH: {extensions / 'client'}:{extensions / 'lab'}\n"
        f"      JUPYTER_CONFIG_PATH: {config}\n"
    )
    with running_hub(
        shared,
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        **slurm.environment,
    ) as hub:
        for user in ("alice", "bob"):
            hub.add_user(user)
        until("the store is there", lambda: health(hub), seconds=60)
        yield hub


def health(hub: HubProcess) -> bool:
    return hub.api.get("/services/storage/health").status_code == 200


def run_in_kernel(hub: HubProcess, user: str, *codes: str) -> list[str]:
    """Run cells in a new kernel of a user's server, as a browser would."""
    token = hub.call("POST", f"users/{user}/tokens", {"note": "test"})["token"]
    headers = {"Authorization": f"token {token}"}
    path = f"127.0.0.1:{hub.port}/user/{user}/api/kernels"
    answer = httpx.post(f"http://{path}", headers=headers, timeout=60, json={})
    assert answer.status_code == 201, answer.text
    session = uuid.uuid4().hex
    with connect(
        f"ws://{path}/{answer.json()['id']}/channels?session_id={session}",
        additional_headers=headers,
        max_size=None,
        open_timeout=30,
    ) as socket:
        channel = Channel(socket, session)
        return [channel.run(code, 120) for code in codes]


def test_alices_kernel_reads_and_writes_her_bucket_and_not_bobs(
    storage_hub: HubProcess,
) -> None:
    hub = storage_hub
    secret = hub.call("POST", "users/bob/tokens", {"note": "test"})["token"]
    answer = hub.api.get(
        "/services/storage/api/v1/buckets",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert [each["name"] for each in answer.json()["buckets"]] == ["bob"]
    hub.start_server("alice", options={"profile": "cpu"})
    ready = hub.wait_state("alice", "ready", "failed", seconds=90)
    assert ready["state"] == "ready", ready
    until("it answers", lambda: hub.answers("alice"))
    python = os.environ.get("LANDBRIDGE_TEST_CLIENTS") or sys.executable
    run = "import subprocess\nprint(subprocess.run({}, capture_output=True, text=True))"
    with_s3fs = run.format([python, "-W", "ignore", "-c", S3FS])
    boto3, s3fs, home = run_in_kernel(hub, "alice", BOTO3, with_s3fs, HOME)
    assert boto3.splitlines() == ["1001 ['alice'] b'hello'", "AccessDenied"], boto3
    if "LANDBRIDGE_TEST_CLIENTS" in os.environ:
        assert "b'hello' b'hello'\\nrefused" in s3fs, s3fs
    assert home.splitlines() == ["[]", "[('alice', 'own')]"], home
