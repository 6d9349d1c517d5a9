"""Downloads of an object that is replaced meanwhile: never a mixture."""

from __future__ import annotations

import time
from datetime import timedelta
from email.utils import formatdate

import httpx
import pytest

from services.storage.s3.signing import Presigner

MINUTE = timedelta(minutes=1)
# More than a store, a socket and a client hold between them.
PARTS, PART = 6, 8 << 20


async def write(client, bucket: str, letter: bytes) -> None:
    """Put an object of one letter in parts."""
    upload = await client.uploads.create(bucket, "big")
    parts = [
        await client.uploads.part(bucket, "big", upload, number, letter * PART)
        for number in range(1, PARTS + 1)
    ]
    await client.uploads.complete(bucket, "big", upload, parts)


def email_date(seconds: float) -> str:
    """So many seconds from now, as HTTP writes dates."""
    return formatdate(time.time() + seconds, usegmt=True)


def url_of(site, bucket: str) -> str:
    signer = Presigner(site.facts.key, "us-east-1", site.address.endpoint)
    return signer.get(bucket, "big", MINUTE).url


@pytest.mark.parametrize("how", ["replaced", "deleted"])
async def test_a_download_is_whole_or_breaks_off(site, how):
    bucket, client = await site.bucket(), site.client
    await write(client, bucket, b"a")
    read = bytearray()
    broken = False
    async with (
        httpx.AsyncClient(trust_env=False) as browser,
        browser.stream("GET", url_of(site, bucket)) as answer,
    ):
        pieces = answer.aiter_raw()
        read += await anext(pieces)
        if how == "replaced":
            await write(client, bucket, b"z")
        else:
            await client.delete(bucket, "big")
        try:
            async for piece in pieces:
                read += piece
        except httpx.RemoteProtocolError:
            broken = True
    assert read.count(b"a") == len(read)
    assert broken or len(read) == PARTS * PART


@pytest.mark.every_store
async def test_the_rest_of_an_object_is_of_the_same_writing_only(site):
    bucket, client = await site.bucket(), site.client
    await client.put(bucket, "big", b"0123456789")
    url = url_of(site, bucket)
    async with httpx.AsyncClient(trust_env=False) as browser:
        etag = (await browser.get(url)).headers["etag"]

        async def rest(**condition: str) -> int:
            headers = {name.replace("_", "-"): text for name, text in condition.items()}
            answer = await browser.get(url, headers={"range": "bytes=4-", **headers})
            return answer.status_code

        # The gateway asks by these for a browser that goes on with a download:
        # neither store knows If-Range.
        assert await rest(if_match=etag) == 206
        assert await rest(if_unmodified_since=email_date(+60)) == 206
        assert await rest(if_unmodified_since=email_date(-60)) == 412
        await client.put(bucket, "big", b"abcdefghij")
        assert await rest(if_match=etag) == 412
