"""Keys on Ceph by the user's own token of the identity provider."""

from __future__ import annotations

import pytest

from rigs.stores.identity_provider import new_key
from rigs.stores.rgw import iam, make_role, on_buckets, policy, trust_provider
from rigs.stores.sites import Site
from services.storage.drivers.sts import StsSettings, WebIdentityDriver
from services.storage.s3.errors import AccessDenied
from services.storage.s3.values import AccessKey, Grant, Mode

pytestmark = pytest.mark.root

OWN = "w-alice"
IN = {"grants": [{"bucket": OWN, "prefix": "in/", "mode": "read-write"}]}


@pytest.fixture
async def rgw(rgw_facts):
    one = Site(rgw_facts)
    yield one
    await one.close()


async def refused(work) -> None:
    with pytest.raises(AccessDenied):
        await work


def words(person) -> str:
    """Why the service gives somebody no keys."""
    answer = person.ask("POST", "credentials", {})
    assert answer.status_code in (400, 403), answer.text
    return f"{answer.json()['error']['code']}: {answer.json()['error']['message']}"


async def test_a_sign_in_at_the_provider_gives_narrow_keys(
    rgw, rgw_facts, provider, serve
):
    trust = await trust_provider(rgw, provider)
    role_arn = await make_role(rgw, trust, "w-*", "landbridge-probe")
    places = on_buckets("w-*", "landbridge-probe")
    objects = {"Effect": "Allow", "Action": ["s3:*"], "Resource": places}
    document = policy(objects)
    user = {"UserName": "root", "PolicyName": "objects"}
    await iam(rgw.client, "PutUserPolicy", **user, PolicyDocument=document)
    rig = serve(
        rgw_facts,
        credentials="web-identity",
        role_arn=role_arn,
        user_bucket="w-{user}",
    )
    alice, bob = rig.person("alice"), rig.person("bob")
    bob.call("GET", "buckets")
    bob.call("GET", "objects", bucket="w-bob")  # makes his bucket
    check_tokens(rig, alice, provider)
    rig.hub.users["alice"].auth_state = {"id_token": provider.token()}
    check_work(alice)
    answer = alice.call("POST", "credentials", IN)
    key = (answer["access_key"], answer["secret_key"], answer["session_token"])
    narrow = rgw.client.signed_by(AccessKey(*key))
    await narrow.put(OWN, "in/b", b"2")
    for work in (
        narrow.get(OWN, "out"),
        narrow.put(OWN, "out", b"!"),
        narrow.list(OWN),
        narrow.list("w-bob"),
        narrow.put("w-bob", "in/b", b"!"),
        narrow.buckets.create("w-eve"),
    ):
        await refused(work)
    alice.call("DELETE", f"credentials/{answer['id']}")
    await refused(narrow.get(OWN, "in/b"))
    assert "not safe" not in rig.words()
    assert "may not read what" not in rig.words()
    await iam(rgw.client, "DeleteUserPolicy", **user)
    await check_owner(rig, rgw, alice)


def check_tokens(rig, alice, provider) -> None:
    wrong = {
        "the provider's, but for somebody else": {"audience": "other"},
        "the same, of our client": {"audience": "other", "client_id": "gateway"},
        "signed by a stranger": {"key": new_key()},
        "signed by nobody": {"algorithm": "none"},
    }
    for what, how in wrong.items():
        rig.hub.users["alice"].auth_state = {"id_token": provider.token(**how)}
        assert words(alice) == (
            "store-denied: The store does not take your sign-in at the identity "
            "provider."
        ), what
    rig.hub.users["alice"].auth_state = {"id_token": provider.token(lifetime=-10)}
    assert words(alice) == (
        "key-needed: Your sign-in at the identity provider has expired."
    )


def check_work(alice) -> None:
    """What the broker and a user's own sessions do with the same objects."""
    alice.put("in/a", b"1", bucket=OWN)
    alice.put("out", b"secret", bucket=OWN)
    assert alice.get("in/a", bucket=OWN).content == b"1"
    assert alice.call("GET", "objects/head", bucket=OWN, key="in/a")["size"] == 1
    tags = {"bucket": OWN, "key": "in/a", "tags": {"a": "b"}}
    assert alice.call("PUT", "objects/tags", tags)["tags"] == {"a": "b"}
    source = {"bucket": OWN, "keys": ["in/a"]}
    body = {"kind": "copy", "source": source, "bucket": OWN, "prefix": "copy/"}
    assert alice.finish(alice.call("POST", "tasks", body))["phase"] == "done"
    assert alice.get("copy/a", bucket=OWN).content == b"1"


async def check_owner(rig, rgw, alice) -> None:
    """Without that policy the broker may not read users' objects; the log says so."""
    await refused(rgw.client.get(OWN, "in/b"))
    rig.kill()
    rig.start()
    alice.call("POST", "credentials", IN)
    assert "may not read what" in rig.words()


async def test_ceph_itself_refuses_expired_tokens(rgw, provider):
    trust = await trust_provider(rgw, provider)
    role = StsSettings(await make_role(rgw, trust, "w-*"))
    driver = WebIdentityDriver(rgw.client, role)
    grants = [Grant(await rgw.bucket("w"), "in/", Mode.READ)]
    await driver.issue("alice", provider.token(), grants)
    with pytest.raises(AccessDenied, match="does not take your sign-in"):
        await driver.issue("alice", provider.token(lifetime=-10), grants)


async def test_sessions_that_can_widen_themselves_are_given_to_nobody(
    rgw, rgw_facts, provider, serve
):
    trust = await trust_provider(rgw, provider)
    itself = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole"],
        "Principal": {"AWS": ["*"]},
    }
    wide = policy(*trust["Statement"], itself)
    role_arn = await make_role(rgw, wide, "v-*", "landbridge-probe")
    rig = serve(
        rgw_facts,
        credentials="web-identity",
        role_arn=role_arn,
        user_bucket="v-{user}",
    )
    alice = rig.person("alice")
    rig.hub.users["alice"].auth_state = {"id_token": provider.token()}
    for _ in range(2):
        assert "Its sessions can get themselves wider keys" in words(alice)
    assert "The store's sessions are not safe to hand out" in rig.words()
    wish = {"bucket": "v-alice", "key": "in/a", "size": 1}
    assert alice.refused("POST", "urls/upload", wish) == (400, "grant-refused")
