"""A store that fails under the service: what callers are told, and what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rigs.hub.process import until
from rigs.services.person import PREFIX, Person
from rigs.services.service import ServiceProcess, running_service, write_key
from rigs.stores.fault_proxy import CutAnswer, Fault, FaultProxy, Refuse, Say
from rigs.stores.sites import StoreFacts

OWN = "f-alice"


class Door:
    """A fault proxy with a thread of its own, as tests here block theirs."""

    def __init__(self, facts: StoreFacts) -> None:
        host, _, port = facts.endpoint.removeprefix("http://").partition(":")
        self.proxy = FaultProxy(host, int(port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(self.proxy.start())

    def _run(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def fail(self, fault: Fault, times: int = 10_000, only: bytes = b"") -> None:
        """Do this to the next requests whose head holds ``only``."""
        self.proxy.matching = lambda head: only in head.lower()
        self.proxy.plan = [fault] * times

    def heal(self) -> None:
        self.proxy.plan = []

    def close(self) -> None:
        self._run(self.proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def door(seaweedfs_facts: StoreFacts) -> Iterator[Door]:
    one = Door(seaweedfs_facts)
    yield one
    one.close()


@pytest.fixture(scope="module")
def rig(
    seaweedfs_facts: StoreFacts,
    door: Door,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("faults")
    key = seaweedfs_facts.key
    settings = {
        "endpoint": door.proxy.endpoint.replace("127.0.0.1", "localhost"),
        "route": "direct",
        "key_file": write_key(directory, key.access_key, key.secret_key),
        "role_arn": seaweedfs_facts.role_arn,
        "user_bucket": "f-{user}",
        "store_timeout": "8s",
    }
    with running_service(directory, settings) as one:
        yield one


@pytest.fixture(scope="module")
def alice(rig: ServiceProcess) -> Person:
    one = rig.person("alice")
    for i in range(48):
        one.put(f"src/{i:02}", f"{i:02}".encode(), bucket=OWN)
    return one


@pytest.fixture(autouse=True)
def healed(door: Door) -> Iterator[None]:
    yield
    door.heal()


def says(code: str, status: int = 503) -> Say:
    body = f"<Error><Code>{code}</Code><Message>x</Message></Error>"
    return Say(status, body.encode(), ("Date: Tue, 01 Jan 2030 00:00:00 GMT",))


FAULTS = {
    "down": (Refuse(), 503, "store-unavailable"),
    "dies while it answers": (CutAnswer(30), 503, "store-unavailable"),
    "fails": (says("InternalError", 500), 503, "store-unavailable"),
    "overloaded": (says("SlowDown"), 503, "store-busy"),
    "full": (says("InsufficientStorage", 507), 507, "store-full"),
    "wrong clock": (says("RequestTimeTooSkewed", 403), 502, "store-clock"),
    "no store at all": (Say(200, b"<html>Welcome</html>"), 502, "store-invalid"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_a_name_at_every_kind_of_call(alice, door, name):
    fault, status, code = FAULTS[name]
    door.fail(fault)
    assert alice.refused("GET", "objects", bucket=OWN) == (status, code)
    upload = {"bucket": OWN, "key": "new", "size": 1, "overwrite": True}
    assert alice.refused("POST", "uploads", upload) == (status, code)
    grants = {"grants": [{"bucket": OWN, "mode": "read"}]}
    assert alice.refused("POST", "credentials", grants) == (status, code)
    door.heal()
    # One whose answer was lost was begun all the same: it is seen, and thrown away.
    left = alice.call("GET", "uploads", bucket=OWN)["uploads"]
    assert len(left) == (1 if isinstance(fault, CutAnswer) else 0)
    for one in left:
        where = {"bucket": OWN, "key": "new", "upload_id": one["upload_id"]}
        alice.call("POST", "uploads/abort", where)


def test_a_bucket_that_ended_keys_would_open_is_not_made(alice, door):
    bucket = {"name": "shut"}
    name = alice.call("POST", "buckets", bucket)["name"]
    keys = alice.call("POST", "credentials", {"grants": [{"bucket": name}]})
    alice.call("DELETE", f"credentials/{keys['id']}")
    alice.call("DELETE", f"buckets/{name}")
    door.fail(says("InternalError", 500), only=b"?policy")
    refused = alice.refused("POST", "buckets", bucket)
    assert refused == (503, "store-unavailable")
    door.heal()
    shown = [one["name"] for one in alice.call("GET", "buckets")["buckets"]]
    assert name not in shown
    alice.call("POST", "buckets", bucket)  # nothing of it is left in the way
    alice.call("DELETE", f"buckets/{name}")


def test_a_folder_that_cannot_be_tidied_is_deleted_all_the_same(alice, door):
    alice.put("tidy/a/1", b"x", bucket=OWN)
    source = {"bucket": OWN, "prefixes": ["tidy/"]}
    door.fail(says("AccessDenied", 403), only=b"?versioning")
    task = alice.finish(
        alice.call("POST", "tasks", {"kind": "delete", "source": source})
    )
    assert len(door.proxy.plan) == 9_999  # it was asked once, and refused
    assert (task["phase"], task["done"], task["failed"]) == ("done", 1, 0)
    assert alice.names("tidy/", bucket=OWN) == []


def health(rig: ServiceProcess) -> httpx.Response:
    return httpx.get(f"{rig.origin}{PREFIX}health", trust_env=False, timeout=30)


def until_health(rig: ServiceProcess, status: int) -> dict:
    def look() -> dict | None:
        answer = health(rig)
        return answer.json() if answer.status_code == status else None

    return until(f"health is {status}", look, seconds=90)


def test_health_tells_of_a_store_that_went_away_and_came_back(rig, door):
    until_health(rig, 200)
    door.fail(Refuse())
    told = until_health(rig, 503)
    assert told["status"] == "not-ready"
    assert "did not answer" in told["store"]
    door.heal()
    assert until_health(rig, 200) == {
        "status": "ready",
        "store": "ready",
        "embedded": False,
    }
    before = len(door.proxy.seen)
    for _ in range(40):
        health(rig)
    looks = [line for line in door.proxy.seen[before:] if b"max-keys=1&" in line]
    assert len(looks) < 10  # one in five seconds, whoever asks


def every_operation(rig: ServiceProcess, upload: dict) -> dict[str, tuple]:
    """Each call that has to ask the store, with an uploads' names."""
    where = {k: upload[k] for k in ("bucket", "key", "upload_id")}
    new = {"bucket": OWN, "key": "new", "size": 1}
    some = {"bucket": OWN, "keys": ["src/00"]}
    gone = {"bucket": OWN, "keys": ["none"]}
    tags = {"bucket": OWN, "key": "src/00", "tags": {"a": "b"}}
    ends = where | {"parts": [{"number": 1, "etag": "x"}]}
    grants = {"grants": [{"bucket": OWN, "mode": "read"}]}
    at = {"bucket": OWN, "key": "src/00"}
    return {
        "list": ("GET", "objects", None, {"bucket": OWN}),
        "head": ("GET", "objects/head", None, at),
        "versions": ("GET", "objects/versions", None, {"bucket": OWN}),
        "tags": ("GET", "objects/tags", None, at),
        "set tags": ("PUT", "objects/tags", tags, {}),
        "count": ("POST", "objects/count", some, {}),
        "count all": ("POST", "objects/count", {"bucket": OWN, "prefixes": [""]}, {}),
        "delete": ("POST", "objects/delete", gone, {}),
        "new bucket": ("POST", "buckets", {"name": "slow"}, {}),
        "uploads": ("GET", "uploads", None, {"bucket": OWN}),
        "begin": ("POST", "uploads", new, {}),
        "put": ("POST", "urls/upload", new, {}),
        "parts": ("GET", "uploads/parts", None, where),
        "end": ("POST", "uploads/complete", ends, {}),
        "abort": ("POST", "uploads/abort", where, {}),
        "keys": ("POST", "credentials", grants, {}),
        "link": ("POST", "links", at, {}),
    }


def test_a_store_that_stands_still_ends_each_call_by_name_and_a_copy_waits(
    rig, alice, door, weed_rig
):
    wish = {"bucket": OWN, "key": "begun", "size": 9 * 2**20}
    calls = every_operation(rig, alice.call("POST", "uploads", wish))
    pid = weed_rig.store.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        task = copy(alice, "stopped/")
        began = time.monotonic()
        with ThreadPoolExecutor(len(calls)) as threads:
            told = {
                name: threads.submit(alice.refused, method, path, body, **query)
                for name, (method, path, body, query) in calls.items()
            }
        found = {name: one.result() for name, one in told.items()}
        took = time.monotonic() - began
        assert found == dict.fromkeys(calls, (503, "store-unavailable"))
        assert took < 45  # 8 s each, at once, on a machine that has other work
        assert "answer" in until_health(rig, 503)["store"]
        waiting = until(
            "the copy says what it waits for",
            lambda: (t := alice.call("GET", f"tasks/{task['id']}"))["message"] and t,
            seconds=60,
        )
        assert waiting["phase"] == "running"
        assert waiting["message"].startswith("It waits for the store.")
        assert alice.call("GET", "me")["user"] == "alice"  # the rest goes on
    finally:
        os.kill(pid, signal.SIGCONT)
    until_health(rig, 200)
    done = alice.finish(task)
    assert (done["phase"], done["failures"], done["message"]) == ("done", [], "")
    # The store did what it had not answered: she gets what she asked for.
    until(
        "the bucket is hers",
        lambda: alice.ask("POST", "buckets", {"name": "slow"}).status_code == 201,
    )
    assert alice.refused("POST", "buckets", {"name": "slow"}) == (409, "conflict")
    again = alice.finish(copy(alice, "stopped/"))  # what is there is left alone
    assert (again["phase"], again["done"]) == ("done", len(alice.names("src/", OWN)))
    for one in alice.call("GET", "uploads", bucket=OWN)["uploads"]:
        where = {"bucket": OWN, "key": one["key"], "upload_id": one["upload_id"]}
        alice.call("POST", "uploads/abort", where)


def copy(alice: Person, to: str) -> dict:
    body = {
        "kind": "copy",
        "source": {"bucket": OWN, "prefixes": ["src/"]},
        "bucket": OWN,
        "prefix": to,
    }
    return alice.call("POST", "tasks", body)


def test_a_copy_waits_for_a_store_that_is_away(alice, door):
    door.fail(Refuse(), times=60, only=b"x-amz-copy-source")
    task = alice.finish(copy(alice, "later/"))
    assert (task["phase"], task["failures"]) == ("done", [])
    page = alice.call("GET", "objects", bucket=OWN, prefix="later/src/")
    assert [found["size"] for found in page["objects"]] == [2] * 48


def test_a_copy_that_waits_can_be_cancelled(alice, door):
    door.fail(Refuse(), only=b"x-amz-copy-source")
    task = copy(alice, "never/")
    alice.call("POST", f"tasks/{task['id']}/cancel")
    assert alice.finish(task)["phase"] == "cancelled"
    door.heal()
    assert alice.names("never/", bucket=OWN) == []


def test_a_store_that_is_full_ends_a_copy_by_name(alice, door):
    door.fail(says("InsufficientStorage", 507), only=b"x-amz-copy-source")
    task = alice.finish(copy(alice, "full/"))
    assert (task["phase"], task["done"]) == ("failed", 0)
    assert "full" in task["failures"][0]["message"]
    door.heal()
    assert alice.names("full/", bucket=OWN) == []


def test_a_store_that_dies_at_the_end_of_an_upload_shows_nothing_half(alice, door):
    wish = {"bucket": OWN, "key": "big", "size": 9 * 2**20}
    begun = alice.call("POST", "uploads", wish)
    where = {k: begun[k] for k in ("bucket", "key", "upload_id")}
    size = begun["part_size"]
    for number in range(1, begun["parts"] + 1):
        body = where | {"parts": [{"number": number}]}
        url = alice.call("POST", "uploads/urls", body)["urls"][0]["url"]
        piece = bytes(size)[: wish["size"] - (number - 1) * size]
        if number == 1:
            door.fail(CutAnswer(10), times=1, only=b"partnumber")
            with pytest.raises(httpx.TransportError):
                httpx.put(url, content=piece, trust_env=False)
        assert httpx.put(url, content=piece, trust_env=False).status_code == 200
    parts = alice.call("GET", "uploads/parts", **where)["parts"]
    assert sum(part["size"] for part in parts) == wish["size"]
    end = where | {"parts": parts}
    door.fail(Refuse(), only=b"post ")
    assert alice.refused("POST", "uploads/complete", end)[0] == 503
    assert "big" not in alice.names(bucket=OWN)
    door.heal()
    alice.call("POST", "uploads/complete", end)
    assert alice.call("GET", "objects/head", bucket=OWN, key="big")["size"] == 9 * 2**20


def test_a_service_that_starts_before_its_store_waits_and_says_so(rig, alice, door):
    task = copy(alice, "over/")
    door.fail(Refuse())
    rig.kill()
    url = f"{rig.origin}{PREFIX}health"
    starting = threading.Thread(target=rig.start)
    starting.start()
    told = until(
        "it says why it is not ready",
        lambda: (a := httpx.get(url, trust_env=False)).status_code == 503 and a.json(),
        seconds=90,
    )
    assert told["status"] == "not-ready"
    assert alice.refused("GET", "objects", bucket=OWN) == (503, "not-ready")
    door.heal()
    starting.join(90)
    task = alice.finish(task)
    assert task["phase"] == "done", task
    assert len(alice.names("over/", bucket=OWN)) == 48
