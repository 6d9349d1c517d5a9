"""Earlier versions of objects over REST: listed, downloaded, made current again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from services.storage.s3.client import S3Client
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey


@pytest.fixture(scope="module")
def versioned(gateway, alice) -> str:
    """Alice's bucket, which keeps versions from now on."""
    store = gateway.state / "store"
    (identity,) = json.loads((store / "s3.json").read_text())["identities"]
    (one,) = identity["credentials"]
    port = json.loads((store / "ports.json").read_text())["s3"]

    async def work() -> None:
        key = AccessKey(one["accessKey"], one["secretKey"])
        client = S3Client(StoreAddress(f"http://127.0.0.1:{port}"), key)
        try:
            await client.buckets.set_versioned("alice", versioned=True)
        finally:
            await client.close()

    assert alice.call("GET", "buckets")["buckets"]  # it is made when first seen
    asyncio.run(work())
    return "alice"


def versions(alice, key: str) -> list[dict[str, Any]]:
    found = alice.call("GET", "objects/versions", bucket="alice", prefix=key)
    return [one for one in found["versions"] if one["key"] == key]


def entry(alice) -> tuple[str, dict[str, Any]]:
    """What stands last in her audit log."""
    newest = alice.call("GET", "audit", limit=1)["entries"][0]
    return newest["action"], json.loads(newest["detail"])


def test_an_earlier_version_is_downloaded_and_made_current_again(alice, versioned):
    for data in (b"one", b"three"):
        alice.put("v/a b+c", data, overwrite=True)
    newest, first = versions(alice, "v/a b+c")
    assert (newest["latest"], newest["size"], first["size"]) == (True, 5, 3)
    wish = {"bucket": "alice", "key": "v/a b+c", "version": first["version"]}
    url = alice.call("POST", "urls/download", wish)["url"]
    answer = httpx.get(url, trust_env=False)
    assert answer.content == b"one", answer.text
    assert alice.get("v/a b+c").content == b"three"

    answer = alice.call("POST", "objects/restore", wish)
    assert answer["key"] == "v/a b+c"
    assert answer["etag"] == first["etag"]
    assert alice.get("v/a b+c").content == b"one"
    assert [one["size"] for one in versions(alice, "v/a b+c")] == [3, 5, 3]
    assert entry(alice) == (
        "restore",
        {"key": "v/a b+c", "version": first["version"]},
    )
    current = wish | {"version": versions(alice, "v/a b+c")[0]["version"]}
    assert alice.refused("POST", "objects/restore", current) == (409, "conflict")


def test_what_was_deleted_comes_back(alice, versioned):
    alice.put("v/gone", b"still here")
    (before,) = versions(alice, "v/gone")
    alice.call("POST", "objects/delete", {"bucket": "alice", "keys": ["v/gone"]})
    assert "v/gone" not in alice.names("v/")
    marker = versions(alice, "v/gone")[0]
    assert marker["deleted"]
    wish = {"bucket": "alice", "key": "v/gone"}
    of_marker = wish | {"version": marker["version"]}
    assert alice.ask("POST", "objects/restore", of_marker).is_error
    alice.call("POST", "objects/restore", wish | {"version": before["version"]})
    assert alice.get("v/gone").content == b"still here"


def test_guests_restore_only_what_they_may_write(alice, bob, versioned):
    for data in (b"1", b"22"):
        alice.put("v/guest/x", data, overwrite=True)
    body = {"bucket": "alice", "prefix": "v/guest/", "kind": "user", "name": "bob"}
    made = alice.call("POST", "shares", body | {"mode": "read"})
    wish = {"bucket": "alice", "key": "v/guest/x"}
    wish["version"] = versions(alice, "v/guest/x")[1]["version"]
    assert bob.refused("POST", "objects/restore", wish) == (403, "forbidden")
    assert alice.get("v/guest/x").content == b"22"
    unknown = wish | {"version": "0123456789abcdef0123456789abcdef"}
    assert alice.refused("POST", "objects/restore", unknown)[0] in (400, 404)
    alice.call("DELETE", f"shares/{made['id']}")


def test_a_deletion_says_what_it_took_but_not_without_end(alice):
    names = [f"told/{number}" for number in range(7)]
    for name in names:
        alice.put(name, b"x")
    alice.call("POST", "objects/delete", {"bucket": "alice", "keys": names[:6]})
    assert entry(alice) == ("delete-objects", {"objects": 6, "first": names[:5]})
    source = {"bucket": "alice", "keys": [names[6]], "prefixes": ["told/"]}
    task = alice.call("POST", "tasks", {"kind": "delete", "source": source})
    action, detail = entry(alice)
    assert (action, detail["keys"], detail["prefixes"]) == ("delete", 1, 1)
    assert detail["first"] == ["told/", names[6]]
    assert alice.finish(task)["phase"] == "done"
