"""Objects over REST and through the edge, as a browser and a program use them."""

from __future__ import annotations

import os

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from services.storage.s3.headers import crc32


def test_a_new_user_has_a_bucket_of_her_own(person):
    dora = person("dora")
    found = dora.call("GET", "buckets")["buckets"]
    assert [(b["name"], b["why"], b["mode"]) for b in found] == [
        ("dora", "own", "read-write")
    ]
    assert dora.call("GET", "me")["bucket"] == "dora"
    assert dora.names() == []


def test_what_is_uploaded_is_downloaded_and_nothing_but_saved(alice):
    alice.put("first/ä b+c%2F&.html", b"<script>alert(1)</script>")
    answer = alice.get("first/ä b+c%2F&.html")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_upload_is_of_the_size_and_checksum_that_were_signed(alice):
    crc = crc32(b"12345")
    wish = {"bucket": "alice", "key": "bound", "size": 5, "crc32": crc}
    signed = alice.call("POST", "urls/upload", wish)

    def put(data: bytes) -> int:
        answer = httpx.put(
            signed["url"], content=data, headers=signed["headers"], trust_env=False
        )
        return answer.status_code

    assert put(b"123456") == 403
    assert put(b"54321") == 400
    assert put(b"12345") == 200
    # The same URL does not overwrite.
    assert put(b"12345") == 412


def test_nothing_is_overwritten_unless_asked_for(alice):
    alice.put("kept", b"one")
    wish = {"bucket": "alice", "key": "kept", "size": 3}
    assert alice.refused("POST", "urls/upload", wish) == (409, "conflict")
    alice.put("kept", b"two", overwrite=True)
    etag = alice.call("GET", "objects/head", bucket="alice", key="kept")["etag"]
    alice.put("kept", b"three", if_match=etag)
    signed = alice.call("POST", "urls/upload", wish | {"if_match": etag, "size": 4})
    answer = httpx.put(
        signed["url"], content=b"four", headers=signed["headers"], trust_env=False
    )
    assert answer.status_code == 412
    assert alice.get("kept").content == b"three"


def test_a_url_that_was_signed_for_one_thing_does_nothing_else(alice, bob):
    alice.put("mine", b"x")
    bob.put("secret", b"bob's")
    url = alice.call("POST", "urls/download", {"bucket": "alice", "key": "mine"})["url"]
    assert httpx.put(url, content=b"y", trust_env=False).status_code == 403
    moved = url.replace("/s3/alice/mine", "/s3/bob/secret")
    assert httpx.get(moved, trust_env=False).status_code == 403
    wish = {"bucket": "alice", "key": "stolen", "size": 0, "overwrite": True}
    signed = alice.call("POST", "urls/upload", wish)
    headers = signed["headers"] | {"x-amz-copy-source": "/bob/secret"}
    httpx.put(signed["url"], content=b"", headers=headers, trust_env=False)
    assert b"bob's" not in alice.get("stolen").content


def test_a_download_goes_on_with_the_same_object_only(alice):
    alice.put("resumed", b"0123456789")
    signed = alice.call("POST", "urls/download", {"bucket": "alice", "key": "resumed"})
    first = httpx.get(signed["url"], trust_env=False)
    etag, modified = first.headers["etag"], first.headers["last-modified"]

    def rest(range_: str = "bytes=4-", **headers: str) -> tuple[int, bytes]:
        asked = {"range": range_} if range_ else {}
        asked |= {name.replace("_", "-"): text for name, text in headers.items()}
        answer = httpx.get(signed["url"], headers=asked, trust_env=False)
        body = answer.content if answer.is_success else b""
        return answer.status_code, body

    assert rest(if_range=etag) == rest(if_range=modified) == (206, b"456789")
    assert rest(if_range=f"W/{etag}")[0] == 412
    assert rest(if_range="Mon, 05 Jan 2026 10:00:00 GMT")[0] == 412
    alice.put("resumed", b"abcdefghij", overwrite=True)
    assert rest(if_range=etag)[0] == 412
    now = httpx.get(signed["url"], trust_env=False).headers["etag"]
    assert rest(if_range=now) == (206, b"efghij")
    # What the client demands itself stays; what is no ETag is no pass.
    assert rest(if_range=now, if_match=etag)[0] == 412
    assert rest(if_range='"')[0] in (400, 412)
    # Without a range there is nothing to go on with.
    assert rest("", if_range=etag) == (200, b"abcdefghij")


def test_an_upload_in_parts_goes_on_after_a_reload(alice):
    data = bytes(range(256)) * 4096 * 9
    wish = {"bucket": "alice", "key": "big", "size": len(data)}
    begun = alice.call("POST", "uploads", wish)
    where = {k: begun[k] for k in ("bucket", "key", "upload_id")}
    step = begun["part_size"]
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert len(pieces) == begun["parts"] == 2

    def send(number: int, piece: bytes) -> httpx.Response:
        body = where | {"parts": [{"number": number}]}
        (signed,) = alice.call("POST", "uploads/urls", body)["urls"]
        return httpx.put(
            signed["url"], content=piece, headers=signed["headers"], trust_env=False
        )

    assert send(1, pieces[0]).status_code == 200
    assert send(2, pieces[1] + b"more").status_code == 403
    # Reloaded: what is there is asked for, and the rest is sent.
    arrived = alice.call("GET", "uploads/parts", **where)["parts"]
    assert [part["number"] for part in arrived] == [1]
    listed = alice.call("GET", "uploads", bucket="alice")["uploads"]
    assert "big" in [found["key"] for found in listed]
    end = where | {"parts": arrived}
    assert alice.refused("POST", "uploads/complete", end) == (400, "bad-request")
    assert send(2, pieces[1]).status_code == 200
    assert "big" not in alice.names()
    end["parts"] = alice.call("GET", "uploads/parts", **where)["parts"]
    alice.call("POST", "uploads/complete", end)
    assert alice.get("big").content == data
    assert alice.refused("POST", "uploads/complete", end) == (404, "not-found")


def test_an_upload_is_its_users_and_can_be_thrown_away(alice, bob):
    wish = {"bucket": "alice", "key": "left", "size": 9}
    begun = alice.call("POST", "uploads", wish)
    where = {k: begun[k] for k in ("bucket", "key", "upload_id")}
    assert bob.refused("POST", "uploads/abort", where) == (404, "not-found")
    for number in (0, 3, 10_001):
        body = where | {"parts": [{"number": number}]}
        assert alice.refused("POST", "uploads/urls", body) == (400, "bad-request")
    alice.call("POST", "uploads/abort", where)
    assert alice.refused("GET", "uploads/parts", **where) == (404, "not-found")


def test_pages_follow_each_other_and_jumps_are_possible(alice):
    for name in ("p/a/1", "p/a/2", "p/b", "p/c", "p/d"):
        alice.put(name, b"")
    page = alice.call("GET", "objects", bucket="alice", prefix="p/")
    assert [found["key"] for found in page["objects"]] == ["p/b", "p/c", "p/d"]
    assert page["prefixes"] == ["p/a/"]
    where = {"bucket": "alice", "prefix": "p/", "delimiter": "", "limit": 2}
    page = alice.call("GET", "objects", **where)
    seen = [found["key"] for found in page["objects"]]
    while page["token"]:
        page = alice.call("GET", "objects", **where, token=page["token"])
        seen += [found["key"] for found in page["objects"]]
    assert seen == ["p/a/1", "p/a/2", "p/b", "p/c", "p/d"]
    page = alice.call("GET", "objects", **where, start_after="p/b")
    assert [found["key"] for found in page["objects"]] == ["p/c", "p/d"]


def test_tags_facts_and_counts(alice):
    alice.put("t/one", b"12345", content_type="text/plain")
    alice.put("t/two", b"123")
    body = {"bucket": "alice", "key": "t/one", "tags": {"project": "a b+c=d"}}
    alice.call("PUT", "objects/tags", body)
    found = alice.call("GET", "objects/tags", bucket="alice", key="t/one")
    assert found["tags"] == {"project": "a b+c=d"}
    head = alice.call("GET", "objects/head", bucket="alice", key="t/one")
    assert (head["size"], head["content_type"]) == (5, "text/plain")
    count = alice.call("POST", "objects/count", {"bucket": "alice", "prefixes": ["t/"]})
    assert count == {"objects": 2, "bytes": 8, "complete": True}
    some = {"bucket": "alice", "keys": ["t/one", "t/went", "t/two"]}
    assert alice.call("POST", "objects/count", some) == count
    versions = alice.call("GET", "objects/versions", bucket="alice", prefix="t/")
    assert {found["key"] for found in versions["versions"]} <= {"t/one", "t/two"}


def test_some_keys_are_deleted_at_once(alice):
    for name in ("gone/1", "gone/2", "gone/3"):
        alice.put(name, b"")
    body = {"bucket": "alice", "keys": ["gone/1", "gone/2", "gone/never"]}
    assert alice.call("POST", "objects/delete", body)["failures"] == []
    assert alice.names("gone/") == ["gone/3"]


def test_a_name_that_means_another_object_changes_nothing(alice):
    alice.put("twice/k", b"1")
    alice.put("twice/l", b"1")
    refused = (400, "key-refused")
    for odd in ("twice//k", "/twice/k", "twice\\k"):
        body = {"bucket": "alice", "keys": ["twice/l", odd]}
        assert alice.refused("POST", "objects/delete", body) == refused
        tags = {"bucket": "alice", "key": odd, "tags": {"a": "b"}}
        assert alice.refused("PUT", "objects/tags", tags) == refused
        task = {"kind": "delete", "source": body}
        assert alice.refused("POST", "tasks", task) == refused
    assert alice.names("twice/") == ["twice/k", "twice/l"]


def test_a_bucket_is_created_and_deleted_by_its_owner_only(alice, bob):
    made = alice.call("POST", "buckets", {"name": "data"})
    assert made["name"] == "alice--data"
    assert alice.refused("POST", "buckets", {"name": "data"}) == (409, "conflict")
    assert bob.refused("DELETE", "buckets/alice--data") == (404, "not-found")
    alice.put("x", b"1", bucket="alice--data")
    assert alice.refused("DELETE", "buckets/alice--data")[0] == 409
    alice.call("POST", "objects/delete", {"bucket": "alice--data", "keys": ["x"]})
    alice.call("DELETE", "buckets/alice--data")
    assert alice.refused("GET", "objects", bucket="alice--data")[0] == 404
    assert alice.refused("DELETE", "buckets/alice") == (400, "bad-request")


@pytest.mark.parametrize("kind", ["copy", "move"])
def test_a_folder_is_copied_and_moved(alice, kind):
    for i in range(40):
        alice.put(f"{kind}/src/{i:02}", str(i).encode())
    body = {
        "kind": kind,
        "source": {"bucket": "alice", "prefixes": [f"{kind}/src/"]},
        "bucket": "alice",
        "prefix": f"{kind}/dst/",
    }
    task = alice.finish(alice.call("POST", "tasks", body))
    assert (task["phase"], task["done"]) == ("done", 40), task
    assert len(alice.names(f"{kind}/dst/src/")) == 40
    assert len(alice.names(f"{kind}/src/")) == (40 if kind == "copy" else 0)
    assert alice.get(f"{kind}/dst/src/07").content == b"7"


def folders(alice, prefix: str) -> list[str]:
    found = alice.call("GET", "objects", bucket="alice", prefix=prefix, delimiter="/")
    return found["prefixes"]


@pytest.mark.parametrize("kind", ["move", "delete"])
def test_a_folder_that_went_is_no_longer_shown(alice, kind):
    base = f"gone-{kind}/"
    for name in ("a/1", "a/deep/er/2", "a/é b/3", "near/4"):
        alice.put(base + name, b"x")
    body = {"kind": kind, "source": {"bucket": "alice", "prefixes": [f"{base}a/"]}}
    if kind == "move":
        body |= {"bucket": "alice", "prefix": f"{base}to/"}
    assert alice.finish(alice.call("POST", "tasks", body))["phase"] == "done"
    left = [f"{base}near/", *([f"{base}to/"] if kind == "move" else [])]
    assert folders(alice, base) == left
    # One that somebody writes to meanwhile stays.
    alice.put(f"{base}a/new", b"x")
    assert folders(alice, base) == sorted([f"{base}a/", *left])


def test_a_rename_is_a_move_with_a_name(alice):
    alice.put("r/old.txt", b"1")
    body = {
        "kind": "move",
        "source": {"bucket": "alice", "keys": ["r/old.txt"]},
        "bucket": "alice",
        "prefix": "r/",
        "name": "new.txt",
    }
    assert alice.finish(alice.call("POST", "tasks", body))["phase"] == "done"
    assert alice.names("r/") == ["r/new.txt"]


def test_what_is_in_the_way_stays_and_is_told(alice):
    alice.put("w/a/x", b"new")
    alice.put("w/b/a/x", b"old one")
    body = {
        "kind": "copy",
        "source": {"bucket": "alice", "prefixes": ["w/a/"]},
        "bucket": "alice",
        "prefix": "w/b/",
    }
    task = alice.finish(alice.call("POST", "tasks", body))
    assert (task["phase"], task["failed"]) == ("failed", 1)
    assert task["failures"][0]["key"] == "w/a/x"
    assert alice.get("w/b/a/x").content == b"old one"
    task = alice.finish(alice.call("POST", "tasks", body | {"overwrite": True}))
    assert task["phase"] == "done"
    assert alice.get("w/b/a/x").content == b"new"


def test_a_folder_does_not_go_into_itself(alice):
    for prefix, target in (("s/", "s/deeper/"), ("s/", ""), ("", "elsewhere/")):
        body = {
            "kind": "move",
            "source": {"bucket": "alice", "prefixes": [prefix]},
            "bucket": "alice",
            "prefix": target,
        }
        assert alice.refused("POST", "tasks", body) == (400, "bad-request")


def test_usage_is_told_with_its_age(person):
    erin = person("erin")
    erin.put("a", b"123")
    erin.put("b", b"4567")
    found = erin.call("GET", "buckets/erin/usage")
    assert (found["bytes"], found["objects"], found["complete"]) == (7, 2, True)
    (bucket,) = erin.call("GET", "buckets")["buckets"]
    assert bucket["usage"] == found


def test_a_damaged_part_is_refused_and_sent_again(alice):
    data = bytes(range(256)) * 4096 * 9
    begun = alice.call(
        "POST", "uploads", {"bucket": "alice", "key": "crc", "size": len(data)}
    )
    where = {k: begun[k] for k in ("bucket", "key", "upload_id")}
    step = begun["part_size"]
    pieces = [data[i : i + step] for i in range(0, len(data), step)]

    def send(number: int, piece: bytes) -> int:
        part = {"number": number, "crc32": crc32(pieces[number - 1])}
        (signed,) = alice.call("POST", "uploads/urls", where | {"parts": [part]})[
            "urls"
        ]
        return httpx.put(
            signed["url"], content=piece, headers=signed["headers"], trust_env=False
        ).status_code

    damaged = pieces[0][:-1] + b"?"
    assert send(1, damaged) == 400
    assert alice.call("GET", "uploads/parts", **where)["parts"] == []
    assert [send(n, piece) for n, piece in enumerate(pieces, 1)] == [200, 200]
    parts = alice.call("GET", "uploads/parts", **where)["parts"]
    alice.call("POST", "uploads/complete", where | {"parts": parts})
    assert alice.get("crc").content == data


def test_programs_elsewhere_use_the_store_by_the_gateway(alice, gateway, tmp_path):
    """As kernels on other machines do: the store listens on loopback only."""
    keys = alice.call("POST", "credentials", {})
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{gateway.port}",
        region_name=keys["region"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        aws_session_token=keys["session_token"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    for key in ("far/plain", "far/year=2024/a b+c#?&%2F", "far/\u00fc\u6587"):
        s3.put_object(Bucket="alice", Key=key, Body=key.encode())
        assert s3.get_object(Bucket="alice", Key=key)["Body"].read() == key.encode()
        where = {"Bucket": "alice", "Key": key}
        url = s3.generate_presigned_url("get_object", where)
        assert httpx.get(url, trust_env=False).content == key.encode()
    big = tmp_path / "big"
    big.write_bytes(os.urandom(20 * 2**20))
    s3.upload_file(str(big), "alice", "far/big")
    s3.download_file("alice", "far/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    s3.copy_object(Bucket="alice", Key="far/copy", CopySource="alice/far/plain")
    found = s3.list_objects_v2(Bucket="alice", Prefix="far/")["Contents"]
    assert len(found) == 5
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]].count("alice") == 1
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="bob", Key="x", Body=b"")
    s3.delete_objects(
        Bucket="alice", Delete={"Objects": [{"Key": each["Key"]} for each in found]}
    )
    assert alice.names("far/") == []
