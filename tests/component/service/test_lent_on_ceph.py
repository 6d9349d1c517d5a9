"""A bucket of somebody else on Ceph, lent to the gateway by its policy."""

from __future__ import annotations

import httpx
import pytest

from rigs.services.person import Person
from rigs.services.service import running_service, write_key
from rigs.stores.rgw import BROKER_ARN, allow, make_role, policy, stranger
from rigs.stores.sites import Site
from services.storage.drivers.sts import StsDriver, StsSettings
from services.storage.s3.errors import AccessDenied, GrantRefused
from services.storage.s3.values import AccessKey, Grant, Mode

pytestmark = pytest.mark.root

READ = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketPolicy", "s3:PutBucketPolicy"]
WRITE = [
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
    "s3:ListBucketVersions",
]
"""What the guide tells the bucket's owner to allow."""


@pytest.fixture
async def rgw(rgw_facts):
    one = Site(rgw_facts)
    yield one
    await one.close()


@pytest.fixture
async def role_arn(rgw):
    """A role for the gateway's own buckets: the lent one is its owner's to open."""
    return await make_role(rgw, None, "o-*", "*--*", "landbridge-probe")


async def test_a_lent_bucket_serves_as_its_rules_say(
    rgw, rgw_facts, role_arn, tmp_path
):
    owner_arn, owner = await stranger(rgw)
    bucket = f"{owner_arn.rpartition('/')[2]}-data"
    await owner.buckets.create(bucket)
    owners = allow([owner_arn], ["s3:GetObject"], bucket)
    ours = allow([BROKER_ARN, role_arn], READ + WRITE, bucket)
    await owner.buckets.set_policy(bucket, policy(owners, ours))
    for key in ("runs/a", "runs/b c", "other/a"):
        await owner.put(bucket, key, b"12345")
    key = rgw_facts.key
    settings = {
        "endpoint": rgw_facts.endpoint.replace("127.0.0.1", "localhost"),
        "key_file": write_key(tmp_path, key.access_key, key.secret_key),
        "role_arn": role_arn,
        "route": "direct",
        "user_bucket": "o-{user}",
        "buckets": [
            {"bucket": bucket, "users": ["alice"], "mode": "read-write"},
            {"bucket": bucket, "users": ["carol"], "prefix": "runs/"},
        ],
    }
    with running_service(tmp_path, settings) as rig:
        alice, carol = rig.person("alice"), rig.person("carol")
        check_reading(alice, bucket)
        check_writing(alice, bucket)
        check_parts(alice, bucket)
        made = alice.call("POST", "buckets", {"name": f"m{bucket[:12]}"})["name"]
        alice.put("a", b"1", bucket=made)
        assert (await owner.get(bucket, "up")).data == b"new"
        await check_keys(rgw, alice, bucket)
        ours = allow([BROKER_ARN, role_arn], READ, bucket)
        await owner.buckets.set_policy(bucket, policy(owners, ours))
        check_a_reader(carol, bucket)
        await check_read_keys(rgw, carol, bucket)
        kept = (await owner.buckets.policy(bucket))["Statement"]
        assert [one["Effect"] for one in kept] == ["Deny", "Allow", "Allow"]
        ours = allow([BROKER_ARN], READ, bucket)
        await owner.buckets.set_policy(bucket, policy(owners, ours))
        await check_widened(rig, bucket)
        assert (await owner.get(bucket, "runs/a")).data == b"12345"


def check_reading(alice: Person, bucket: str) -> None:
    found = alice.call("GET", "buckets")["buckets"]
    assert (bucket, "site", "read-write") in [
        (one["name"], one["why"], one["mode"]) for one in found
    ]
    assert alice.names(bucket=bucket) == ["other/a", "runs/a", "runs/b c"]
    head = alice.call("GET", "objects/head", bucket=bucket, key="runs/a")
    assert head["size"] == 5
    assert alice.get("runs/b c", bucket=bucket).content == b"12345"
    usage = alice.call("GET", f"buckets/{bucket}/usage")
    assert (usage["objects"], usage["bytes"]) == (3, 15)


def check_writing(alice: Person, bucket: str) -> None:
    alice.put("up", b"old", bucket=bucket)
    etag = alice.call("GET", "objects/head", bucket=bucket, key="up")["etag"]
    alice.put("up", b"new", bucket=bucket, if_match=etag)
    tags = {"bucket": bucket, "key": "up", "tags": {"a": "b"}}
    alice.call("PUT", "objects/tags", tags)
    assert alice.call("GET", "objects/tags", bucket=bucket, key="up")["tags"] == {
        "a": "b"
    }
    source = {"bucket": bucket, "prefixes": ["runs/"]}
    for target in (bucket, "o-alice"):
        body = {"kind": "copy", "source": source, "bucket": target, "prefix": "cp/"}
        task = alice.finish(alice.call("POST", "tasks", body))
        assert (task["phase"], task["done"]) == ("done", 2), task
    source = {"bucket": bucket, "prefixes": ["cp/"]}
    task = alice.call("POST", "tasks", {"kind": "delete", "source": source})
    assert alice.finish(task)["phase"] == "done"
    found = alice.call("GET", "objects/versions", bucket=bucket, prefix="up")
    assert [one["key"] for one in found["versions"]] == ["up"]
    gone = {"bucket": bucket, "keys": ["other/a"]}
    assert alice.call("POST", "objects/delete", gone)["deleted"] == 1
    assert alice.names(bucket=bucket) == ["runs/a", "runs/b c", "up"]
    share = {"bucket": bucket, "prefix": "runs/", "kind": "user", "name": "bob"}
    assert alice.refused("POST", "shares", share) == (403, "forbidden")


def check_parts(alice: Person, bucket: str) -> None:
    """One upload in parts is completed, another is thrown away."""
    data = bytes(range(256)) * (17 * 2**12) + b"!"
    for ending in ("complete", "abort"):
        wish = {"bucket": bucket, "key": f"big-{ending}", "size": len(data)}
        begun = alice.call("POST", "uploads", wish)
        where = {name: begun[name] for name in ("bucket", "key", "upload_id")}
        for number in range(1, begun["parts"] + 1):
            body = where | {"parts": [{"number": number}]}
            url = alice.call("POST", "uploads/urls", body)["urls"][0]["url"]
            size = begun["part_size"]
            piece = data[(number - 1) * size : number * size]
            sent = httpx.put(url, content=piece, trust_env=False)
            assert sent.status_code == 200, sent.text
        listed = alice.call("GET", "uploads", bucket=bucket)["uploads"]
        assert [one["key"] for one in listed] == [wish["key"]]
        parts = alice.call("GET", "uploads/parts", **where)["parts"]
        more = {"parts": parts} if ending == "complete" else {}
        alice.call("POST", f"uploads/{ending}", where | more)
    assert alice.get("big-complete", bucket=bucket).content == data
    assert "big-abort" not in alice.names(bucket=bucket)
    assert alice.call("GET", "uploads", bucket=bucket)["uploads"] == []


def check_a_reader(carol: Person, bucket: str) -> None:
    assert carol.get("runs/a", bucket=bucket).content == b"12345"
    wish = {"bucket": bucket, "key": "runs/n", "size": 1}
    assert carol.refused("POST", "urls/upload", wish) == (403, "forbidden")
    gone = {"bucket": bucket, "keys": ["runs/a"]}
    assert carol.refused("POST", "objects/delete", gone) == (403, "forbidden")
    where = {"bucket": bucket, "prefix": ""}
    assert carol.refused("GET", "objects", **where) == (403, "forbidden")


async def check_widened(rig, bucket: str) -> None:
    """Where the policy opens the bucket to every session, there are keys but for it."""
    rig.kill()  # forget what was known a minute ago
    rig.start()
    alice = rig.person("alice")
    asked = {"grants": [{"bucket": bucket, "mode": "read"}]}
    answer = alice.ask("POST", "credentials", asked)
    assert answer.json()["error"]["code"] == "grant-refused"
    assert "in one statement that is the policy's last" in answer.text
    answer = alice.call("POST", "credentials", {})
    assert "o-alice" in [grant["bucket"] for grant in answer["grants"]]
    assert [grant["bucket"] for grant in answer["left_out"]] == [bucket]
    assert f"The policy of bucket {bucket} would let keys" in rig.words()


def signed(rgw: Site, answer: dict):
    key = (answer["access_key"], answer["secret_key"], answer["session_token"])
    return rgw.client.signed_by(AccessKey(*key))


async def refused(*works) -> None:
    for work in works:
        with pytest.raises(AccessDenied):
            await work


async def check_keys(rgw: Site, alice: Person, bucket: str) -> None:
    """Keys for one prefix write there and nowhere else, until they are revoked."""
    grants = [{"bucket": bucket, "prefix": "runs/", "mode": "read-write"}]
    made = [alice.call("POST", "credentials", {"grants": grants}) for _ in range(2)]
    narrow, other = (signed(rgw, answer) for answer in made)
    await narrow.put(bucket, "runs/n", b"n")
    assert (await narrow.get(bucket, "runs/n")).data == b"n"
    assert len((await narrow.list(bucket, "runs/")).objects) == 3
    await narrow.delete(bucket, "runs/n")
    await refused(
        narrow.get(bucket, "up"),
        narrow.put(bucket, "up", b"!"),
        narrow.delete(bucket, "up"),
        narrow.list(bucket),
        narrow.buckets.policy(bucket),
        narrow.buckets.set_policy(bucket, policy()),
    )
    alice.call("DELETE", f"credentials/{made[0]['id']}")
    await refused(
        narrow.get(bucket, "runs/a"),
        narrow.put(bucket, "runs/n", b""),
        other.list(bucket),
    )
    assert (await other.get(bucket, "runs/a")).data == b"12345"


async def check_read_keys(rgw: Site, carol: Person, bucket: str) -> None:
    grants = [{"bucket": bucket, "prefix": "runs/", "mode": "read"}]
    answer = carol.call("POST", "credentials", {"grants": grants})
    reader = signed(rgw, answer)
    assert (await reader.get(bucket, "runs/a")).data == b"12345"
    await refused(
        reader.put(bucket, "runs/a", b"!"),
        reader.delete(bucket, "runs/a"),
        reader.get(bucket, "up"),
    )
    carol.call("DELETE", f"credentials/{answer['id']}")
    await refused(reader.get(bucket, "runs/a"))


@pytest.mark.parametrize("form", ["broker", "role, broker", "broker, role", "both"])
async def test_keys_are_made_only_where_the_policy_keeps_them_narrow(
    rgw, role_arn, form
):
    """On 16.2 a session is its broker's, in each statement that names her alone."""
    owner_arn, owner = await stranger(rgw)
    bucket = f"{owner_arn.rpartition('/')[2]}-data"
    await owner.buckets.create(bucket)
    await owner.put(bucket, "out", b"secret")
    broker = allow([BROKER_ARN], READ, bucket)
    role = allow([role_arn], READ, bucket)
    statements = {
        "broker": [broker],
        "role, broker": [role, broker],
        "broker, role": [broker, role],
        "both": [allow([BROKER_ARN, role_arn], READ, bucket)],
    }[form]
    await owner.buckets.set_policy(bucket, policy(*statements))
    driver = StsDriver(rgw.client, StsSettings(role_arn))
    grants = [Grant(bucket, "in/", Mode.READ)]
    if form in ("broker", "role, broker"):
        with pytest.raises(GrantRefused, match="do more than they are for"):
            await driver.issue("alice", grants)
        return
    session = await driver.issue("alice", grants)
    narrow = rgw.client.signed_by(session.key)
    await narrow.list(bucket, "in/")
    await refused(narrow.get(bucket, "out"), narrow.list(bucket))
