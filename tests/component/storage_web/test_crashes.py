"""The service is killed in the middle of its work, and the store under its feet."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable

import httpx
import pytest

from rigs.hub.process import HubProcess, until


def kill_service(hub: HubProcess, meanwhile: Callable[[], bool]) -> None:
    """``kill -9``, and another one, as whoever watches over it would start it."""
    hub.kill_sibling("storage")
    assert meanwhile()
    hub.start_sibling("storage")


COUNT = 96


def begin(owner, kind: str) -> dict:
    """Begin to copy or move a folder of 96 objects, and wait until some are done."""
    for i in range(COUNT):
        name = f"{kind}/src/{i:03}"
        owner.put(name, name.encode())
    body = {
        "kind": kind,
        "source": {"bucket": owner.name, "prefixes": [f"{kind}/src/"]},
        "bucket": owner.name,
        "prefix": f"{kind}/dst/",
    }
    return owner.call("POST", "tasks", body)


def store_pid(hub: HubProcess) -> int:
    return json.loads((hub.state / "store" / "process.json").read_text())["pid"]


def test_a_kill_loses_no_work_and_stops_no_download(gateway, person, ready):
    """One kill for all: JupyterHub looks after its services every 30 s only."""
    grace = person("grace")
    grace.put("before", b"1")
    wish = {"bucket": "grace", "key": "before"}
    url = grace.call("POST", "urls/download", wish)["url"]
    tasks = [begin(grace, "copy"), begin(grace, "move")]
    until(
        "some of it is done",
        lambda: grace.call("GET", f"tasks/{tasks[1]['id']}")["done"] >= 16,
        every=0.01,
    )
    store = store_pid(gateway)
    kill_service(gateway, lambda: httpx.get(url, trust_env=False).content == b"1")
    ready()
    assert store_pid(gateway) == store
    for kind, task in zip(("copy", "move"), tasks, strict=True):
        done = grace.finish(task)
        assert done["phase"] == "done", done
        # A batch that was done and not yet written down is counted once or not at all.
        assert COUNT - 16 <= done["done"] <= COUNT
        page = grace.call("GET", "objects", bucket="grace", prefix=f"{kind}/dst/src/")
        assert [found["key"] for found in page["objects"]] == [
            f"{kind}/dst/src/{i:03}" for i in range(COUNT)
        ]
        assert {found["size"] for found in page["objects"]} == {len("copy/src/000")}
        assert len(grace.names(f"{kind}/src/")) == (COUNT if kind == "copy" else 0)


def test_a_kill_of_the_store_loses_nothing_and_heals_by_itself(gateway, person, ready):
    heidi = person("heidi")
    task = begin(heidi, "copy")
    until(
        "some of it is done",
        lambda: heidi.call("GET", f"tasks/{task['id']}")["done"] >= 16,
        every=0.01,
    )
    pid = store_pid(gateway)
    os.kill(pid, signal.SIGKILL)
    # Before or after it is back: an answer, or an error that has a name.
    for _ in range(5):
        answer = heidi.ask("GET", "objects", bucket="heidi", prefix="copy/")
        named = answer.is_success or answer.json()["error"]["code"]
        assert named in (True, "store-unavailable")
    until("another store serves", lambda: store_pid(gateway) != pid, seconds=60)
    ready()
    done = heidi.finish(task)
    assert (done["phase"], done["failures"]) == ("done", [])
    assert len(heidi.names("copy/dst/src/")) == COUNT
    assert heidi.get("copy/src/000").content == b"copy/src/000"


def test_a_store_whose_port_was_taken_meanwhile_is_found_at_its_new_one(
    gateway, person, ready
):
    heidi = person("heidi")
    heidi.put("still", b"here")
    task = begin(heidi, "move")
    ports = gateway.state / "store" / "ports.json"
    taken = json.loads(ports.read_text())["s3"]
    service = gateway.service_pid("storage")
    os.kill(service, signal.SIGSTOP)  # for as long as it takes to get the port
    try:
        os.kill(store_pid(gateway), signal.SIGKILL)
        squatter = until("the port is free", lambda: take(taken), every=0.01)
    finally:
        os.kill(service, signal.SIGCONT)
    with squatter:
        until("it has moved", lambda: json.loads(ports.read_text())["s3"] != taken)
        ready()
        until("it lists", lambda: heidi.ask("GET", "me").is_success)
        # The edge follows a moment later.
        until("it is read", lambda: heidi.get("still").content == b"here")
        assert heidi.finish(task)["phase"] == "done"
        told = heidi.call("POST", "credentials", {})["endpoint"]
        assert told != f"http://127.0.0.1:{taken}"
        squatter.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody of ours called there
            squatter.accept()


def take(port: int) -> socket.socket | None:
    """Listen where the store did, as anybody on the machine may."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        one.close()
        return None
    one.listen()
    return one
