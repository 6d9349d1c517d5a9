"""The service is killed in the middle of its work, and the store under its feet."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx
import pytest
from hub_process import HubProcess, until


def service_pid(hub: HubProcess) -> int:
    """The storage service's process: a child of the hub."""
    assert hub.process is not None
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            status = (entry / "status").read_text()
        except OSError:
            continue
        if b"services.storage" in words and f"PPid:\t{hub.process.pid}\n" in status:
            return int(entry.name)
    raise AssertionError("the service does not run")


def kill_service(hub: HubProcess) -> None:
    """``kill -9``, and wait until another one runs."""
    pid = service_pid(hub)
    os.kill(pid, signal.SIGKILL)

    def another() -> bool:
        try:
            return service_pid(hub) != pid
        except AssertionError:
            return False

    until("the hub starts the service again", another, seconds=60)


@pytest.mark.parametrize("kind", ["copy", "move"])
def test_long_work_goes_on_after_a_kill(gateway, person, ready, kind):
    grace = person("grace")
    names = [f"{kind}/src/{i:03}" for i in range(96)]
    for name in names:
        grace.put(name, name.encode())
    body = {
        "kind": kind,
        "source": {"bucket": "grace", "prefixes": [f"{kind}/src/"]},
        "bucket": "grace",
        "prefix": f"{kind}/dst/",
    }
    task = grace.call("POST", "tasks", body)
    until(
        "some of it is done",
        lambda: grace.call("GET", f"tasks/{task['id']}")["done"] >= 16,
        every=0.01,
    )
    kill_service(gateway)
    ready()
    done = grace.finish(task)
    assert done["phase"] == "done", done
    # Steps that were done and not yet written down are counted once or not at all.
    assert 96 - 16 <= done["done"] <= 96
    copies = grace.names(f"{kind}/dst/")
    assert copies == [name.replace("/src/", "/dst/src/") for name in names]
    page = grace.call("GET", "objects", bucket="grace", prefix=f"{kind}/dst/src/")
    assert {found["size"] for found in page["objects"]} == {len(names[0])}
    assert len(grace.names(f"{kind}/src/")) == (96 if kind == "copy" else 0)


def test_the_store_goes_on_when_the_service_is_killed(gateway, alice, ready):
    alice.put("before", b"1", overwrite=True)
    url = alice.call("POST", "urls/download", {"bucket": "alice", "key": "before"})
    facts = json.loads((gateway.state / "store" / "process.json").read_text())
    os.kill(service_pid(gateway), signal.SIGKILL)
    assert httpx.get(url["url"], trust_env=False).content == b"1"
    ready()
    again = json.loads((gateway.state / "store" / "process.json").read_text())
    assert again["pid"] == facts["pid"]
