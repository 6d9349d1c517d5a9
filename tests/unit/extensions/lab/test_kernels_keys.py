"""Keys of each kernel beside the notebook server: its own, and only while it lives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from traitlets.config import Config

from landbridge_lab import local_kernels
from landbridge_lab.gateway.storage import ServiceFailed, StorageService
from landbridge_lab.keys import endpoint as credentials
from landbridge_lab.keys import rings as key_rings
from landbridge_lab.keys.rings import KeyRings, purpose_of
from rigs.lab.key_offer import keys_offered
from rigs.lab.storage_stub import StorageStub, made_up_keys

URL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CODE = """
import os, urllib.request
def ask():
    url = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = open(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read()
    request = urllib.request.Request(url, headers={"Authorization": token})
    return urllib.request.urlopen(request, timeout=20).read().decode()
print(ask())
"""
RCLONE = """
import subprocess
name = "RCLONE_CONFIG_S3_SHARED_CREDENTIALS_FILE"
line = open(os.environ[name]).read().partition("= ")[2]
print(subprocess.run(line, shell=True, capture_output=True, text=True))
"""


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageStub]:
    """A notebook server with a storage service, whose kernels are beside it."""
    with keys_offered("https://gateway.example.org/s3", monkeypatch) as stub:
        factory = KernelProvisionerFactory.instance()
        monkeypatch.setattr(factory, "default_provisioner_name", local_kernels.NAME)
        yield stub


class Kernel:
    """A kernel that runs until closed."""

    def __init__(self, notebook: str = "") -> None:
        self.manager = KernelManager(kernel_name="python3")
        named = {"JPY_SESSION_NAME": notebook} if notebook else {}
        self.manager.start_kernel(env={**os.environ, **named})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> str:
        printed: list[str] = []

        def hear(message: dict) -> None:
            content = message["content"]
            printed.extend([content.get("text", ""), *content.get("traceback", ())])

        self.client.execute_interactive(code, output_hook=hear, timeout=60)
        return "".join(printed)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.context.destroy(linger=0)


def until_ended(stub: StorageStub, names: set[str]) -> None:
    deadline = time.monotonic() + 20
    while stub.ended != names:
        assert time.monotonic() < deadline, stub.ended
        time.sleep(0.05)


def ask(url: str) -> httpx.Response:
    file = credentials.environment()["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.get(url, headers={"Authorization": Path(file).read_text()})


def test_each_kernel_has_its_own_until_it_ends(
    offered: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_root", "/srv/ada")
    first, second = Kernel("/srv/ada/runs/a.ipynb"), Kernel()
    try:
        assert "ACCESS1" in first.run(CODE)
        assert "ACCESS2" in second.run(CODE)
        server = ask(os.environ[URL])
        assert server.json()["AccessKeyId"] == "ACCESS3"
        purposes = [body["purpose"] for body in offered.asked]
        other = second.manager.kernel_id[:8]
        assert purposes == ["kernel of runs/a.ipynb", f"kernel {other}", "notebook"]
        assert "ACCESS1" in first.run(RCLONE)
        assert len(offered.asked) == 3
        first.manager.restart_kernel(now=True)
        first.client.wait_for_ready(timeout=60)
        assert "ACCESS1" in first.run(CODE)
        address = first.run(f"print(os.environ[{URL!r}])").strip()
        assert (
            address == first.run("print(os.environ['LANDBRIDGE_STORAGE_URL'])").strip()
        )
    finally:
        first.close()
    try:
        until_ended(offered, {"ada--1"})
        answer = ask(address)
        assert answer.status_code == 404
        assert "has ended" in answer.text
        assert "ACCESS2" in second.run(CODE)
    finally:
        second.close()


def test_a_kernel_without_storage_starts_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "_offer", None)
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setattr(factory, "default_provisioner_name", local_kernels.NAME)
    kernel = Kernel()
    try:
        assert kernel.run("print(6 * 7)") == "42\n"
    finally:
        kernel.close()


def test_the_server_uses_it_unless_its_user_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(config: Config) -> object:
        local_kernels.link(SimpleNamespace(config=config))
        return config.KernelProvisionerFactory.get("default_provisioner_name")

    assert chosen(Config()) == local_kernels.NAME
    mine = Config(KernelProvisionerFactory={"default_provisioner_name": "mine"})
    assert chosen(mine) == "mine"
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "mine")
    assert chosen(Config()) is None


@pytest.mark.parametrize(
    "path",
    [
        "/kernels/k1/credentials",
        "/kernels//credentials",
        "/kernels/../credentials",
        "/kernels/%2e%2e/credentials",
        "/kernels/k1/../../credentials",
        f"/kernels/{'a' * 101}/credentials",
        "/kernels/known/kernels/other/credentials",
        "/kernels/known/credentials/",
        "/kernels/known",
        "//credentials",
    ],
)
def test_no_path_leads_to_keys_of_others(offered: StorageStub, path: str) -> None:
    credentials.begin_kernel("known", {}, "")
    credentials.begin_kernel("other", {}, "")
    endpoint = credentials._offer.endpoint
    status, kind, text = endpoint.answer(path)
    assert (status, kind) == (404, "text/plain")
    assert "AccessKeyId" not in text
    assert not offered.asked


@pytest.fixture
def rings(stub: StorageStub) -> KeyRings:
    service = StorageService.of(stub.environment)
    assert service is not None
    return KeyRings(lambda: service)


def test_keys_that_come_when_the_kernel_has_ended_end_too(
    rings: KeyRings, stub: StorageStub
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def issue(_: object) -> object:
        asked.set()
        assert ended.wait(20)
        return made_up_keys(1)

    stub.issue = issue
    rings.begin("k1", "")
    ring, said = rings.of("k1"), []

    def get() -> None:
        with pytest.raises(ServiceFailed, match="has ended") as caught:
            ring.get({})
        said.append(caught.value.status)

    thread = threading.Thread(target=get)
    thread.start()
    assert asked.wait(20)
    ring.end()
    ended.set()
    thread.join(20)
    assert said == [404]
    until_ended(stub, {"ada--1"})


def test_narrow_keys_end_too_and_a_silent_service_hinders_nobody(
    rings: KeyRings, stub: StorageStub
) -> None:
    for kernel in ("k1", "k2"):
        rings.begin(kernel, "")
        rings.of(kernel).get({})
        rings.of(kernel).get({"bucket": "b", "mode": "read"})
    rings.end("k1")
    until_ended(stub, {"ada--1", "ada--2"})
    stub.trouble = (503, {})
    rings.end("k2")
    rings.end("k2")
    rings.end("never there")
    with pytest.raises(ServiceFailed, match="has ended"):
        rings.of("k2")


def test_a_server_that_ends_waits_a_little_for_the_ends_of_its_kernels_keys(
    rings: KeyRings, stub: StorageStub
) -> None:
    rings.begin("k1", "")
    rings.of("k1").get({})
    rings.end("k1")
    rings.wait(20)
    assert stub.ended == {"ada--1"}
    rings.begin("k2", "")
    rings.of("k2").get({})
    stub.may_end.clear()
    rings.end("k2")
    rings.wait(0.2)
    assert stub.ended == {"ada--1"}  # it did not wait for that
    stub.may_end.set()
    until_ended(stub, {"ada--1", "ada--2"})


def test_very_many_kernels_share_the_servers(
    rings: KeyRings, stub: StorageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rings, "_MOST_OF_KERNELS", 2)
    for kernel in ("k1", "k2", "k3"):
        rings.begin(kernel, "")
        rings.of(kernel).get({})
    assert [body["purpose"] for body in stub.asked] == [
        "kernel k1",
        "kernel k2",
        "notebook",
    ]
    rings.end("k3")
    rings.of("").get({})
    assert not stub.ended


@pytest.mark.parametrize(
    ("notebook", "purpose"),
    [
        ("", "kernel 01234567"),
        ("é b.ipynb", "kernel of é b.ipynb"),
        ("a\n\u202eb.ipynb", "kernel of a??b.ipynb"),
        ("x" * 100 + ".ipynb", "kernel of …" + "x" * 63 + ".ipynb"),
    ],
)
def test_a_kernels_keys_name_its_notebook(notebook: str, purpose: str) -> None:
    assert purpose_of("0123456789ab", notebook) == purpose
    assert len(purpose) <= 80
