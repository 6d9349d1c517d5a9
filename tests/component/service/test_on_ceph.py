"""The service on Ceph's gateway: what users do all day, by the REST API alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from rigs.services.person import Person, check_preflight, preflight
from rigs.services.service import ServiceProcess, running_service, write_key
from rigs.stores.odd_keys import ODD
from rigs.stores.sites import Site, StoreFacts
from services.storage.api.downloads import reachable
from services.storage.s3.values import AccessKey

pytestmark = pytest.mark.root


def settings_for(facts: StoreFacts, directory: Path, **more: object) -> dict:
    key = facts.key
    return {
        "endpoint": facts.endpoint.replace("127.0.0.1", "localhost"),
        "key_file": write_key(directory, key.access_key, key.secret_key),
        "role_arn": facts.role_arn,
        **more,
    }


@pytest.fixture(scope="module")
def rig(
    rgw_facts: StoreFacts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """Browsers go to the store's own host name."""
    directory = tmp_path_factory.mktemp("ceph")
    more = {"route": "direct", "user_bucket": "d-{user}"}
    with running_service(directory, settings_for(rgw_facts, directory, **more)) as one:
        yield one


@pytest.fixture(scope="module")
def alice(rig: ServiceProcess) -> Person:
    return rig.person("alice")


@pytest.fixture(scope="module")
def bob(rig: ServiceProcess) -> Person:
    return rig.person("bob")


@pytest.fixture
async def rgw(rgw_facts: StoreFacts):
    one = Site(rgw_facts)
    yield one
    await one.close()


OWN = "d-alice"


def test_folders_pages_facts_and_tags(alice):
    for name in ("p/a/1", "p/a b+c", "p/c", "p/d"):
        alice.put(name, b"12345", bucket=OWN)
    page = alice.call("GET", "objects", bucket=OWN, prefix="p/")
    assert [found["key"] for found in page["objects"]] == ["p/a b+c", "p/c", "p/d"]
    assert page["prefixes"] == ["p/a/"]
    where = {"bucket": OWN, "prefix": "p/", "delimiter": "", "limit": 3}
    page = alice.call("GET", "objects", **where)
    rest = alice.call("GET", "objects", **where, token=page["token"])
    assert [found["key"] for found in rest["objects"]] == ["p/d"]
    body = {"bucket": OWN, "key": "p/c", "tags": {"project": "a b+c=d"}}
    alice.call("PUT", "objects/tags", body)
    found = alice.call("GET", "objects/tags", bucket=OWN, key="p/c")
    assert found["tags"] == {"project": "a b+c=d"}
    assert alice.call("GET", "objects/head", bucket=OWN, key="p/c")["size"] == 5
    usage = alice.call("GET", f"buckets/{OWN}/usage")
    assert (usage["objects"], usage["bytes"]) == (4, 20)


def test_odd_names_are_kept_byte_for_byte(alice):
    names = [name for name in ODD.values() if reachable(name) and len(name) < 1000]
    for name in names:
        alice.put(f"odd/{name}", name.encode(), bucket=OWN)
    kept = {f"odd/{name}" for name in names}
    assert set(alice.names("odd/", bucket=OWN)) == kept
    for name in names:
        assert alice.get(f"odd/{name}", bucket=OWN).content == name.encode(), name
    body = {
        "kind": "move",
        "source": {"bucket": OWN, "prefixes": ["odd/"]},
        "bucket": OWN,
        "prefix": "moved/",
    }
    task = alice.finish(alice.call("POST", "tasks", body))
    assert (task["phase"], task["done"]) == ("done", len(names)), task
    assert alice.names("odd/", bucket=OWN) == []
    assert set(alice.names("moved/", bucket=OWN)) == {f"moved/{name}" for name in kept}


@pytest.mark.parametrize("name", ["odd/../up", " odd/../\x01\n up ", "odd/../\u0141"])
async def test_names_that_no_browser_can_say_are_still_read(alice, rgw, name):
    await rgw.client.put(OWN, name, b"up")
    wish = {"bucket": OWN, "key": name}

    def downloaded(**more: str) -> bytes:
        url = alice.call("POST", "urls/download", wish | more)["url"]
        return httpx.get(url, headers=alice.http.headers, trust_env=False).content

    assert downloaded() == b"up"
    assert alice.refused("POST", "urls/upload", {**wish, "size": 1})[0] == 400
    assert alice.refused("POST", "links", wish) == (400, "key-refused")


async def test_an_old_version_of_such_a_name_is_read_too(alice, rgw):
    alice.call("POST", "buckets", {"name": "old"})
    bucket, name = "alice--old", "odd/../up"
    await rgw.client.buckets.set_versioned(bucket, versioned=True)
    for content in (b"first", b"second"):
        await rgw.client.put(bucket, name, content)
    found = alice.call("GET", "objects/versions", bucket=bucket)["versions"]
    (first,) = [each["version"] for each in found if not each["latest"]]
    wish = {"bucket": bucket, "key": name, "version": first}
    url = alice.call("POST", "urls/download", wish)["url"]
    answer = httpx.get(url, headers=alice.http.headers, trust_env=False)
    assert answer.content == b"first"


def test_an_upload_in_parts_appears_whole_or_not_at_all(alice):
    wish = {"bucket": OWN, "key": "big", "size": 20 * 2**20 + 1}
    begun = alice.call("POST", "uploads", wish)
    where = {k: begun[k] for k in ("bucket", "key", "upload_id")}
    data = bytes(range(256)) * (wish["size"] // 256) + b"!"
    size = begun["part_size"]
    for number in range(1, begun["parts"] + 1):
        body = where | {"parts": [{"number": number}]}
        url = alice.call("POST", "uploads/urls", body)["urls"][0]["url"]
        piece = data[(number - 1) * size : number * size]
        assert httpx.put(url, content=piece + b"x", trust_env=False).is_error
        assert httpx.put(url, content=piece, trust_env=False).status_code == 200
        assert "big" not in alice.names(bucket=OWN)
    listed = alice.call("GET", "uploads", bucket=OWN)["uploads"]
    assert [found["key"] for found in listed] == ["big"]
    parts = alice.call("GET", "uploads/parts", **where)["parts"]
    alice.call("POST", "uploads/complete", where | {"parts": parts})
    assert alice.get("big", bucket=OWN).content == data


def test_what_changed_meanwhile_is_not_overwritten(alice):
    alice.put("doc", b"1", bucket=OWN)
    wish = {"bucket": OWN, "key": "doc", "size": 1}
    assert alice.refused("POST", "urls/upload", wish) == (409, "conflict")
    first = alice.call("GET", "objects/head", bucket=OWN, key="doc")["etag"]
    alice.put("doc", b"2", bucket=OWN, if_match=first)
    late = alice.call("POST", "urls/upload", {**wish, "if_match": first})
    answer = httpx.put(
        late["url"], content=b"3", headers=late["headers"], trust_env=False
    )
    assert answer.status_code == 412
    assert alice.get("doc", bucket=OWN).content == b"2"


async def test_a_share_gives_its_prefix_and_ends_at_once(alice, bob, rgw):
    alice.put("sh/in/a", b"shared", bucket=OWN)
    share = {"bucket": OWN, "prefix": "sh/in/", "kind": "user", "name": "bob"}
    made = alice.call("POST", "shares", share)
    assert bob.get("sh/in/a", bucket=OWN).content == b"shared"
    assert bob.refused("GET", "objects", bucket=OWN, prefix="sh/")[0] == 403
    grant = {"bucket": OWN, "prefix": "sh/in/", "mode": "read"}
    keys = bob.call("POST", "credentials", {"grants": [grant]})
    key = AccessKey(keys["access_key"], keys["secret_key"], keys["session_token"])
    lent = rgw.client.signed_by(key)
    assert (await lent.get(OWN, "sh/in/a")).data == b"shared"
    alice.call("DELETE", f"shares/{made['id']}")
    async with asyncio.timeout(1):
        with pytest.raises(Exception, match="not allow"):
            while True:
                await lent.get(OWN, "sh/in/a")
    assert bob.refused("GET", "objects", bucket=OWN, prefix="sh/in/")[0] == 404


def test_a_public_link_leads_to_the_store_for_seconds(alice):
    alice.put("linked", b"public", bucket=OWN)
    made = alice.call("POST", "links", {"bucket": OWN, "key": "linked"})
    answer = httpx.get(made["url"], trust_env=False)
    assert answer.status_code == 303
    assert httpx.get(answer.headers["location"], trust_env=False).content == b"public"


def test_pages_of_the_gateway_and_no_others_may_use_the_store(alice, rig):
    signed = alice.call("POST", "urls/upload", {"bucket": OWN, "key": "c", "size": 1})
    assert urlsplit(signed["url"]).hostname == "localhost"
    check_preflight(signed["url"].partition("?")[0], rig.origin)
    # Ceph 16.2 takes it for forged where a session signed, and the service found out.
    assert preflight(signed["url"], rig.origin).status_code == 403
    assert "Browsers cannot upload to it directly" in rig.log.read_text()
    headers = {**signed["headers"], "Origin": rig.origin}
    sent = httpx.put(signed["url"], content=b"1", headers=headers, trust_env=False)
    assert sent.status_code == 200
    assert "etag" in sent.headers["access-control-expose-headers"].lower()


def test_urls_for_the_gateways_own_name_hold_at_the_store(rgw_facts, tmp_path):
    """The edge cuts ``/s3`` off and keeps the name, as here by hand."""
    settings = settings_for(rgw_facts, tmp_path, user_bucket="g-{user}")
    with running_service(tmp_path, settings) as rig:
        alice = rig.person("alice")
        wish = {"bucket": "g-alice", "key": "a b+c//ü", "size": 3}
        signed = alice.call("POST", "urls/upload", wish)
        assert signed["url"].startswith(f"{rig.origin}/s3/g-alice/")

        def at_the_edge(url: str) -> tuple[str, dict[str, str]]:
            rest = url.removeprefix(f"{rig.origin}/s3")
            return f"{rgw_facts.endpoint}{rest}", {"Host": urlsplit(url).netloc}

        url, host = at_the_edge(signed["url"])
        headers = signed["headers"] | host
        sent = httpx.put(url, content=b"123", headers=headers, trust_env=False)
        assert sent.status_code == 200, sent.text
        wish = {"bucket": "g-alice", "key": "a b+c//ü"}
        url, host = at_the_edge(alice.call("POST", "urls/download", wish)["url"])
        assert httpx.get(url, headers=host, trust_env=False).content == b"123"


async def test_without_keys_of_its_own_nobody_uploads(rgw_facts, tmp_path):
    """The broker's URLs would read every bucket: a header that nobody signed copies."""
    settings = settings_for(rgw_facts, tmp_path, credentials="none")
    del settings["role_arn"]
    with running_service(tmp_path, settings | {"user_bucket": "n-{user}"}) as one:
        alice = one.person("alice")
        wish = {"bucket": "n-alice", "key": "a", "size": 1}
        assert alice.refused("POST", "urls/upload", wish) == (501, "not-supported")
        begun = alice.call("POST", "uploads", wish)
        where = {name: begun[name] for name in ("bucket", "key", "upload_id")}
        parts = where | {"parts": [{"number": 1}]}
        assert alice.refused("POST", "uploads/urls", parts) == (501, "not-supported")
        assert alice.call("POST", "urls/download", {"bucket": "n-alice", "key": "a"})
        assert "add headers that nobody signed" in one.words()
