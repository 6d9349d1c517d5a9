"""Names that break clients: kept byte for byte, or refused in words; never renamed."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from rigs.stores.odd_keys import ODD
from services.storage.s3.errors import KeyRefused
from services.storage.s3.signing import Presigner
from services.storage.s3.values import Grant, Mode

REFUSED_BY_SEAWEEDFS = {
    "double slash",
    "leading slash",
    "trailing slash",
    "dot",
    "two dots",
    "up",
    "same",
    "backslash",
    "1,024 bytes in one",
}


def test_the_probe_finds_the_names_that_seaweedfs_changes(seaweedfs_facts):
    rules = seaweedfs_facts.features.keys
    assert {name for name in ODD if not rules.keeps(ODD[name])} == REFUSED_BY_SEAWEEDFS
    with pytest.raises(KeyRefused, match="two slashes in a row"):
        rules.check("a//b")
    rules.check("folder/", empty=True)


@pytest.mark.root
def test_the_probe_finds_that_ceph_keeps_all_names(rgw_facts):
    assert all(rgw_facts.features.keys.keeps(key) for key in ODD.values())


@pytest.mark.every_store
async def test_every_kept_name_comes_back_byte_for_byte(site):
    bucket, client = await site.bucket(), site.client
    kept = [key for key in ODD.values() if site.features.keys.keeps(key)]
    for key in kept:
        await client.put(bucket, key, key.encode())
    listed = [item.key async for page in client.pages(bucket) for item in page.objects]
    assert sorted(listed) == sorted(kept)
    for key in kept:
        assert (await client.get(bucket, key)).data == key.encode(), key
        assert (await client.head(bucket, key)).size == len(key.encode()), key


async def test_every_kept_name_is_copied_and_deleted(site):
    bucket, client = await site.bucket(), site.client
    kept = [key for key in ODD.values() if site.features.keys.keeps(key)]
    await client.put(bucket, "plain", b"plain")
    for key in kept:
        await client.copy(bucket, "plain", bucket, key)
        await client.copy(bucket, key, bucket, "back")
    assert (await client.get(bucket, "back")).data == b"plain"
    assert await client.delete_many(bucket, [*kept, "back"]) == ()
    page = await client.list(bucket)
    assert [item.key for item in page.objects] == ["plain"]


async def test_every_kept_name_is_presigned(site):
    bucket = await site.bucket()
    presigner = Presigner(site.facts.key, "us-east-1", site.address.endpoint)
    kept = [key for key in ODD.values() if site.features.keys.keeps(key)]
    async with httpx.AsyncClient(trust_env=False) as browser:
        for key in kept:
            await site.client.put(bucket, key, key.encode())
            url = presigner.get(bucket, key, timedelta(minutes=1)).url
            target = url.removeprefix(site.address.endpoint).encode()
            request = browser.build_request(
                "GET", site.address.endpoint, extensions={"target": target}
            )
            answer = await browser.send(request)
            assert answer.content == key.encode(), key


async def test_odd_names_work_for_a_session_too(site):
    bucket = await site.bucket()
    session = await site.sts.issue("alice", [Grant(bucket, "", Mode.READ_WRITE)])
    client = site.client.signed_by(session.key)
    for key in ("a+b", "a b", "x%2Fy", "\u00e9", "a\nb", "#?&="):
        await client.put(bucket, key, b"1")
        assert (await client.get(bucket, key)).data == b"1"
        await client.delete(bucket, key)


async def test_a_prefix_is_as_odd_as_a_name(site):
    bucket, client = await site.bucket(), site.client
    for folder in ("a+b/", "a b/", "%2F/", "\u00e9/"):
        await client.put(bucket, f"{folder}x", b"")
        page = await client.list(bucket, folder, delimiter="/")
        assert [item.key for item in page.objects] == [f"{folder}x"]
    page = await client.list(bucket, delimiter="/")
    assert set(page.prefixes) == {"a+b/", "a b/", "%2F/", "\u00e9/"}
