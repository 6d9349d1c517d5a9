"""Sessions that end by themselves, and sessions by an identity provider's token.

Both stores' sessions last 900 seconds at least when asked for a length. A SeaweedFS of
its own is started whose sessions last a few seconds when not asked; Ceph gets the token
of a session back with another end, sealed by its own key. Either end is real.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rigs.stores.ceph import ending_at
from rigs.stores.sites import Site
from services.storage.drivers.driver import LIFETIME
from services.storage.drivers.policies import session_policy
from services.storage.drivers.sts import StsSettings, WebIdentityDriver, ask_sts
from services.storage.s3.client import S3Client
from services.storage.s3.errors import (
    AccessDenied,
    GrantRefused,
    KeyNotValid,
    StorageError,
)
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import Grant, Mode
from services.storage.site.drivers import IdentityDriver
from services.storage.site.embedded_files import web_role_arn

SECONDS = 3


@pytest.fixture
async def client(short_rig):
    access = short_rig.access
    one = S3Client(StoreAddress(access.endpoint), access.key)
    for name in ("alice", "bob"):
        if not await one.buckets.exists(name):
            await one.buckets.create(name)
    await one.put("alice", "a", b"1")
    yield one
    await one.close()


async def test_a_session_ends_at_its_time_and_others_go_on(short_rig, client):
    policy = session_policy([Grant("alice")])
    form = {
        "RoleArn": short_rig.access.role_arn,
        "RoleSessionName": "short",
        "Policy": policy,
    }
    short = await ask_sts(client, "AssumeRole", form)
    long = await ask_sts(client, "AssumeRole", {**form, "DurationSeconds": "900"})
    ending, lasting = client.signed_by(short.key), client.signed_by(long.key)
    began = time.monotonic()
    assert (await ending.get("alice", "a")).data == b"1"
    with pytest.raises(KeyNotValid, match="expired"):
        while time.monotonic() - began < SECONDS * 5:
            await ending.get("alice", "a")
            await asyncio.sleep(0.1)
    assert time.monotonic() - began > SECONDS - 1.5
    assert (await lasting.get("alice", "a")).data == b"1"


@pytest.mark.root
async def test_a_session_of_ceph_ends_at_its_time_and_others_go_on(rgw_facts):
    site = Site(rgw_facts)
    bucket = await site.bucket()
    await site.client.put(bucket, "a", b"1")
    ends = datetime.now(UTC) + timedelta(seconds=SECONDS)
    short, long = [await site.sts.issue("alice", [Grant(bucket)]) for _ in range(2)]
    token = ending_at(rgw_facts.directory, short.key.token, ends)
    ending = site.client.signed_by(replace(short.key, token=token))
    lasting = site.client.signed_by(long.key)
    assert (await ending.get(bucket, "a")).data == b"1"
    with pytest.raises(AccessDenied):
        while datetime.now(UTC) < ends + timedelta(seconds=SECONDS):
            await ending.get(bucket, "a")
            await asyncio.sleep(0.1)
    assert datetime.now(UTC) > ends
    assert (await lasting.get(bucket, "a")).data == b"1"
    await site.close()


async def test_a_token_of_the_identity_provider_gets_narrow_keys(provider, client):
    driver = WebIdentityDriver(client, StsSettings(web_role_arn("hub")))
    grants = [Grant("alice", "in/", Mode.READ_WRITE)]
    session = await driver.issue("alice", provider.token(), grants)
    alice = client.signed_by(session.key)
    await alice.put("alice", "in/b", b"1")
    for call in (alice.get("alice", "a"), alice.list("bob")):
        with pytest.raises(AccessDenied):
            await call
    assert not await driver.escapes(session)
    await driver.revoke(session)
    with pytest.raises(AccessDenied):
        await alice.get("alice", "in/b")


@pytest.mark.parametrize(
    "wrong", [{"audience": "other"}, {"lifetime": -60}, {"algorithm": "none"}]
)
async def test_a_wrong_token_gets_nothing(provider, client, wrong):
    driver = WebIdentityDriver(client, StsSettings(web_role_arn("hub")))
    with pytest.raises(StorageError) as caught:
        await driver.issue("alice", provider.token(**wrong), [Grant("alice")])
    assert provider.token(**wrong)[:20] not in str(caught.value)


class Gullible(WebIdentityDriver):
    """A store that looks at what a token says, and not at who signed it."""

    genuine = ""

    async def issue(self, user, token, grants, lifetime=LIFETIME):
        return await super().issue(user, self.genuine, grants, lifetime)


async def test_a_store_that_takes_forged_tokens_gives_nobody_keys(provider, client):
    token = provider.token()

    async def newest(user: str) -> str:
        return token

    await client.buckets.create("probe")
    grants = [Grant("alice", "in/", Mode.READ)]
    role = StsSettings(web_role_arn("hub"))
    safe = IdentityDriver(WebIdentityDriver(client, role), client, newest, "probe")
    await safe.issue("alice", grants)
    gullible = Gullible(client, role)
    gullible.genuine = token
    unsafe = IdentityDriver(gullible, client, newest, "probe")
    for _ in range(2):
        with pytest.raises(GrantRefused, match="never signed"):
            await unsafe.issue("alice", grants)
