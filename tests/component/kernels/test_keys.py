"""S3 keys in a kernel's job: a loopback address on its node, answers by the tunnel."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from rigs.checkout import CHECKOUT
from rigs.kernels.kernels import KernelRig, run, wait_until
from rigs.lab.key_offer import keys_offered
from rigs.lab.storage_stub import StorageStub
from spawners.kernels import credentials as kernel_storage
from spawners.node.kernel import credentials as kernel_keys

ASK = """
import json, os, urllib.error, urllib.request
url = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
file = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
def ask(token=None, path=""):
    token = token or open(file).read()
    request = urllib.request.Request(url + path, headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
"""


@pytest.fixture
def storage(
    kernels: KernelRig, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StorageStub]:
    """A notebook server with a storage service, which starts kernels as jobs."""
    with keys_offered("https://gateway.example.org/s3", monkeypatch) as stub:
        yield stub


def test_a_kernel_in_a_job_gets_keys_by_its_tunnel(
    kernels: KernelRig, storage: StorageStub
) -> None:
    manager, client = kernels.start()
    run(client, ASK)
    status, keys = json.loads(run(client, "print(json.dumps(ask()))"))
    assert status == 200
    assert keys["AccessKeyId"] == "ACCESS1"
    own = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    assert run(client, "print(url)") != own
    assert run(client, "print(oct(os.stat(file).st_mode & 0o777))") == "0o600"
    assert run(client, "print(os.environ['AWS_ENDPOINT_URL'])") == (
        "https://gateway.example.org/s3"
    )
    assert "401" in run(client, "print(ask('Bearer x'))")
    job = run(client, "print(os.environ['LANDBRIDGE_JOB_ID'])")
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=20)
    run(client, ASK)
    assert json.loads(run(client, "print(json.dumps(ask()))"))[0] == 200
    assert run(client, "print(os.environ['LANDBRIDGE_JOB_ID'])") == job
    for record in kernels.records:
        assert "ACCESS1" not in repr(record)
        assert "Bearer" not in repr(record)


def test_each_kernel_has_keys_of_its_own_which_end_with_it(
    kernels: KernelRig, storage: StorageStub
) -> None:
    first = kernels.manager()
    shown = {"JPY_SESSION_NAME": "runs/a.ipynb"}
    first.start_kernel(cwd=str(kernels.path), env={**os.environ, **shown})
    client = kernels.client(first)
    client.wait_for_ready(timeout=40)
    other, second = kernels.start()
    for one in (client, second):
        run(one, ASK)
    for _ in range(2):
        assert "ACCESS1" in run(client, "print(ask())")
        assert "ACCESS2" in run(second, "print(ask())")
    purposes = [body["purpose"] for body in storage.asked]
    assert purposes == ["kernel of runs/a.ipynb", f"kernel {other.kernel_id[:8]}"]
    first.restart_kernel(now=True)
    client.wait_for_ready(timeout=20)
    run(client, ASK)
    assert "ACCESS1" in run(client, "print(ask())")
    first.shutdown_kernel(now=True)
    wait_until(lambda: storage.ended == {"ada--1"})
    assert "ACCESS2" in run(second, "print(ask())")


def test_landbridge_and_rclones_process_work_there(
    kernels: KernelRig, storage: StorageStub
) -> None:
    _, client = kernels.start()
    place = CHECKOUT / "extensions" / "client"
    run(client, f"import sys, os; sys.path.insert(0, {str(place)!r})")
    code = "from landbridge import storage\nprint(storage.credentials().access_key)"
    assert run(client, code) == "ACCESS1"
    assert run(client, "print(storage.buckets()[0].name)") == "ada"
    code = "import subprocess\nname = 'RCLONE_CONFIG_S3_SHARED_CREDENTIALS_FILE'"
    code += "\nline = open(os.environ[name]).read().partition('= ')[2]"
    code += "\nprint(subprocess.run(line, shell=True, capture_output=True, text=True))"
    assert '"SessionToken": "token1"' in run(client, code)


def test_a_kernel_on_another_machine_goes_through_the_gateway(
    kernels: KernelRig, storage: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_storage, "loopback_identity", lambda: "elsewhere")
    _, client = kernels.start()
    found = run(client, "import os; print(os.environ['AWS_ENDPOINT_URL_S3'])")
    assert found == "https://gateway.example.org/s3"
    run(client, ASK)
    assert json.loads(run(client, "print(json.dumps(ask()))"))[0] == 200


def test_a_kernelspec_with_a_store_of_its_own_keeps_it(
    kernels: KernelRig, storage: StorageStub
) -> None:
    name = kernels.spec("batch-own", env={"AWS_PROFILE": "mine"})
    _, client = kernels.start(name)
    code = "import os; print([n for n in os.environ if n.startswith('AWS_')])"
    assert run(client, code) == "['AWS_PROFILE']"


def test_without_storage_nothing_is_set(kernels: KernelRig) -> None:
    _, client = kernels.start()
    code = "import os; print([n for n in os.environ if n.startswith('AWS_')])"
    assert run(client, code) == "[]"


def test_a_loopback_has_an_identity() -> None:
    assert kernel_keys.loopback_identity() == kernel_storage.loopback_identity() != ""
