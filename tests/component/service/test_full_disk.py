"""The embedded store on a disk that is really full."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rigs.services.service import ServiceProcess, running_service

pytestmark = pytest.mark.root

MIB = 2**20


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service whose embedded store has a disk of 160 MiB."""
    disk = tmp_path / "state" / "store"
    disk.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk], check=True
    )
    try:
        with running_service(tmp_path, {}) as one:
            yield one
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_store_says_so_and_shows_nothing_half(rig: ServiceProcess) -> None:
    alice = rig.person("alice")
    wish = {"bucket": "alice", "key": "too big", "size": 500 * MIB}
    assert alice.refused("POST", "urls/upload", wish) == (507, "store-full")
    assert alice.refused("POST", "uploads", wish) == (507, "store-full")
    signed, content = [], os.urandom(8 * MIB)
    for number in range(40):  # all are allowed before any of them is there
        body = {"bucket": "alice", "key": f"k{number:02}", "size": len(content)}
        signed.append(alice.call("POST", "urls/upload", body))
    # No edge stands before this service: the store's own port takes the place of `/s3`.
    ports = json.loads((rig.state / "store" / "ports.json").read_text())
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    sent = []
    for each in signed:
        url = each["url"].replace(f"{rig.origin}/s3", endpoint)
        answer = httpx.put(
            url,
            content=content,
            headers=each["headers"] | {"host": rig.origin.removeprefix("http://")},
            trust_env=False,
            timeout=60,
        )
        sent.append(answer.status_code)
    whole = sent.index(500)
    assert 5 < whole < 20
    assert set(sent[whole:]) == {500}
    assert alice.names() == [f"k{number:02}" for number in range(whole)]
    # The service names it, and a copy does not wait for better times.
    assert alice.refused("POST", "urls/upload", body | {"key": "k"})[1] == "store-full"
    task = {
        "kind": "copy",
        "source": {"bucket": "alice", "keys": ["k00"]},
        "bucket": "alice",
        "prefix": "copy/",
    }
    task = alice.finish(alice.call("POST", "tasks", task))
    assert task["phase"] == "failed"
    assert "room for" in task["message"]
    assert alice.names("copy/") == []
