"""Every way of getting keys, through the service: who has what, and how it ends."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from rigs.services.person import check_preflight
from rigs.services.service import ServiceProcess
from rigs.stores.sites import Site, StoreFacts
from services.storage.drivers.admin_users import RgwUsers
from services.storage.drivers.policies import session_policy
from services.storage.s3.errors import AccessDenied
from services.storage.s3.values import AccessKey, Grant, Mode
from services.storage.site.embedded_files import web_role_arn
from services.storage.site.probe import StoreFeatures


def key_of(answer: dict) -> AccessKey:
    """The keys that the service answered."""
    return AccessKey(
        answer["access_key"], answer["secret_key"], answer["session_token"]
    )


def admin_api(site: Site) -> str:
    return "iam" if site.name == "seaweedfs" else "rgw"


async def refused(work) -> None:
    with pytest.raises(AccessDenied):
        await work


class TestPasted:
    async def test_a_user_works_by_the_key_that_she_brings(self, site, serve):
        foreign = await site.bucket("other")
        mine, key = await self.account(site)
        secret = key.secret_key
        rig = serve(site.facts, credentials="pasted", broker=False)
        alice, bob = rig.person("alice"), rig.person("bob")
        assert alice.call("GET", "me")["credentials"] == "pasted"
        assert alice.call("GET", "me")["bucket"] == ""
        assert alice.call("GET", "key") == {"access_key": ""}
        assert alice.refused("GET", "buckets") == (403, "key-needed")
        paste = {"access_key": key.access_key, "secret_key": secret}
        wrong = {**paste, "secret_key": "x" * 40}
        assert alice.refused("PUT", "key", wrong) == (403, "store-denied")
        alice.call("PUT", "key", paste)
        assert secret not in str(alice.call("GET", "key"))
        self.check_work(alice, mine, foreign)
        self.check_lending(rig, alice, mine, key)
        assert bob.refused("GET", "buckets") == (403, "key-needed")
        rig.kill()
        rig.start()
        assert f"a b+c/{mine}" in alice.names(bucket=mine)
        kept = b"".join(p.read_bytes() for p in rig.state.rglob("*") if p.is_file())
        assert secret.encode() not in kept
        assert secret not in rig.words()
        assert (rig.state / "storage-vault-key").stat().st_mode & 0o777 == 0o600
        alice.call("DELETE", "key")
        assert alice.refused("GET", "objects", bucket=mine) == (403, "key-needed")

    @staticmethod
    async def account(site: Site) -> tuple[str, AccessKey]:
        """A bucket, and a key of the store to it as its portal gives them."""
        if site.name == "seaweedfs":
            bucket = await site.bucket("brought")
            grants = [Grant(bucket, "", Mode.READ_WRITE)]
            return bucket, (await site.driver("keys").issue("alice", grants)).key
        name = f"portal-{secrets.token_hex(4)}"
        user = {"uid": name, "display-name": name}
        made = await RgwUsers(site.client)._ask("PUT", "/admin/user", user)
        key = AccessKey(made["keys"][0]["access_key"], made["keys"][0]["secret_key"])
        await site.client.signed_by(key).buckets.create(f"{name}-bucket")
        return f"{name}-bucket", key

    @staticmethod
    def check_work(alice, mine: str, foreign: str) -> None:
        buckets = alice.call("GET", "buckets")["buckets"]
        assert [(b["name"], b["why"]) for b in buckets] == [(mine, "key")]
        key = f"a b+c/{mine}"
        alice.put(key, b"by her own key", bucket=mine)
        assert alice.get(key, bucket=mine).content == b"by her own key"
        assert alice.names(bucket=mine) == [key]
        body = {
            "kind": "copy",
            "source": {"bucket": mine, "keys": [key]},
            "bucket": mine,
            "prefix": "copy/",
        }
        assert alice.finish(alice.call("POST", "tasks", body))["phase"] == "done"
        assert f"copy/{mine}" in alice.names(bucket=mine)
        assert alice.refused("GET", "objects", bucket=foreign)[0] == 404
        share = {"bucket": mine, "kind": "user", "name": "bob"}
        assert alice.refused("POST", "shares", share) == (501, "not-supported")

    @staticmethod
    def check_lending(rig: ServiceProcess, alice, mine: str, key: AccessKey) -> None:
        lent = alice.call("POST", "credentials", {})
        assert key_of(lent) == key
        narrow = {"grants": [{"bucket": mine, "mode": "read"}]}
        assert alice.refused("POST", "credentials", narrow) == (400, "grant-refused")
        reader = rig.person("alice", ["access:services!service=storage"])
        reader_scopes = ["access:services!service=storage", "custom:storage:read"]
        assert reader.refused("POST", "credentials", {}) == (403, "forbidden")
        reader = rig.person("alice", reader_scopes)
        assert reader.refused("POST", "credentials", {}) == (400, "grant-refused")
        path = f"credentials/{lent['id']}"
        assert alice.refused("DELETE", path) == (501, "not-supported")


@pytest.mark.every_store
async def test_keys_by_an_admin_api_are_narrow_and_end(site, serve):
    users = site.driver("keys")._users
    bucket = await site.bucket("alice")
    left = f"lb-{1_000_000_000}-carol--{'a' * 16}"
    await users.create(left, session_policy([Grant(bucket)], deny=users.denies))
    rig = serve(
        site.facts,
        credentials="keys",
        admin_api=admin_api(site),
        user_bucket=f"{bucket}-{{user}}",
    )
    alice = rig.person("alice")
    assert alice.call("GET", "me")["credentials"] == "keys"
    mine = alice.call("GET", "me")["bucket"]
    alice.put("in/a", b"1", bucket=mine)  # by a URL that such a key signs
    grant = {"bucket": mine, "prefix": "in/", "mode": "read"}
    answer = alice.call("POST", "credentials", {"grants": [grant]})
    narrow = site.client.signed_by(key_of(answer))
    assert (await narrow.get(mine, "in/a")).data == b"1"
    await refused(narrow.put(mine, "in/a", b"2"))
    await refused(narrow.get(bucket, "x"))
    listed = alice.call("GET", "credentials")["credentials"]
    assert [found["id"] for found in listed] == [answer["id"]]
    alice.call("DELETE", f"credentials/{answer['id']}")
    await refused(narrow.get(mine, "in/a"))
    # What a former run left behind is past its time, and gone.
    async with asyncio.timeout(10):
        while left in await users.names():
            await asyncio.sleep(0.1)


async def test_a_sign_in_at_the_provider_gives_keys(provider, short_rig, serve):
    access, directory = short_rig.access, short_rig.settings.directory
    seen = StoreFeatures()
    facts = StoreFacts("seaweedfs", access.endpoint, access.key, "", seen, directory)
    rig = serve(facts, credentials="web-identity", role_arn=web_role_arn("hub"))
    alice = rig.person("alice")
    rig.person("bob").call("GET", "buckets")  # makes her bucket
    assert alice.refused("POST", "credentials", {}) == (403, "key-needed")
    rig.hub.users["alice"].auth_state = {"id_token": provider.token(lifetime=10)}
    assert alice.refused("POST", "credentials", {}) == (403, "key-needed")
    rig.hub.users["alice"].auth_state = {"id_token": provider.token(audience="other")}
    refusal = alice.refused("POST", "credentials", {})
    assert refusal in {(400, "store-refused"), (403, "store-denied")}
    rig.hub.users["alice"].auth_state = {"id_token": provider.token()}
    alice.put("in/a", b"1")
    body = {"grants": [{"bucket": "alice", "prefix": "in/", "mode": "read"}]}
    answer = alice.call("POST", "credentials", body)
    site = Site(facts)
    try:
        narrow = site.client.signed_by(key_of(answer))
        assert (await narrow.get("alice", "in/a")).data == b"1"
        await refused(narrow.put("alice", "in/a", b"2"))
        await refused(narrow.list("bob"))
        alice.call("DELETE", f"credentials/{answer['id']}")
        await refused(narrow.get("alice", "in/a"))
    finally:
        await site.close()


async def test_without_keys_urls_still_work(weed, serve):
    rig = serve(weed.facts, credentials="none", user_bucket="no-keys-{user}")
    alice = rig.person("alice")
    assert alice.call("GET", "me")["credentials"] == "none"
    alice.put("a", b"1", bucket="no-keys-alice")
    assert alice.get("a", bucket="no-keys-alice").content == b"1"
    wish = {"bucket": "no-keys-alice", "key": "b", "size": 1}
    check_preflight(alice.call("POST", "urls/upload", wish)["url"], rig.origin)
    assert "cannot upload" not in rig.words()
    assert alice.refused("POST", "credentials", {}) == (501, "not-supported")
    assert alice.refused("GET", "key") == (501, "not-supported")
