"""Names, bodies and requests that were made to do harm. Corpora: B06, B25."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.storage.s3.transport import S3Request, StoreAddress, Transport
from services.storage.s3.values import AccessKey
from services.storage.spec import SPEC

API = "/services/storage/api/v1/"
# Kept by every store.
KEPT = [
    "plain",
    "a b+c&d=e",
    "100%",
    "x%2Fy",
    "%2e%2e%2fetc",
    "q?x=1#y",
    "e\u0301 and \u00e9",
    "\u202efdp.exe",
    "\U0001f600",
    "tab\there",
    "line\nbreak",
    "cr\r\nSet-Cookie: a=b",
    "\x01\x1f\x7f",
    "\"><script>alert('x')</script>",
    "=HYPERLINK(1)",
    "*'();:@$,[]",
    "a..b/c..",
    "/".join(["d" * 100] * 10),
]
# Changed, lost or refused by SeaweedFS: never written there, and told so.
REFUSED = [
    "a//b",
    "/lead",
    "trail/",
    "a\\b",
    "a/../b",
    "../../etc/passwd",
    "a/./b",
    "..",
    "s" * 256,
    "\x00",
]


@pytest.mark.parametrize("key", KEPT, ids=lambda key: ascii(key)[:24])
def test_a_name_stays_as_it_is(person, key):
    mallory = person("mallory")
    mallory.put(key, key.encode(), overwrite=True)
    answer = mallory.get(key)
    assert answer.content == key.encode()
    assert set(answer.headers) & {"set-cookie"} == set()
    shown = answer.headers["content-disposition"]
    assert shown.isascii()
    assert "<" not in shown
    assert key in mallory.names()
    head = mallory.call("GET", "objects/head", bucket="mallory", key=key)
    assert head["key"] == key
    body = {"bucket": "mallory", "keys": [key]}
    assert mallory.call("POST", "objects/delete", body)["failures"] == []
    assert key not in mallory.names()


@pytest.mark.parametrize("key", REFUSED, ids=lambda key: ascii(key)[:24])
def test_a_name_that_the_store_would_change_is_refused(person, key):
    mallory = person("mallory")
    wish = {"bucket": "mallory", "key": key, "size": 3}
    assert mallory.refused("POST", "urls/upload", wish) == (400, "key-refused")
    assert mallory.refused("POST", "uploads", wish) == (400, "key-refused")
    mallory.put("source", b"1", overwrite=True)
    body = {
        "kind": "copy",
        "source": {"bucket": "mallory", "keys": ["source"]},
        "bucket": "mallory",
        "prefix": "",
        "name": key,
    }
    task = mallory.finish(mallory.call("POST", "tasks", body))
    assert (task["phase"], task["failed"]) == ("failed", 1)
    assert mallory.names() == ["source"]


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, 7, None, ["a"], {"a": 1}])
def test_what_is_no_key_is_refused(alice, key):
    wish = {"bucket": "alice", "key": key, "size": 1}
    assert alice.refused("POST", "urls/upload", wish) == (400, "bad-request")


@pytest.mark.parametrize(
    "bucket", ["", "..", "a/b", "A" * 10, "b" * 64, "alice\n", "alice/../bob", "a b"]
)
def test_what_is_no_bucket_is_refused(alice, bucket):
    assert alice.refused("GET", "objects", bucket=bucket) == (400, "bad-request")


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"bucket": NaN}',
    b'{"bucket": 1e999}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"bucket": "alice", "key": "x", "size": 1, "extra": 1}',
    b'{"bucket": "alice", "key": "x", "size": -1}',
    b'{"bucket": "alice", "key": "x", "size": 99999999999999999999999}',
    b'{"bucket": "alice", "key": "\\ud800", "size": 1}',
    b'{"__proto__": {}, "constructor": {}}',
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_a_body_that_is_none_is_told_so(alice, body):
    for path in ("urls/upload", "tasks", "credentials", "shares"):
        if path == "credentials" and not body:
            continue
        answer = alice.http.post(
            path, content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, (path, answer.text)
        assert answer.json()["error"]["code"] == "bad-request"


def test_a_body_has_a_largest_size(alice):
    answer = alice.http.post(
        "urls/upload",
        content=b'"' + b"x" * 3 * 2**20,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 413, 502)
    assert alice.ask("GET", "me").status_code == 200


def test_a_value_twice_is_refused(alice):
    answer = alice.http.get("objects?bucket=alice&bucket=bob")
    assert answer.json()["error"]["field"] == "query.bucket"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["alice", "bob", "' OR 1=1 --", "%00", "../", "{{7*7}}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted(
    {name for route in SPEC.routes if route.body for name in route.body.model_fields}
)
WITH_BODY = [f"{r.method} {r.path}" for r in SPEC.routes if r.body is not None]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    name=st.sampled_from(WITH_BODY),
    body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
)
def test_no_body_breaks_the_service(alice, name, body):
    method, path = name.split(" ")
    raw = json.dumps(body).encode()
    answer = alice.http.request(
        method, path, content=raw, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, (name, body, answer.text)
    alice.document.check(method, path, answer)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    path=st.sampled_from(["objects", "objects/head", "uploads", "audit"]),
    query=st.dictionaries(
        st.sampled_from(["bucket", "prefix", "key", "token", "limit", "before", "x"]),
        st.text(max_size=40) | st.sampled_from(["alice", "1", "99999999999999999999"]),
        max_size=5,
    ),
)
def test_no_query_breaks_the_service(alice, path, query):
    answer = alice.http.get(path, params=query)
    assert answer.status_code < 500, (path, query, answer.text)
    alice.document.check("GET", path, answer)


def raw(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(text)
        connection.settimeout(10)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


@pytest.mark.parametrize(
    "path",
    [
        b"/s3/../services/storage/api/v1/me",
        b"/s3/alice/%2e%2e/bob/x",
        b"/s3/alice/..%2f..%2fetc/passwd",
        b"/s3/alice/%00",
        b"/s3//alice/x",
        b"/s3/alice/x%0d%0aSet-Cookie:%20a=b",
        b"/s3/alice/x?X-Amz-Signature=1&X-Amz-Signature=2",
        b"/s3/%ff%fe",
        b"/s3/alice/" + b"a" * 9000,
    ],
    ids=lambda path: repr(path[:30]),
)
def test_a_raw_path_gets_nothing_out_of_the_store(gateway, path):
    request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head = raw(gateway.port, request).partition(b"\r\n\r\n")[0].lower()
    status = int(head.split()[1])
    assert status in range(400, 500), head
    assert b"set-cookie" not in head
    if status == 403:
        assert b"content-security-policy: sandbox" in head


def test_an_html_object_is_inert_even_without_a_disposition(alice):
    alice.put("evil.html", b"<script>document.title=document.cookie</script>")
    wish = {"bucket": "alice", "key": "evil.html", "inline": True}
    url = alice.call("POST", "urls/download", wish)["url"]
    answer = httpx.get(url, trust_env=False)
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["content-type"] == "application/octet-stream"


# What a session could ask of the store's IAM and STS, with a bare word for its answer.
ASKED = (
    "ListAccessKeys",
    "ListAccessKeys&UserName=root",
    "ListUsers",
    "GetUser&UserName=root",
    "CreateAccessKey",
    "CreateAccessKey&UserName=root",
    "CreateUser&UserName=mallory",
    "DeleteUser&UserName=root",
    "ListPolicies",
    "GetCallerIdentity",
    "AssumeRole&RoleArn=arn:aws:iam::role/landbridge&RoleSessionName=mallory",
)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("path", ["/", "/s3/", "//", "/s3//"])
async def test_keys_of_a_session_ask_the_stores_iam_nothing(
    gateway, person, asked, path
):
    mallory = person("mallory")
    keys = mallory.call("POST", "credentials", {})
    broker = json.loads((gateway.state / "store" / "s3.json").read_text())
    secret = broker["identities"][0]["credentials"][0]
    key = AccessKey(keys["access_key"], keys["secret_key"], keys["session_token"])
    transport = Transport(StoreAddress(keys["endpoint"], attempts=1), key)
    name, *more = asked.split("&")
    query = dict(one.split("=", 1) for one in (f"Action={name}", *more))
    query["Version"] = "2010-05-08"
    body = "&".join(f"{n}={v}" for n, v in query.items()).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    every = frozenset(range(200, 600))
    try:
        for service in ("iam", "sts", "s3"):
            for call in (
                S3Request("POST", path=path, body=body, headers=form, service=service),
                S3Request("POST", path=path, query=query, service=service),
                S3Request("PUT", path=path, query=query, service=service),
                S3Request("GET", path=path, query=query, service=service),
            ):
                answer = await transport.ask(replace(call, accept=every, what="x"))
                where = (service, call.method, answer.status, answer.body[:200])
                assert secret["accessKey"].encode() not in answer.body, where
                assert secret["secretKey"].encode() not in answer.body, where
                assert b"AccessKey" not in answer.body, where
                # To GET it is S3 that answers: a list of buckets, or a refusal.
                assert call.method == "GET" or answer.status in (400, 403, 405), where
    finally:
        await transport.close()


def test_no_program_is_told_of_the_stores_own_port(gateway, person):
    """It is anybody's while the store is being started; the gateway's is held."""
    mallory = person("mallory")
    ours = f"http://127.0.0.1:{gateway.port}"
    me = mallory.call("GET", "me")
    assert (me["endpoint"], me["gateway"]) == (ours, ours)
    assert mallory.call("POST", "credentials", {})["endpoint"] == ours
    port = json.loads((gateway.state / "store" / "ports.json").read_text())["s3"]
    told = json.dumps([me, mallory.call("POST", "credentials", {})])
    assert f":{port}" not in told
