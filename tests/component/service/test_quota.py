"""Quota at the service's doors and at the store's; usage counted in the background."""

from __future__ import annotations

import asyncio

import pytest

from rigs.hub.process import until
from rigs.services.person import Person
from rigs.stores.sites import Site
from services.storage.s3.errors import AccessDenied, QuotaExceeded
from services.storage.s3.values import AccessKey

QUOTA = 200_000
SETTINGS = {"user_quota": QUOTA, "usage_every": "1s", "user_bucket": "q-{user}"}


def wish(key: str, size: int, bucket: str = "q-alice") -> dict:
    return {"bucket": bucket, "key": key, "size": size}


def refused(person: Person, key: str, size: int, bucket: str = "q-alice") -> bool:
    """Whether there is no room for it."""
    answer = person.ask("POST", "urls/upload", wish(key, size, bucket))
    if answer.is_error:
        assert answer.json()["error"]["code"] == "quota"
    return answer.is_error


def key_of(answer: dict) -> AccessKey:
    return AccessKey(
        answer["access_key"], answer["secret_key"], answer["session_token"]
    )


async def test_nobody_gets_more_in_than_there_is_room_for(weed, serve):
    rig = serve(weed.facts, role_arn=weed.facts.role_arn, **SETTINGS)
    alice = rig.person("alice")
    assert alice.call("GET", "me")["quota"] == QUOTA
    alice.put("a", b"1" * 120_000, bucket="q-alice")
    assert refused(alice, "b", 90_000)
    assert alice.refused("POST", "uploads", wish("b", 90_000)) == (403, "quota")
    # What others are allowed at the same time is taken from the same room.
    begun = [alice.ask("POST", "uploads", wish(f"c{n}", 30_000)) for n in range(4)]
    assert [answer.status_code for answer in begun] == [201, 201, 403, 403]
    alice.call("POST", "buckets", {"name": "more"})
    assert refused(alice, "d", 30_000, "alice--more")
    # An upload that is thrown away, and an object that is deleted, give room.
    for answer in begun[:2]:
        where = {k: answer.json()[k] for k in ("bucket", "key", "upload_id")}
        alice.call("POST", "uploads/abort", where)
    until("there is room again", lambda: not refused(alice, "d", 70_000), seconds=10)


async def test_a_copy_that_does_not_fit_says_so(weed, serve):
    rig = serve(weed.facts, role_arn=weed.facts.role_arn, **SETTINGS)
    bob = rig.person("bob")
    for n in range(3):
        bob.put(f"src/{n}", b"1" * 40_000, bucket="q-bob")
    body = {
        "kind": "copy",
        "source": {"bucket": "q-bob", "prefixes": ["src/"]},
        "bucket": "q-bob",
        "prefix": "dst/",
    }
    task = bob.finish(bob.call("POST", "tasks", body))
    assert task["phase"] == "failed"
    assert "may hold 200000 bytes together" in task["message"]
    assert bob.names("dst/", bucket="q-bob") == []


async def test_a_version_that_does_not_fit_stays_in_the_past(weed, serve):
    rig = serve(weed.facts, role_arn=weed.facts.role_arn, **SETTINGS)
    finn = rig.person("finn")
    finn.call("GET", "buckets")  # it is made when first seen
    await weed.client.buckets.set_versioned("q-finn", versioned=True)
    await weed.client.put("q-finn", "b", b"1" * 30_000)
    await weed.client.delete("q-finn", "b")
    finn.put("a", b"1" * 180_000, bucket="q-finn")
    query = {"bucket": "q-finn", "prefix": "b"}
    marker, before = finn.call("GET", "objects/versions", **query)["versions"]
    assert marker["deleted"]
    restore = {"bucket": "q-finn", "key": "b", "version": before["version"]}
    assert finn.refused("POST", "objects/restore", restore) == (403, "quota")
    assert finn.names(bucket="q-finn") == ["a"]


async def test_programs_over_quota_may_read(weed, serve):
    rig = serve(weed.facts, role_arn=weed.facts.role_arn, **SETTINGS)
    carol = rig.person("carol")
    carol.put("a", b"1", bucket="q-carol")
    first = carol.call("GET", "buckets")["buckets"][0]["usage"]
    written = carol.call("POST", "credentials", {})
    assert written["grants"][0]["mode"] == "read-write"
    program = weed.client.signed_by(key_of(written))
    await program.put("q-carol", "big", b"1" * QUOTA)

    def usage() -> dict | None:
        """As the list shows it: counted in the background, not for this call."""
        found = carol.call("GET", "buckets")["buckets"][0]["usage"]
        return found if found and found["bytes"] > QUOTA else None

    seen = until("the new object is counted", usage, seconds=30)
    assert seen["measured"] > (first or {"measured": ""})["measured"]
    assert carol.call("GET", "me")["used"] > QUOTA
    late = carol.call("POST", "credentials", {})
    assert late["grants"][0]["mode"] == "read"
    reader = weed.client.signed_by(key_of(late))
    assert (await reader.get("q-carol", "a")).data == b"1"
    with pytest.raises(AccessDenied):
        await reader.put("q-carol", "more", b"1")
    asked = {"grants": [{"bucket": "q-carol"}]}
    assert carol.refused("POST", "credentials", asked) == (403, "quota")
    carol.call("POST", "objects/delete", {"bucket": "q-carol", "keys": ["big"]})


async def test_uploads_that_nobody_knows_any_more_are_thrown_away(weed, serve):
    rig = serve(
        weed.facts, role_arn=weed.facts.role_arn, upload_lifetime="1s", **SETTINGS
    )
    erin = rig.person("erin")
    erin.put("a", b"1", bucket="q-erin")
    uploads = weed.client.uploads
    await uploads.create("q-erin", "lost")
    rig.kill()
    rig.start()
    async with asyncio.timeout(30):
        while (await uploads.list("q-erin")).uploads:
            await asyncio.sleep(0.1)
    assert erin.names(bucket="q-erin") == ["a"]


@pytest.mark.root
async def test_cephs_own_quota_stops_programs_at_once(rgw_facts, serve):
    rig = serve(rgw_facts, role_arn=rgw_facts.role_arn, store_quota="rgw", **SETTINGS)
    dora = rig.person("dora")
    dora.put("a", b"1", bucket="q-dora")
    keys = dora.call("POST", "credentials", {})
    site = Site(rgw_facts)
    try:
        program = site.client.signed_by(key_of(keys))
        await program.put("q-dora", "b", b"1" * 100_000)
        with pytest.raises(QuotaExceeded):
            await program.put("q-dora", "c", b"1" * 150_000)
    finally:
        await site.close()
