"""What a session for ``in/`` of one bucket may do, and what not: on every store.

The same rows for keys by STS and for keys by an admin API.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from rigs.stores.sites import Site
from services.storage.s3.client import S3Client
from services.storage.s3.errors import (
    AccessDenied,
    NotFound,
    RequestRefused,
    StorageError,
)
from services.storage.s3.headers import copy_source
from services.storage.s3.signing import Presigner
from services.storage.s3.transport import S3Request
from services.storage.s3.values import CorsRule, Grant, Mode, Session

KINDS = ("sts", "keys")


@dataclass
class Case:
    site: Site
    mine: str
    foreign: str
    session: Session
    client: S3Client
    upload: str


@pytest.fixture(params=KINDS)
async def case(request, site) -> Case:
    mine, foreign = await site.bucket("alice"), await site.bucket("bob")
    root = site.client
    for key in ("in/a", "out/x", "inside.txt"):
        await root.put(mine, key, b"mine")
    await root.put(foreign, "in/a", b"foreign secret")
    session = await site.driver(request.param).issue(
        "alice", [Grant(mine, "in/", Mode.READ_WRITE)]
    )
    client = root.signed_by(session.key)
    upload = await root.uploads.create(mine, "out/upload")
    return Case(site, mine, foreign, session, client, upload)


async def refused(asked) -> None:
    with pytest.raises(AccessDenied):
        await asked


async def raw(client: S3Client, method: str, bucket: str, key=None, **call) -> int:
    """Ask whatever the client has no method for."""
    answer = await client.transport.ask(
        S3Request(method, bucket, key, what="try", **call)
    )
    return answer.status


@pytest.mark.every_store
async def test_everything_within_the_prefix_is_allowed(case):
    client, mine = case.client, case.mine
    assert (await client.get(mine, "in/a")).data == b"mine"
    assert (await client.head(mine, "in/a")).size == 4
    await client.put(mine, "in/b", b"new")
    await client.copy(mine, "in/b", mine, "in/c")
    page = await client.list(mine, "in/")
    assert [item.key for item in page.objects] == ["in/a", "in/b", "in/c"]
    assert await client.delete_many(mine, ["in/b"]) == ()
    await client.delete(mine, "in/c")


async def test_a_multipart_upload_within_the_prefix_is_allowed(case):
    uploads, mine = case.client.uploads, case.mine
    upload = await uploads.create(mine, "in/big")
    part = await uploads.part(mine, "in/big", upload, 1, b"x" * 1000)
    assert [p.number for p in await uploads.parts(mine, "in/big", upload)] == [1]
    await uploads.complete(mine, "in/big", upload, [part])
    assert (await case.client.head(mine, "in/big")).size == 1000
    again = await uploads.create(mine, "in/big")
    await uploads.abort(mine, "in/big", again)


@pytest.mark.every_store
@pytest.mark.parametrize("key", ["out/x", "inside.txt"])
async def test_objects_outside_the_prefix_are_refused(case, key):
    client, mine = case.client, case.mine
    await refused(client.get(mine, key))
    await refused(client.head(mine, key))
    await refused(client.put(mine, key, b"mine now"))
    await refused(client.delete(mine, key))
    await refused(client.uploads.create(mine, key))
    assert (await case.site.client.get(mine, key)).data == b"mine"


@pytest.mark.every_store
async def test_another_bucket_is_refused(case):
    client, foreign = case.client, case.foreign
    await refused(client.get(foreign, "in/a"))
    await refused(client.put(foreign, "in/a", b"mine now"))
    await refused(client.delete(foreign, "in/a"))
    await refused(client.list(foreign))
    await refused(client.list(foreign, "in/"))
    assert (await case.site.client.get(foreign, "in/a")).data == b"foreign secret"


@pytest.mark.parametrize("prefix", ["", "i", "in", "out/"])
async def test_listings_outside_the_prefix_are_refused(case, prefix):
    await refused(case.client.list(case.mine, prefix))
    await refused(case.client.list(case.mine, prefix, delimiter="/"))


async def test_the_first_listing_protocol_is_bound_too(case):
    client, mine = case.client, case.mine
    assert await raw(client, "GET", mine, query={"prefix": "in/"}) == 200
    await refused(raw(client, "GET", mine))
    await refused(raw(client, "GET", mine, query={"prefix": "out/"}))


@pytest.mark.parametrize("key", ["in/../out/x", "in/./../out/x", "in/..%2fout/x"])
async def test_dots_do_not_lead_out_of_the_prefix(case, key):
    with pytest.raises((NotFound, RequestRefused, AccessDenied)):
        await case.client.get(case.mine, key)
    with pytest.raises((NotFound, RequestRefused, AccessDenied)):
        await case.client.get(case.mine, "in\\..\\out\\x")


async def test_many_deletes_are_judged_key_by_key(case):
    failures = await case.client.delete_many(case.mine, ["in/a", "out/x"])
    assert [(one.key, one.code) for one in failures] == [("out/x", "AccessDenied")]
    assert (await case.site.client.get(case.mine, "out/x")).data == b"mine"


@pytest.mark.every_store
async def test_copies_are_judged_at_both_ends(case):
    client, mine, foreign = case.client, case.mine, case.foreign
    for source in (copy_source(mine, "out/x"), copy_source(foreign, "in/a")):
        headers = {"x-amz-copy-source": source}
        await refused(raw(client, "PUT", mine, "in/stolen", headers=headers))
    headers = {"x-amz-copy-source": copy_source(mine, "in/a")}
    await refused(raw(client, "PUT", mine, "out/x", headers=headers))
    await refused(raw(client, "PUT", foreign, "in/x", headers=headers))


async def test_parts_are_copied_from_within_only(case):
    client, mine = case.client, case.mine
    upload = await client.uploads.create(mine, "in/big")
    for bucket, key in ((mine, "out/x"), (case.foreign, "in/a")):
        await refused(
            client.uploads.copy_part(
                *(mine, "in/big", upload, 1),
                source=copy_source(bucket, key),
                source_etag="x",
                start=0,
                length=1,
            )
        )


async def test_uploads_of_others_are_refused(case):
    uploads, mine = case.client.uploads, case.mine
    await refused(uploads.part(mine, "out/upload", case.upload, 1, b"x"))
    await refused(uploads.parts(mine, "out/upload", case.upload))
    await refused(uploads.abort(mine, "out/upload", case.upload))
    await refused(uploads.list(mine))


async def test_settings_of_the_bucket_are_refused(case):
    buckets, mine = case.client.buckets, case.mine
    everybody = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:*"],
                "Resource": [f"arn:aws:s3:::{mine}/*"],
            }
        ],
    }
    await refused(buckets.policy(mine))
    await refused(buckets.set_policy(mine, everybody))
    await refused(buckets.cors(mine))
    await refused(buckets.set_cors(mine, [CorsRule(("*",), ("GET",))]))
    await refused(buckets.set_versioned(mine, versioned=True))
    await refused(buckets.versions(mine))
    await refused(buckets.delete(mine))
    assert await case.site.client.buckets.policy(mine) is None


async def test_new_buckets_are_refused(case):
    with pytest.raises(StorageError):
        await case.client.buckets.create(f"new-{case.mine}")


async def test_other_buckets_do_not_show(case):
    try:
        shown = {bucket.name for bucket in await case.client.buckets.list()}
    except AccessDenied:
        shown = set()
    assert case.foreign not in shown


async def test_nothing_is_published_by_an_acl(case):
    headers = {"x-amz-acl": "public-read"}
    try:
        await raw(
            case.client, "PUT", case.mine, "in/pub", headers=headers, body=b"secret"
        )
    except AccessDenied:
        assert case.site.name == "rgw"
    nobody = case.site.client.signed_by(None)
    await refused(nobody.get(case.mine, "in/pub"))
    body = b""
    await refused(
        raw(
            *(case.client, "PUT", case.mine, "in/a"),
            query={"acl": ""},
            headers=headers,
            body=body,
        )
    )
    await refused(nobody.get(case.mine, "in/a"))


async def test_presigned_urls_hold_the_same_limits(case):
    presigner = Presigner(case.session.key, "us-east-1", case.site.address.endpoint)
    minute = timedelta(minutes=1)
    async with httpx.AsyncClient(trust_env=False) as browser:

        async def status(url, **send) -> int:
            answer = await browser.request(url.method, url.url, **send)
            assert b"foreign" not in answer.content
            return answer.status_code

        assert await status(presigner.get(case.mine, "in/a", minute)) == 200
        assert await status(presigner.get(case.mine, "out/x", minute)) == 403
        assert await status(presigner.get(case.foreign, "in/a", minute)) == 403
        good = presigner.put(case.mine, "in/put", minute)
        assert await status(good, content=b"1") == 200
        bad = presigner.put(case.mine, "out/put", minute)
        assert await status(bad, content=b"1") == 403


@pytest.mark.every_store
async def test_a_reader_writes_nothing(site):
    bucket = await site.bucket()
    await site.client.put(bucket, "a", b"1")
    session = await site.sts.issue("alice", [Grant(bucket)])
    client = site.client.signed_by(session.key)
    assert (await client.get(bucket, "a")).data == b"1"
    assert len((await client.list(bucket)).objects) == 1
    await refused(client.put(bucket, "a", b"2"))
    await refused(client.delete(bucket, "a"))
    await refused(client.uploads.create(bucket, "b"))


async def test_a_session_reaches_several_buckets_each_in_its_way(site):
    read, write = await site.bucket("read"), await site.bucket("write")
    await site.client.put(read, "a/b", b"1")
    grants = [Grant(read, "a/"), Grant(write, "", Mode.READ_WRITE)]
    session = await site.sts.issue("alice", grants)
    client = site.client.signed_by(session.key)
    assert (await client.get(read, "a/b")).data == b"1"
    await refused(client.put(read, "a/b", b"2"))
    await client.put(write, "anything", b"3")
    assert await client.buckets.exists(write)


def test_the_policy_is_what_the_matrix_was_run_with(seaweedfs_facts):
    from services.storage.drivers.policies import session_policy

    policy = json.loads(session_policy([Grant("bucket", "in/", Mode.READ_WRITE)]))
    assert [s["Effect"] for s in policy["Statement"]] == [
        "Allow",
        "Allow",
        "Allow",
        "Deny",
    ]
