"""Objects, uploads, URLs and settings, as our client asks for them, on every store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from services.storage.s3.copies import is_copy
from services.storage.s3.errors import (
    AccessDenied,
    BucketNotFound,
    Conflict,
    KeyNotValid,
    NotSupported,
    ObjectNotFound,
    PreconditionFailed,
    StorageError,
    StoreUnavailable,
    UploadNotFound,
)
from services.storage.s3.headers import crc32
from services.storage.s3.signing import Presigner
from services.storage.s3.uploads import SMALLEST_PART
from services.storage.s3.values import AccessKey, CorsRule
from services.storage.work.folders import remove_empty

MINUTE = timedelta(minutes=1)
GATEWAY = "https://gateway.example"


@pytest.mark.every_store
async def test_pages_join_to_the_whole_and_jumps_land(site):
    bucket, client = await site.bucket(), site.client
    names = [f"d/{number:03}" for number in range(25)]
    await asyncio.gather(*(client.put(bucket, name, b"") for name in names))
    found: list[str] = []
    token = None
    while True:
        page = await client.list(bucket, "d/", token=token, limit=10)
        assert len(page.objects) <= 10
        found += [item.key for item in page.objects]
        token = page.token
        if token is None:
            break
    assert found == names
    page = await client.list(bucket, "d/", start_after="d/019", limit=2)
    assert [item.key for item in page.objects] == ["d/020", "d/021"]
    page = await client.list(bucket, "d/02", delimiter="/")
    assert [item.key for item in page.objects] == names[20:]
    page = await client.list(bucket, delimiter="/")
    assert page.prefixes == ("d/",)
    assert page.objects == ()


async def test_facts_ranges_and_metadata(site):
    bucket, client = await site.bucket(), site.client
    data = bytes(range(256)) * 4
    etag = await client.put(
        bucket, "a", data, content_type="text/plain", metadata={"from": "me"}
    )
    head = await client.head(bucket, "a")
    assert (head.size, head.etag, head.content_type) == (1024, etag, "text/plain")
    assert head.metadata == {"from": "me"}
    body = await client.get(bucket, "a", start=1000, length=100)
    assert (body.data, body.start, body.size) == (data[1000:], 1000, 1024)
    assert (await client.get(bucket, "a", start=5000, length=1)).data == b""
    await client.put(bucket, "empty", b"")
    assert (await client.get(bucket, "empty")).data == b""
    async with client.stream(bucket, "a") as pieces:
        assert b"".join([piece async for piece in pieces]) == data


async def test_what_is_not_there_has_a_name(site):
    bucket, client = await site.bucket(), site.client
    with pytest.raises(ObjectNotFound, match="There is no such object"):
        await client.get(bucket, "none")
    with pytest.raises(ObjectNotFound):
        await client.head(bucket, "none")
    with pytest.raises(BucketNotFound):
        await client.list("no-such-bucket-here")
    assert not await client.buckets.exists("no-such-bucket-here")
    await client.delete(bucket, "none")
    await client.put(bucket, "a", b"")
    with pytest.raises(Conflict):
        await client.buckets.delete(bucket)
    await client.delete(bucket, "a")
    await client.buckets.delete(bucket)
    assert not await client.buckets.exists(bucket)


@pytest.mark.every_store
async def test_two_writers_do_not_overwrite_each_other(site):
    bucket, client = await site.bucket(), site.client
    etag = await client.put(bucket, "a", b"1", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await client.put(bucket, "a", b"2", if_none_match=True)
    await client.put(bucket, "a", b"2", if_match=etag)
    with pytest.raises(PreconditionFailed):
        await client.put(bucket, "a", b"3", if_match=etag)
    if site.features.dialect.conditional_deletes:
        with pytest.raises(PreconditionFailed):
            await client.delete(bucket, "a", if_match=etag)
    assert (await client.get(bucket, "a")).data == b"2"


async def test_tags_and_versions(site):
    bucket, client = await site.bucket(), site.client
    await client.put(bucket, "a", b"1")
    await client.set_tags(bucket, "a", {"project": "a+b = c", "run": "7"})
    assert await client.tags(bucket, "a") == {"project": "a+b = c", "run": "7"}
    assert not await client.buckets.versioned(bucket)
    await client.buckets.set_versioned(bucket, versioned=True)
    assert await client.buckets.versioned(bucket)
    for data in (b"2", b"3"):
        await client.put(bucket, "v +x", data)
    await client.delete(bucket, "v +x")
    page = await client.buckets.versions(bucket, "v ")
    assert [one.deleted for one in page.versions] == [True, False, False]
    assert page.versions[0].latest
    older = page.versions[2]
    got = await client.get(bucket, "v +x", version=older.version)
    assert got.data == b"2"
    async with client.stream(bucket, "v +x", version=older.version) as pieces:
        assert b"".join([piece async for piece in pieces]) == b"2"
    await client.copy(bucket, "v +x", bucket, "back", version=older.version)
    assert (await client.get(bucket, "back")).data == b"2"


@pytest.mark.every_store
async def test_an_upload_is_resumed_from_what_has_arrived(site):
    bucket, client = await site.bucket(), site.client
    first, second = b"1" * SMALLEST_PART, b"2" * 1000
    upload = await client.uploads.create(bucket, "big +x", content_type="x/y")
    await client.uploads.part(bucket, "big +x", upload, 1, first)
    with pytest.raises(ObjectNotFound):
        await client.head(bucket, "big +x")
    page = await client.uploads.list(bucket)
    assert [(one.key, one.upload_id) for one in page.uploads] == [("big +x", upload)]
    parts = list(await client.uploads.parts(bucket, "big +x", upload))
    assert [(part.number, part.size) for part in parts] == [(1, SMALLEST_PART)]
    parts.append(await client.uploads.part(bucket, "big +x", upload, 2, second))
    await client.uploads.complete(bucket, "big +x", upload, parts)
    head = await client.head(bucket, "big +x")
    assert (head.size, head.content_type) == (SMALLEST_PART + 1000, "x/y")
    body = await client.get(bucket, "big +x", start=SMALLEST_PART - 1, length=2)
    assert body.data == b"12"
    assert (await client.uploads.list(bucket)).uploads == ()


async def test_an_aborted_upload_leaves_nothing(site):
    bucket, client = await site.bucket(), site.client
    upload = await client.uploads.create(bucket, "big")
    part = await client.uploads.part(bucket, "big", upload, 1, b"x")
    await client.uploads.abort(bucket, "big", upload)
    await client.uploads.abort(bucket, "big", upload)
    with pytest.raises((UploadNotFound, ObjectNotFound, StoreUnavailable)):
        await client.uploads.complete(bucket, "big", upload, [part])
    assert (await client.list(bucket)).objects == ()


async def test_a_large_copy_goes_in_parts_and_appears_whole(site):
    bucket, client = await site.bucket(), site.client
    data = b"a" * SMALLEST_PART + b"b" * SMALLEST_PART + b"c"
    await client.put(bucket, "source", data, metadata={"k": "v"})
    await client.copy(bucket, "source", bucket, "copy", single=SMALLEST_PART)
    source = await client.head(bucket, "source")
    head = await client.head(bucket, "copy")
    # What tells the copy from another object of its size.
    mark = {"landbridge-copy-of": source.etag}
    assert (head.size, head.metadata) == (len(data), {"k": "v", **mark})
    assert head.etag.endswith("-3")
    body = await client.get(bucket, "copy", start=SMALLEST_PART * 2 - 1, length=2)
    assert body.data == b"bc"


async def test_a_copy_in_parts_keeps_headers_tags_and_metadata(site):
    bucket, client = await site.bucket(), site.client
    headers = {
        "cache-control": "max-age=3",
        "content-disposition": 'attachment; filename="x"',
        "content-encoding": "gzip",
        "content-language": "de",
        "expires": "Wed, 21 Oct 2037 07:28:00 GMT",
    }
    metadata = {"who": "Zo\u00eb \u2603", "what": "plain"}
    upload = await client.uploads.create(
        bucket, "source", content_type="text/x", metadata=metadata, headers=headers
    )
    data = bytes(SMALLEST_PART + 1)
    part = await client.uploads.part(bucket, "source", upload, 1, data)
    await client.uploads.complete(bucket, "source", upload, [part])
    tags = {"project": "a+b = c", "run": "\u00e9"}
    await client.set_tags(bucket, "source", tags)
    source = await client.head(bucket, "source")
    assert source.headers == headers
    assert source.metadata == metadata
    for again in ("copy", "copy of the copy"):
        etag = await client.copy(
            bucket, source.key, bucket, again, single=SMALLEST_PART
        )
        copied = await client.head(bucket, again)
        assert copied.etag == etag
        assert is_copy(copied, source)
        assert (copied.headers, copied.content_type) == (headers, "text/x")
        assert copied.metadata == {**metadata, "landbridge-copy-of": source.etag}
        assert await client.tags(bucket, again) == tags
        source = copied
    # By one request, the store keeps all of it by itself.
    await client.copy(bucket, "source", bucket, "whole")
    assert (await client.head(bucket, "whole")).metadata == metadata


async def test_a_copy_that_lacks_something_says_what(weed, monkeypatch):
    bucket, client = await weed.bucket(), weed.client
    await client.put(bucket, "source", bytes(SMALLEST_PART + 1), metadata={"k": "v"})
    create = client.uploads.create

    async def forgetful(*names, metadata, **more):
        mark = {name: metadata[name] for name in metadata if name != "k"}
        return await create(*names, metadata=mark, **more)

    monkeypatch.setattr(client.uploads, "create", forgetful)
    with pytest.raises(NotSupported, match="did not keep its metadata k"):
        await client.copy(bucket, "source", bucket, "copy", single=SMALLEST_PART)
    heads = [await client.head(bucket, key) for key in ("copy", "source")]
    assert not is_copy(*heads)


async def test_a_source_that_changes_is_not_mixed(site, monkeypatch):
    bucket, client = await site.bucket(), site.client
    await client.put(bucket, "source", b"a" * (SMALLEST_PART + 1))
    copy_part = client.uploads.copy_part

    async def and_then_it_changes(*args, **kwargs):
        part = await copy_part(*args, **kwargs)
        await client.put(bucket, "source", b"z" * (SMALLEST_PART + 1))
        return part

    monkeypatch.setattr(client.uploads, "copy_part", and_then_it_changes)
    with pytest.raises(PreconditionFailed):
        await client.copy(bucket, "source", bucket, "copy", single=SMALLEST_PART)
    with pytest.raises(ObjectNotFound):
        await client.head(bucket, "copy")
    assert (await client.uploads.list(bucket)).uploads == ()


async def ask(site, url, *, authority=GATEWAY, prefix="/s3", **send) -> httpx.Response:
    """What HAProxy does: cut the prefix, keep the host."""
    path = url.url.removeprefix(f"{authority}{prefix}")
    assert path != url.url
    headers = {**url.headers, "host": urlsplit(authority).netloc}
    async with httpx.AsyncClient(trust_env=False) as browser:
        return await browser.request(
            url.method,
            site.address.endpoint,
            headers={**headers, **send.pop("headers", {})},
            extensions={"target": path.encode()},
            **send,
        )


async def test_urls_are_signed_for_the_gateway_and_not_for_its_prefix(site):
    bucket = await site.bucket()
    presigner = Presigner(site.facts.key, "us-east-1", GATEWAY, "/s3")
    put = presigner.put(bucket, "a b+c/#?", MINUTE)
    assert put.url.startswith(f"{GATEWAY}/s3/{bucket}/a%20b%2Bc/%23%3F?")
    assert (await ask(site, put, content=b"hello")).status_code == 200
    get = presigner.get(bucket, "a b+c/#?", MINUTE)
    answer = await ask(site, get, headers={"range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (206, b"el")
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-type"] == "application/octet-stream"
    wrong = await ask(site, get, headers={"host": "elsewhere.example"})
    assert wrong.status_code == 403


@pytest.mark.every_store
async def test_a_url_does_what_it_was_made_for_and_nothing_else(site):
    bucket = await site.bucket()
    await site.client.put(bucket, "a", b"1")
    presigner = Presigner(site.facts.key, "us-east-1", GATEWAY, "/s3")
    get = presigner.get(bucket, "a", MINUTE)
    for change in (
        type(get)("PUT", get.url, {}),
        type(get)("GET", get.url.replace(f"{bucket}/a?", f"{bucket}/b?"), {}),
        type(get)("GET", get.url.replace("Expires=60", "Expires=6000"), {}),
        type(get)("GET", get.url.replace("attachment", "inline"), {}),
    ):
        assert change != get
        assert (await ask(site, change)).status_code == 403


async def test_a_store_that_obeys_headers_nobody_signed_is_known(site):
    """Of a URL of the broker's, who may read every bucket."""
    bucket, other = await site.bucket(), await site.bucket()
    await site.client.put(other, "secret", b"secret")
    presigner = Presigner(site.facts.key, "us-east-1", GATEWAY, "/s3")
    source = {"x-amz-copy-source": f"/{other}/secret"}
    await ask(site, presigner.put(bucket, "copied", MINUTE), headers=source)
    stolen = [item.key for item in (await site.client.list(bucket)).objects]
    assert (stolen == []) is site.features.urls_bound
    plain = await ask(site, presigner.put(bucket, "plain", MINUTE), content=b"x")
    assert plain.status_code == 200
    assert site.features.urls_bound is (site.facts.name == "seaweedfs")


async def test_a_url_expires(site):
    bucket = await site.bucket()
    await site.client.put(bucket, "a", b"1")
    presigner = Presigner(site.facts.key, "us-east-1", GATEWAY, "/s3")
    url = presigner.get(bucket, "a", timedelta(seconds=1))
    deadline = time.monotonic() + 10
    while (await ask(site, url)).status_code == 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert (await ask(site, url)).status_code in {400, 403}


async def test_a_parts_checksum_is_bound_to_its_url(site):
    bucket, client = await site.bucket(), site.client
    upload = await client.uploads.create(bucket, "big", checksum="CRC32")
    presigner = Presigner(site.facts.key, "us-east-1", GATEWAY, "/s3")
    bound = {"x-amz-checksum-crc32": crc32(b"right")}
    url = presigner.part(bucket, "big", upload, 1, MINUTE, headers=bound)
    other = {"x-amz-checksum-crc32": crc32(b"other")}
    assert (await ask(site, url, content=b"other", headers=other)).status_code == 403
    if site.features.checksums:
        assert (await ask(site, url, content=b"wrong")).status_code == 400
    good = await ask(site, url, content=b"right")
    assert good.status_code == 200
    parts = await client.uploads.parts(bucket, "big", upload)
    assert [part.etag for part in parts] == [good.headers["etag"].strip('"')]
    known = [replace(part, checksums={"crc32": crc32(b"right")}) for part in parts]
    await client.uploads.complete(bucket, "big", upload, known)
    assert (await client.get(bucket, "big")).data == b"right"


async def test_cors_rules_are_read_back_and_hold(site):
    bucket, client = await site.bucket(), site.client
    assert await client.buckets.cors(bucket) == ()
    rule = CorsRule((GATEWAY,), ("GET", "PUT"), ("*",), ("ETag", "Content-Range"))
    await client.buckets.set_cors(bucket, [rule])
    assert (await client.buckets.cors(bucket))[0].origins == (GATEWAY,)
    async with httpx.AsyncClient(trust_env=False) as browser:

        async def preflight(origin: str) -> str | None:
            answer = await browser.options(
                f"{site.address.endpoint}/{bucket}/a",
                headers={"origin": origin, "access-control-request-method": "PUT"},
            )
            return answer.headers.get("access-control-allow-origin")

        assert await preflight(GATEWAY) == GATEWAY
        assert await preflight("https://evil.example") in (None, GATEWAY)


async def test_a_policy_is_written_and_dropped(site):
    bucket, buckets = await site.bucket(), site.client.buckets
    assert await buckets.policy(bucket) is None
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    await buckets.set_policy(bucket, document)
    kept = await buckets.policy(bucket)
    assert kept is not None
    assert len(kept["Statement"]) == 1
    await buckets.set_policy(bucket, None)
    assert await buckets.policy(bucket) is None


async def test_a_wrong_secret_is_told_from_a_right_one(site):
    for key in (
        AccessKey(site.facts.key.access_key, "wrong"),
        AccessKey("unknown", "wrong"),
    ):
        # RGW does not tell an unknown key from one that may not list.
        with pytest.raises(
            KeyNotValid if site.name != "rgw" else AccessDenied
        ) as caught:
            await site.client.signed_by(key).buckets.list()
        assert "wrong" not in str(caught.value)
        assert isinstance(caught.value, StorageError)


async def test_an_empty_folder_is_left_where_something_is(weed):
    bucket = await weed.bucket()
    for key in ("p/a/1", "p/b/c/2", "q/3"):
        await weed.client.put(bucket, key, b"1")
    for key in ("p/b/c/2", "q/3"):
        await weed.client.delete(bucket, key)
    rules = weed.features.keys
    await remove_empty(weed.client, rules, bucket, ["p/"])
    page = await weed.client.list(bucket, "p/", delimiter="/")
    assert page.prefixes == ("p/a/",)
    assert (await weed.client.get(bucket, "p/a/1")).data == b"1"
    await weed.client.buckets.set_versioned(bucket, versioned=False)  # suspended
    await remove_empty(weed.client, rules, bucket, ["q/"])
    found = await weed.client.buckets.versions(bucket, "q/")
    assert not [one for one in found.versions if one.deleted and one.key == "q/"]
