"""Keys that end: given narrow, trusted by nobody else, revoked at once."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from rigs.stores.sites import Site
from services.storage.drivers.admin_users import AdminUsersDriver, IamUsers, RgwUsers
from services.storage.drivers.policies import session_policy, split
from services.storage.drivers.revocation import denied
from services.storage.drivers.sts import StsDriver, StsSettings, ask_sts
from services.storage.s3.errors import AccessDenied, GrantRefused, StorageError
from services.storage.s3.values import Grant, Mode


async def session_of(site: Site, bucket: str, user: str = "alice"):
    grant = Grant(bucket, "", Mode.READ_WRITE)
    session = await site.sts.issue(user, [grant])
    return session, site.client.signed_by(session.key)


async def test_a_session_says_when_it_ends(site):
    bucket = await site.bucket()
    session, _ = await session_of(site, bucket)
    assert session.expires is not None
    left = session.expires - datetime.now(UTC)
    assert timedelta(minutes=59) < left < timedelta(minutes=61)
    assert session.name.startswith("alice--")
    assert session.identity.endswith(f"/{session.name}")
    assert session.key.secret_key not in repr(session)


async def test_a_users_own_key_does_not_assume_the_role(site):
    bucket, foreign = await site.bucket("alice"), await site.bucket("bob")
    users = IamUsers if site.name == "seaweedfs" else RgwUsers
    keys = AdminUsersDriver(site.client, users(site.client))
    own = await keys.issue("alice", [Grant(bucket, "", Mode.READ_WRITE)])
    alice = site.client.signed_by(own.key)
    form = {
        "RoleArn": site.facts.role_arn,
        "RoleSessionName": "escape",
        "DurationSeconds": "900",
    }
    with pytest.raises(StorageError):
        await ask_sts(alice, "AssumeRole", form)
    await keys.revoke(own)
    _, narrowed = await session_of(site, bucket)
    with pytest.raises(StorageError):
        await ask_sts(narrowed, "AssumeRole", form)
    with pytest.raises(AccessDenied):
        await narrowed.list(foreign)


@pytest.mark.every_store
async def test_nobody_gets_a_session_without_a_signature(site):
    with pytest.raises(StorageError):
        await ask_sts(
            site.client.signed_by(None),
            "AssumeRole",
            {
                "RoleArn": site.facts.role_arn,
                "RoleSessionName": "nobody",
                "Policy": session_policy([Grant("bucket")]),
            },
        )


async def test_a_store_takes_policies_as_long_as_we_send(site):
    grants = [Grant(f"bucket-{number:02}", f"p{number}/") for number in range(40)]
    groups = split(grants)
    assert 1 < len(groups) < 20
    for group in groups:
        await site.sts.issue("alice", group)
    with pytest.raises(GrantRefused, match="2048"):
        await site.sts.issue("alice", grants)


@pytest.mark.every_store
async def test_a_revoked_session_ends_within_a_second_while_others_go_on(site):
    bucket = await site.bucket()
    revoked, gone = await session_of(site, bucket)
    _, other = await session_of(site, bucket)
    _, bob = await session_of(site, bucket, "bob")
    await site.client.put(bucket, "a", b"1")
    await gone.get(bucket, "a")
    stop = asyncio.Event()

    async def go_on(client) -> int:
        reads = 0
        while not stop.is_set():
            assert (await client.get(bucket, "a")).data == b"1"
            reads += 1
        return reads

    async with asyncio.TaskGroup() as group:
        others = [group.create_task(go_on(client)) for client in (other, bob)]
        began = time.monotonic()
        await site.sts.revoke(revoked)
        with pytest.raises(AccessDenied):
            while True:
                await gone.get(bucket, "a")
        assert time.monotonic() - began < 1.0
        for call in (gone.put(bucket, "b", b""), gone.list(bucket)):
            with pytest.raises(AccessDenied):
                await call
        stop.set()
    assert all(task.result() > 0 for task in others)


async def test_other_statements_of_the_bucket_stay(site):
    bucket = await site.bucket()
    public = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/public/*"],
    }
    document = {"Version": "2012-10-17", "Statement": [public]}
    await site.client.buckets.set_policy(bucket, document)
    sessions = [(await session_of(site, bucket))[0] for _ in range(4)]
    await asyncio.gather(*(site.sts.revoke(session) for session in sessions))
    policy = await site.client.buckets.policy(bucket)
    assert policy is not None
    assert denied(policy) == {session.identity for session in sessions}
    assert [s for s in policy["Statement"] if s.get("Sid") == "Theirs"]
    await site.client.put(bucket, "public/a", b"1")
    nobody = site.client.signed_by(None)
    assert (await nobody.get(bucket, "public/a")).data == b"1"


async def test_two_services_revoke_at_once_and_both_hold(site):
    bucket = await site.bucket()
    second = StsDriver(site.client, StsSettings(site.facts.role_arn))
    first_session, _ = await session_of(site, bucket)
    second_session = (await session_of(site, bucket))[0]
    await site.sts.revoke(first_session)
    await second.revoke(second_session)
    policy = await site.client.buckets.policy(bucket)
    assert denied(policy) == {first_session.identity, second_session.identity}


async def test_expired_denials_are_dropped(site):
    bucket = await site.bucket()
    old = {
        "Sid": "LandbridgeRevoked1600000000",
        "Effect": "Deny",
        "Principal": {"AWS": ["arn:aws:sts:::assumed-role/landbridge/alice--old0"]},
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
    }
    if site.name == "seaweedfs":
        arn = "arn:aws:sts::000000000000:assumed-role/landbridge/alice--old0"
        old["Principal"] = {"AWS": [arn]}
    document = {"Version": "2012-10-17", "Statement": [old]}
    await site.client.buckets.set_policy(bucket, document)
    assert await site.sts.revocations.tidy([bucket]) == 1
    assert await site.client.buckets.policy(bucket) is None
    assert await site.sts.revocations.tidy([bucket]) == 0


async def test_a_key_of_the_admin_api_ends_by_the_reaper_and_by_revoking(site):
    bucket = await site.bucket()
    driver = site.driver("keys")
    assert isinstance(driver, AdminUsersDriver)
    session = await driver.issue("alice", [Grant(bucket)])
    client = site.client.signed_by(session.key)
    await client.list(bucket)
    assert await driver.tidy() == 0
    await driver.revoke(session)
    with pytest.raises(AccessDenied):
        await client.list(bucket)
    users = driver._users
    name = "lb-1600000000-alice--0123456789abcdef"
    key = await users.create(name, session_policy([Grant(bucket)], deny=False))
    await site.client.signed_by(key).list(bucket)
    assert await driver.tidy() == 1
    with pytest.raises(AccessDenied):
        await site.client.signed_by(key).list(bucket)
    assert name not in await users.names()


@pytest.mark.every_store
async def test_a_session_is_no_longer_than_was_asked(site):
    with pytest.raises(ValueError, match="lives"):
        await site.sts.issue("alice", [Grant("bucket")], timedelta(minutes=5))
    session = await site.sts.issue("a", [Grant("bucket")], timedelta(minutes=15))
    assert session.expires is not None
    assert session.expires - datetime.now(UTC) < timedelta(minutes=16)


def test_policies_are_compact():
    text = session_policy([Grant("bucket", "a b/", Mode.READ_WRITE)])
    assert json.loads(text)["Version"] == "2012-10-17"
    assert " " not in text.replace("a b/", "")
