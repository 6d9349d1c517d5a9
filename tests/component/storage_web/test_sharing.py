"""Shares, public links and keys: given, used, ended, and written down."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from rigs.hub.process import until
from services.storage.s3.client import S3Client
from services.storage.s3.errors import AccessDenied
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey


def s3(keys: dict) -> S3Client:
    """An S3 client with keys that the service gave."""
    address = StoreAddress(keys["endpoint"], region=keys["region"], attempts=1)
    key = AccessKey(keys["access_key"], keys["secret_key"], keys["session_token"])
    return S3Client(address, key)


async def listed(keys: dict, bucket: str, prefix: str = "") -> int:
    """How many objects these keys show."""
    client = s3(keys)
    try:
        return len((await client.list(bucket, prefix)).objects)
    finally:
        await client.close()


def share(owner, prefix, name, mode="read", kind="user"):
    body = {"bucket": owner.name, "prefix": prefix, "mode": mode}
    return owner.call("POST", "shares", body | {"kind": kind, "name": name})


def test_a_shared_prefix_can_be_read_and_nothing_beside_it(alice, bob):
    alice.put("sh/in/a", b"shared")
    alice.put("sh/out", b"private")
    made = share(alice, "sh/in/", "bob")
    found = [b for b in bob.call("GET", "buckets")["buckets"] if b["name"] == "alice"]
    assert [(b["prefix"], b["mode"], b["owner"]) for b in found] == [
        ("sh/in/", "read", "alice")
    ]
    assert bob.get("sh/in/a", bucket="alice").content == b"shared"
    assert bob.names("sh/in/", bucket="alice") == ["sh/in/a"]
    out = {"bucket": "alice", "key": "sh/out"}
    assert bob.refused("POST", "urls/download", out)[0] == 403
    assert bob.refused("GET", "objects", bucket="alice", prefix="sh/")[0] == 403
    wish = {"bucket": "alice", "key": "sh/in/b", "size": 1}
    assert bob.refused("POST", "urls/upload", wish) == (403, "forbidden")
    # A guest shares nothing on.
    onward = {"bucket": "alice", "prefix": "sh/in/", "kind": "user", "name": "bob"}
    assert bob.refused("POST", "shares", onward) == (403, "forbidden")
    assert bob.refused("DELETE", f"shares/{made['id']}")[0] == 404
    alice.call("DELETE", f"shares/{made['id']}")
    assert bob.refused("GET", "objects", bucket="alice", prefix="sh/in/")[0] == 404


def test_a_group_is_shared_with_and_members_may_write(alice, person, gateway):
    frank = person("frank")
    gateway.call("POST", "groups/crew")
    made = share(alice, "crew/", "crew", "read-write", kind="group")
    wish = {"bucket": "alice", "key": "crew/x", "size": 1}
    assert frank.refused("POST", "urls/upload", wish)[0] == 404
    gateway.call("POST", "groups/crew/users", {"users": ["frank"]})
    member = person("frank")
    member.put("crew/x", b"1", bucket="alice")
    assert alice.get("crew/x").content == b"1"
    alice.call("DELETE", f"shares/{made['id']}")
    assert member.refused("POST", "urls/upload", wish | {"key": "crew/y"})[0] == 404


def refused(keys, bucket: str, prefix: str = "") -> bool:
    try:
        asyncio.run(listed(keys, bucket, prefix))
    except AccessDenied:
        return True
    return False


def test_keys_and_urls_end_with_their_users_account(person, alice, gateway):
    harry = person("harry")
    harry.put("x", b"1")
    keys, others = [one.call("POST", "credentials", {}) for one in (harry, alice)]
    wish = {"bucket": "harry", "key": "x"}
    url = harry.call("POST", "urls/download", wish)["url"]
    assert asyncio.run(listed(keys, "harry")) == 1
    assert httpx.get(url, trust_env=False).content == b"1"
    gateway.call("DELETE", "users/harry")
    until("the keys have ended", lambda: refused(keys, "harry"), seconds=120)
    assert httpx.get(url, trust_env=False).status_code == 403
    asyncio.run(listed(others, "alice"))


def test_who_leaves_a_group_loses_its_keys_and_keeps_her_own(alice, person, gateway):
    grace = person("grace")
    gateway.call("POST", "groups/team")
    gateway.call("POST", "groups/team/users", {"users": ["grace"]})
    made = share(alice, "team/", "team", kind="group")
    alice.put("team/x", b"1")
    grace = person("grace")
    keys = grace.call("POST", "credentials", {})
    assert asyncio.run(listed(keys, "alice", "team/")) == 1
    gateway.call("DELETE", "groups/team/users", {"users": ["grace"]})

    until("the group's keys have ended", lambda: refused(keys, "alice", "team/"))
    asyncio.run(listed(keys, "grace"))
    # Back in the group, new keys serve, and URLs are signed by new ones.
    gateway.call("POST", "groups/team/users", {"users": ["grace"]})
    again = person("grace")
    assert asyncio.run(listed(again.call("POST", "credentials", {}), "alice", "team/"))
    assert again.get("team/x", bucket="alice").content == b"1"
    alice.call("DELETE", f"shares/{made['id']}")


def test_the_end_of_a_share_ends_urls_and_keys_at_once(alice, bob):
    alice.put("ends/a", b"1")
    made = share(alice, "ends/", "bob")
    url = bob.call("POST", "urls/download", {"bucket": "alice", "key": "ends/a"})["url"]
    assert httpx.get(url, trust_env=False).status_code == 200
    own = bob.call("POST", "credentials", {"grants": [{"bucket": "bob"}]})
    grant = {"bucket": "alice", "prefix": "ends/", "mode": "read"}
    keys = bob.call("POST", "credentials", {"grants": [grant]})
    assert asyncio.run(listed(keys, "alice", "ends/")) == 1
    alice.call("DELETE", f"shares/{made['id']}")
    assert httpx.get(url, trust_env=False).status_code == 403
    with pytest.raises(AccessDenied):
        asyncio.run(listed(keys, "alice", "ends/"))
    asyncio.run(listed(own, "bob"))
    assert bob.call("POST", "urls/download", {"bucket": "bob", "key": "x"})


def test_the_end_of_a_share_leaves_its_guest_what_is_hers(alice, bob):
    """Keys for all that somebody may, as notebooks have them."""
    made = share(alice, "guest/", "bob")
    keys = bob.call("POST", "credentials", {})
    path = f"credentials/{keys['id']}"
    assert bob.call("GET", path)["rights"] == keys["rights"]
    asyncio.run(listed(keys, "alice", "guest/"))
    alice.call("DELETE", f"shares/{made['id']}")
    with pytest.raises(AccessDenied):
        asyncio.run(listed(keys, "alice", "guest/"))
    asyncio.run(listed(keys, "bob"))
    assert bob.call("GET", path)["rights"] != keys["rights"]
    # Given again it is another share: the keys of the first stay dead in it.
    made = share(alice, "guest/", "bob")
    assert bob.call("GET", path)["rights"] != keys["rights"]
    again = bob.call("POST", "credentials", {})
    asyncio.run(listed(again, "alice", "guest/"))
    bob.call("DELETE", path)
    with pytest.raises(AccessDenied):
        asyncio.run(listed(keys, "bob"))
    assert bob.refused("GET", path) == (404, "not-found")
    assert alice.refused("GET", f"credentials/{again['id']}") == (404, "not-found")
    alice.call("DELETE", f"shares/{made['id']}")


def test_a_bucket_that_is_made_again_is_closed_to_old_guests(alice, bob):
    alice.call("POST", "buckets", {"name": "again"})
    bucket = "alice--again"
    body = {"bucket": bucket, "kind": "user", "name": "bob", "mode": "read"}
    alice.call("POST", "shares", body)
    keys = bob.call(
        "POST", "credentials", {"grants": [{"bucket": bucket, "mode": "read"}]}
    )
    asyncio.run(listed(keys, bucket))
    alice.call("DELETE", f"buckets/{bucket}")
    answer = alice.ask("POST", "buckets", {"name": "again"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert f"for an earlier bucket {bucket} are good until" in answer.text
    alice.call("POST", "buckets", {"name": "another"})
    alice.call("DELETE", "buckets/alice--another")
    alice.call("POST", "buckets", {"name": "another"})


def test_a_bucket_that_is_made_again_is_closed_to_keys_that_were_ended(alice):
    bucket = "alice--anew"
    alice.call("POST", "buckets", {"name": "anew"})
    wish = {"grants": [{"bucket": bucket}]}
    ended, others = [alice.call("POST", "credentials", wish) for _ in range(2)]
    alice.call("DELETE", f"credentials/{ended['id']}")
    assert refused(ended, bucket)
    alice.call("DELETE", f"buckets/{bucket}")
    alice.call("POST", "buckets", {"name": "anew"})
    assert refused(ended, bucket)
    assert asyncio.run(listed(others, bucket)) == 0
    alice.call("DELETE", f"buckets/{bucket}")


def test_a_share_needs_somebody_and_an_end(alice):
    body = {"bucket": "alice", "kind": "user", "name": "nobody-here"}
    assert alice.refused("POST", "shares", body) == (400, "bad-request")
    now = datetime.now(UTC)
    for wrong in (
        (now - timedelta(hours=1)).isoformat(),
        (now + timedelta(days=999)).isoformat(),
        now.replace(tzinfo=None).isoformat(),
        "soon",
    ):
        body = {"bucket": "alice", "kind": "user", "name": "alice", "expires": wrong}
        assert alice.refused("POST", "shares", body) == (400, "bad-request"), wrong


async def test_keys_reach_what_was_asked_for_and_end_when_told(alice, bob):
    alice.put("keys/in/a", b"1")
    grant = {"bucket": "alice", "prefix": "keys/in/", "mode": "read"}
    given = alice.call("POST", "credentials", {"grants": [grant], "purpose": "test"})
    assert given["grants"] == [grant]
    client = s3(given)
    try:
        assert (await client.get("alice", "keys/in/a")).data == b"1"
        for bucket, key in (("alice", "keys/out"), ("bob", "x")):
            with pytest.raises(AccessDenied):
                await client.get(bucket, key)
        with pytest.raises(AccessDenied):
            await client.put("alice", "keys/in/b", b"")
        listed = alice.call("GET", "credentials")["credentials"]
        assert given["id"] in [found["id"] for found in listed]
        assert given["secret_key"] not in str(listed)
        assert bob.refused("DELETE", f"credentials/{given['id']}")[0] == 404
        alice.call("DELETE", f"credentials/{given['id']}")
        with pytest.raises(AccessDenied):
            await client.get("alice", "keys/in/a")
    finally:
        await client.close()


def test_what_keys_are_for_is_one_line_and_its_users_own(alice, bob):
    share = {"bucket": "bob", "kind": "user", "name": "alice"}
    made = bob.call("POST", "shares", {**share, "mode": "read"})
    grants = [{"bucket": "bob", "mode": "read"}]
    wish = {"grants": grants, "purpose": "kernel of Ü/secret plan.ipynb"}
    given = alice.call("POST", "credentials", wish)
    shown = alice.call("GET", f"credentials/{given['id']}")
    assert shown["purpose"] == wish["purpose"]

    def entry(person) -> dict:
        found = person.call("GET", "audit")["entries"]
        details = [json.loads(one["detail"]) for one in found]
        return next(one for one in details if one.get("id") == given["id"])

    assert entry(alice)["purpose"] == wish["purpose"]
    assert "purpose" not in entry(bob)
    bob.call("DELETE", f"shares/{made['id']}")
    for wrong in ("a\nb", "a\u202eb", "x" * 81):
        body = {"grants": [{"bucket": "alice"}], "purpose": wrong}
        assert alice.refused("POST", "credentials", body) == (400, "bad-request")


def test_keys_do_not_hide_among_the_gateways_own(alice):
    body = {"grants": [{"bucket": "alice"}], "purpose": "browser"}
    assert alice.refused("POST", "credentials", body) == (400, "bad-request")


def test_keys_are_not_given_for_what_is_anothers(alice):
    for grant in (
        {"bucket": "bob"},
        {"bucket": "bob", "prefix": "a", "mode": "read"},
        {"bucket": "alice-nothing", "mode": "read"},
    ):
        assert alice.refused("POST", "credentials", {"grants": [grant]})[0] == 404


def test_a_public_link_works_for_everybody_until_it_is_ended(alice, gateway):
    alice.put("pub/ünï\u202efdp.html", b"<b>public</b>")
    body = {"bucket": "alice", "key": "pub/ünï\u202efdp.html"}
    link = alice.call("POST", "links", body)
    first = httpx.get(link["url"], trust_env=False)
    assert first.status_code == 303
    assert "X-Amz-Expires=30" in first.headers["location"]
    answer = httpx.get(link["url"], trust_env=False, follow_redirects=True)
    assert answer.content == b"<b>public</b>"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "\u202e" not in answer.headers["content-disposition"]
    (found,) = [x for x in alice.call("GET", "links")["links"] if x["id"] == link["id"]]
    assert (found["uses"], found["url"]) == (2, None)
    secret = link["url"].rsplit("/", 1)[1]
    assert secret not in gateway.log.read_text()
    alice.call("DELETE", f"links/{link['id']}")
    assert httpx.get(link["url"], trust_env=False).status_code == 404


def test_a_link_dies_with_its_makers_right(person, gateway):
    gone = person("gone")
    gone.put("x", b"1")
    link = gone.call("POST", "links", {"bucket": "gone", "key": "x"})
    gateway.call("DELETE", "users/gone")
    # The hub's word about people is kept for seconds; nobody asked before.
    answer = httpx.get(link["url"], trust_env=False)
    assert answer.status_code == 404


def test_what_was_done_is_written_down_and_seen_by_the_owner(alice, bob):
    made = share(alice, "log/", "bob", "read-write")
    bob.put("log/x", b"", bucket="alice")
    body = {"bucket": "alice", "keys": ["log/x"]}
    bob.call("POST", "objects/delete", body)
    alice.call("DELETE", f"shares/{made['id']}")
    seen = [
        (entry["actor"], entry["action"])
        for entry in alice.call("GET", "audit")["entries"]
        if entry["bucket"] == "alice"
    ]
    assert seen[:3] == [
        ("alice", "end-share"),
        ("bob", "delete-objects"),
        ("alice", "share"),
    ]
    others = {entry["bucket"] for entry in bob.call("GET", "audit")["entries"]}
    assert all(
        entry["actor"] == "bob" or entry["bucket"].startswith("bob")
        for entry in bob.call("GET", "audit")["entries"]
    ), others
