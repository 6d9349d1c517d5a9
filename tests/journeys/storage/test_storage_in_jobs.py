"""S3 clients in a kernel that runs as alice in a real Slurm job."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from rigs.clients.code import AT_HAND, LOOP, NO_ARGUMENTS, ONE_LINE, PRELUDE
from rigs.hub.process import CHECKOUT, HubProcess, running_hub, until
from rigs.notebooks.server import Channel, open_channel
from rigs.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.root]

API = "/services/storage/api/v1"
FINE = "All of it worked."
FROZEN = "boto3.Session().get_credentials().get_frozen_credentials()[:3]"
HOME = """
from pathlib import Path
print(os.getuid(), os.environ["SLURM_JOB_ID"].isdigit())
print([str(path) for path in Path.home().rglob("*") if "aws" in path.name.lower()])
from landbridge import storage
print([(bucket.name, bucket.why) for bucket in storage.buckets()])
"""
NOTEBOOK = {
    "kernel": {"name": "clients"},
    "name": "a.ipynb",
    "path": "a.ipynb",
    "type": "notebook",
}
RCLONE = """
import subprocess
def rclone(*words):
    done = subprocess.run(["rclone", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)
    return done.stdout
open("file", "w").write("hello")
rclone("copyto", "file", f"s3:{mine}/rclone/file")
assert rclone("cat", f"s3:{mine}/rclone/file") == "hello"
refused(lambda: rclone("cat", f"s3:{foreign}/secret"))
"""


@pytest.fixture
def storage_hub(
    slurm: Cluster, shared: Path, people: object, clients_python: str
) -> Iterator[HubProcess]:
    """A hub as root with its store; servers have a kernel with every client."""
    settings = shared / "gateway.toml"
    settings.write_text(
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{slurm.munge_socket}"\n'
        'proof = "munge"\nprofiles = "profiles.yaml"\n'
    )
    extensions = CHECKOUT / "extensions"
    for folder, name, content in (
        (
            "config",
            "jupyter_server_config.json",
            {"ServerApp": {"jpserver_extensions": {"landbridge_lab": True}}},
        ),
        (
            "share/kernels/clients",
            "kernel.json",
            {
                "argv": [
                    *(clients_python, "-W", "ignore"),
                    *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
                ],
                "display_name": "Clients",
                "language": "python",
            },
        ),
    ):
        (shared / folder).mkdir(parents=True)
        (shared / folder / name).write_text(json.dumps(content))
    (shared / "profiles.yaml").write_text(
        "profiles:\n"
        "  cpu:\n    title: One core\n"
        "    resources: {cpus: 1, memory: 4 GB, time_limit: 20min}\n"
        "    environment:\n"
        f"      PYTHONPATH: {extensions / 'client'}:{extensions / 'lab'}\n"
        f"      JUPYTER_CONFIG_PATH: {shared / 'config'}\n"
        f"      JUPYTER_PATH: {shared / 'share'}\n"
        "      MINE: alice\n      FOREIGN: bob\n"
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


class Caller:
    """A user of the storage service, by a token of her own."""

    def __init__(self, hub: HubProcess, user: str) -> None:
        self.token = hub.call("POST", f"users/{user}/tokens", {"note": "test"})["token"]
        self._api = hub.api

    def call(self, method: str, path: str, body: object = None) -> dict:
        answer = self._api.request(
            method,
            f"{API}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def alice(storage_hub: HubProcess) -> Caller:
    return Caller(storage_hub, "alice")


@pytest.fixture
def kernel(storage_hub: HubProcess, alice: Caller) -> Iterator[Channel]:
    """A kernel with the clients, on alice's server, which is a job."""
    hub = storage_hub
    hub.start_server("alice", options={"profile": "cpu"})
    ready = hub.wait_state("alice", "ready", "failed", seconds=90)
    assert ready["state"] == "ready", ready
    until("it answers", lambda: hub.answers("alice"))
    notebook = at_server(hub, alice, "POST", "api/sessions", NOTEBOOK)
    with channel_of(hub, alice, notebook["kernel"]["id"]) as channel:
        works(channel, PRELUDE)
        yield channel


def at_server(
    hub: HubProcess, alice: Caller, method: str, path: str, body: object = None
) -> dict:
    """Ask alice's notebook server."""
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{hub.port}/user/alice/{path}",
        headers={"Authorization": f"token {alice.token}"},
        json=body,
        timeout=60,
    )
    assert answer.is_success, answer.text
    return answer.json() if answer.content else {}


def channel_of(
    hub: HubProcess, alice: Caller, kernel: str
) -> AbstractContextManager[Channel]:
    url = f"http://127.0.0.1:{hub.port}/user/alice/"
    return open_channel(url, kernel, alice.token, seconds=60)


def works(kernel: Channel, code: str) -> None:
    """Run a cell, which fails the test unless it comes to its end."""
    printed = kernel.run(f"{code}\nprint({FINE!r})", 180)
    assert printed.endswith(FINE), printed[-3000:]


@pytest.mark.parametrize(
    "names", [AT_HAND, pytest.param(NO_ARGUMENTS, marks=pytest.mark.long)]
)
def test_every_client_uses_her_bucket_and_not_bobs(
    storage_hub: HubProcess, alice: Caller, kernel: Channel, names: Collection[str]
) -> None:
    bob = Caller(storage_hub, "bob")
    found = bob.call("GET", "buckets")["buckets"]
    assert [each["name"] for each in found] == ["bob"]
    pieces = {
        **{name: code for name, code in NO_ARGUMENTS.items() if name in names},
        **{
            f"{name}, one line": code
            for name, code in ONE_LINE.items()
            if name in names or names is NO_ARGUMENTS
        },
        "rclone": RCLONE,
    }
    failures = {}
    for name, code in pieces.items():
        printed = kernel.run(f"{code}\nprint({FINE!r})", 180)
        if not printed.endswith(FINE):
            failures[name] = printed[-1500:]
    assert failures == {}
    home = kernel.run(HOME).splitlines()
    assert home == ["1001 True", "[]", "[('alice', 'own')]"], home


def test_keys_follow_her_rights_and_end_at_once(
    storage_hub: HubProcess, alice: Caller, kernel: Channel
) -> None:
    """A bucket made later, a share that ends, and keys that are ended."""
    works(kernel, LOOP["boto3"] + "s3.put_object(Bucket=mine, Key='loop', Body=b'x')")
    bob = Caller(storage_hub, "bob")
    bob.call("GET", "buckets")
    share = {"bucket": "bob", "prefix": "in/", "mode": "read-write"}
    share = bob.call("POST", "shares", {**share, "kind": "user", "name": "alice"})
    alice.call("POST", "buckets", {"name": "new"})
    works(kernel, "refused(lambda: s3.put_object(Bucket='alice--new', Key='k'))")
    works(
        kernel,
        "from landbridge import storage\nstorage.renew()\ns3 = boto3.client('s3')\n"
        "s3.put_object(Bucket='alice--new', Key='k', Body=b'1')\n"
        "s3.put_object(Bucket='bob', Key='in/k', Body=b'1')",
    )
    # Its end takes nothing else away.
    bob.call("DELETE", f"shares/{share['id']}")
    works(kernel, "refused(lambda: s3.put_object(Bucket='bob', Key='in/k'))")
    works(kernel, "assert read() == b'x'")
    # Ended keys are dead within a second; others go on, and new ones come.
    keys = alice.call("POST", "credentials", {"purpose": "another program"})
    others = boto3.client(
        "s3",
        endpoint_url=keys["endpoint"],
        region_name=keys["region"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        aws_session_token=keys["session_token"],
    )
    mine = [
        one["id"]
        for one in alice.call("GET", "credentials")["credentials"]
        if one["purpose"] == "kernel of a.ipynb"
    ]
    assert mine
    for name in mine:
        alice.call("DELETE", f"credentials/{name}")
    works(kernel, "refused(read)")
    assert others.get_object(Bucket="alice", Key="loop")["Body"].read() == b"x"
    works(kernel, "storage.renew()\ns3 = boto3.client('s3')\nassert read() == b'x'")
    # A kernel has keys of its own, which end with it.
    second = at_server(storage_hub, alice, "POST", "api/kernels", {"name": "clients"})
    with channel_of(storage_hub, alice, second["id"]) as other:
        works(other, PRELUDE + LOOP["boto3"] + "assert read() == b'x'")
        secret = other.run("import json\nprint(json.dumps(list(" + FROZEN + ")))")
        access_key, secret_key, token = json.loads(secret)
    purposes = {
        one["purpose"] for one in alice.call("GET", "credentials")["credentials"]
    }
    assert purposes >= {"kernel of a.ipynb", f"kernel {second['id'][:8]}"}
    copied = boto3.client(
        "s3",
        endpoint_url=keys["endpoint"],
        region_name=keys["region"],
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
    )
    assert copied.get_object(Bucket="alice", Key="loop")["Body"].read() == b"x"
    at_server(storage_hub, alice, "DELETE", f"api/kernels/{second['id']}")
    until("its keys are refused", lambda: is_refused(copied), seconds=20)
    works(kernel, "assert read() == b'x'")


def is_refused(client: Any) -> bool:
    try:
        client.get_object(Bucket="alice", Key="loop")
    except ClientError as error:
        return error.response["Error"]["Code"] == "AccessDenied"
    return False
