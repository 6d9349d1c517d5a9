"""A store that fails: every request ends in a named error, or in what was asked."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from rigs.stores.fault_proxy import (
    CutAnswer,
    CutRequest,
    FaultProxy,
    Refuse,
    Say,
    Silence,
)
from services.storage.s3.client import S3Client
from services.storage.s3.errors import (
    AccessDenied,
    ClockSkewed,
    ObjectNotFound,
    StorageError,
    StoreAnswerInvalid,
    StoreBusy,
    StoreUnavailable,
)
from services.storage.s3.transport import StoreAddress
from services.storage.s3.uploads import SMALLEST_PART

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please</Message></Error>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "'
    + b"ha" * 50
    + b'">'
    + b"".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">'.encode()
        for n in range(9)
    )
    + b"]><ListBucketResult><Name>&j;</Name></ListBucketResult>"
)
READS_A_FILE = (
    b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    b"<ListBucketResult><Contents><Key>&f;</Key></Contents></ListBucketResult>"
)


@pytest.fixture
async def behind(faults: FaultProxy, weed):
    """A client of the store behind the proxy, and a bucket."""
    address = StoreAddress(
        faults.endpoint,
        answer=timedelta(seconds=1),
        attempts=3,
        pause=timedelta(milliseconds=20),
    )
    client = S3Client(address, weed.facts.key)
    yield client, await weed.bucket()
    await client.close()


async def test_what_passes_is_tried_again(behind, faults):
    client, bucket = behind
    for plan in (
        [Refuse(), Refuse()],
        [Say(500), Say(503, SLOW_DOWN)],
        [Say(502, b"<html>"), Silence()],
        [CutAnswer(20), CutAnswer(100)],
        [CutRequest(10), Say(503, SLOW_DOWN, ("Retry-After: 0",))],
    ):
        faults.plan = list(plan)
        faults.seen.clear()
        await client.put(bucket, "a", b"1")
        assert len(faults.seen) == 3, plan
        assert (await client.get(bucket, "a")).data == b"1"


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Refuse(), StoreUnavailable, "did not answer"),
        (Silence(), StoreUnavailable, "in time"),
        (Say(500), StoreUnavailable, "The store failed with status 500"),
        (Say(503, SLOW_DOWN), StoreBusy, "fewer requests"),
        (CutAnswer(30), StoreUnavailable, "did not answer"),
    ],
)
async def test_what_does_not_pass_gets_a_name(behind, faults, fault, error, words):
    client, bucket = behind
    faults.plan = [fault] * 3
    with pytest.raises(error, match=words) as caught:
        await client.list(bucket)
    assert faults.plan == []
    assert caught.value.hint


async def test_a_store_that_is_down_is_told_quickly(weed):
    address = StoreAddress(
        "http://127.0.0.1:9", attempts=3, pause=timedelta(milliseconds=10)
    )
    client = S3Client(address, weed.facts.key)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await client.buckets.list()
    assert time.monotonic() - began < 2
    await client.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"<html><body>Welcome</body></html>",
        b"<ListBucketResult>",
        b"\xff\xfe<\x00",
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        BOMB,
        READS_A_FILE,
        b"<a>" * 5000,
    ],
)
async def test_an_answer_that_is_none_is_refused(behind, faults, body):
    client, bucket = behind
    faults.plan = [Say(200, body)]
    began = time.monotonic()
    with pytest.raises(StoreAnswerInvalid):
        await client.list(bucket)
    assert time.monotonic() - began < 1


async def test_an_answer_without_an_end_is_cut(behind, faults, monkeypatch):
    client, bucket = behind
    monkeypatch.setattr("services.storage.s3.transport.LONGEST_ANSWER", 1)
    faults.plan = [Say(200, b"<" * (33 * 2**20))]
    with pytest.raises(StoreAnswerInvalid, match="longer than"):
        await client.list(bucket)


async def test_a_wrong_clock_says_which_way(behind, faults):
    client, bucket = behind
    body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    date = "Date: Tue, 01 Jan 2030 00:00:00 GMT"
    faults.plan = [Say(403, body, (date,))]
    with pytest.raises(ClockSkewed, match="differ by") as caught:
        await client.list(bucket)
    assert caught.value.difference is not None
    assert "NTP" in caught.value.hint


async def test_what_a_store_says_is_cut_and_made_printable(behind, faults):
    client, bucket = behind
    words = b"\x1b[31m" + b"x" * 5000 + b"&#10;Set-Cookie: a=b"
    body = b"<Error><Code>Odd</Code><Message>" + words + b"</Message></Error>"
    faults.plan = [Say(400, body)]
    with pytest.raises(StorageError) as caught:
        await client.list(bucket)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


async def test_a_store_that_dies_in_an_upload_leaves_no_half_object(
    behind, faults, weed
):
    client, bucket = behind
    upload = await client.uploads.create(bucket, "big")
    first = await client.uploads.part(bucket, "big", upload, 1, b"1" * SMALLEST_PART)
    faults.plan = [CutRequest(100_000)] * 3
    with pytest.raises(StoreUnavailable):
        await client.uploads.part(bucket, "big", upload, 2, b"2" * SMALLEST_PART)
    with pytest.raises(ObjectNotFound):
        await weed.client.head(bucket, "big")
    parts = list(await client.uploads.parts(bucket, "big", upload))
    assert [part.number for part in parts] == [1]
    parts.append(await client.uploads.part(bucket, "big", upload, 2, b"2"))
    # The answer to the completion is lost: it is asked again, and is whole.
    faults.plan = [CutAnswer(10)]
    await client.uploads.complete(bucket, "big", upload, parts)
    head = await client.head(bucket, "big")
    assert head.size == SMALLEST_PART + 1
    assert first.etag == parts[0].etag


async def test_a_put_that_breaks_off_leaves_the_old_object(behind, faults, weed):
    client, bucket = behind
    await client.put(bucket, "a", b"old")
    faults.plan = [CutRequest(600_000)] * 3
    with pytest.raises(StoreUnavailable):
        await client.put(bucket, "a", b"n" * 2_000_000)
    assert (await weed.client.get(bucket, "a")).data == b"old"


async def test_a_copy_that_fails_aborts_its_upload(behind, faults, weed):
    client, bucket = behind
    await weed.client.put(bucket, "a", b"1" * (SMALLEST_PART * 2 + 1))
    faults.matching = lambda head: b"copy-source-range" in head.lower()
    faults.plan = [Say(500)] * 3
    with pytest.raises(StoreUnavailable):
        await client.copy(bucket, "a", bucket, "b", single=SMALLEST_PART)
    assert (await weed.client.uploads.list(bucket)).uploads == ()
    with pytest.raises(ObjectNotFound):
        await weed.client.head(bucket, "b")


async def test_an_error_with_status_200_is_an_error(behind, faults):
    client, bucket = behind
    await client.put(bucket, "a", b"1")
    faults.matching = lambda head: b"copy-source" in head.lower()
    faults.plan = [Say(200, b"<Error><Code>AccessDenied</Code></Error>")]
    with pytest.raises(AccessDenied):
        await client.copy(bucket, "a", bucket, "b")


async def test_an_upload_is_not_begun_twice(behind, faults, weed):
    client, bucket = behind
    faults.plan = [CutAnswer(10)]
    with pytest.raises(StoreUnavailable):
        await client.uploads.create(bucket, "big")
    assert len((await weed.client.uploads.list(bucket)).uploads) == 1


async def test_a_condition_is_not_tried_against_itself(behind, faults):
    client, bucket = behind
    faults.plan = [CutAnswer(10)]
    with pytest.raises(StoreUnavailable):
        await client.put(bucket, "new", b"1", if_none_match=True)
    assert (await client.get(bucket, "new")).data == b"1"


async def test_a_cancelled_request_gives_its_connection_back(behind, faults):
    client, bucket = behind
    faults.plan = [Silence()] * 70
    tasks = [asyncio.create_task(client.list(bucket)) for _ in range(70)]
    async with asyncio.timeout(10):
        while len(faults.seen) < 64:
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    faults.plan = []
    assert (await client.list(bucket)).objects == ()


async def test_revoking_says_so_when_a_store_ignores_it(behind, faults, weed):
    from services.storage.drivers.sts import StsDriver, StsSettings
    from services.storage.s3.values import Grant

    client, bucket = behind
    driver = StsDriver(client, StsSettings(weed.facts.role_arn))
    session = await driver.issue("alice", [Grant(bucket)])
    faults.matching = lambda head: head.startswith(b"PUT")
    faults.plan = [Say(200)] * 50
    with pytest.raises(StorageError, match="does not keep"):
        await driver.revoke(session)
