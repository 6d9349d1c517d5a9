"""Who may call what: every route of the table, by every kind of caller.

``NEEDS`` is the expectation, reviewed by hand: a route that is missing here, or
needs another scope, fails.
"""

from __future__ import annotations

import httpx
import pytest

from hub.api import accounts as accounts_api
from hub.api import servers as jobs_api
from hub.pages import handlers as page_api
from services.storage.spec import SPEC

READ, WRITE, SHARE = (f"custom:storage:{word}" for word in ("read", "write", "share"))
NEEDS = {
    "GET me": READ,
    "GET buckets": READ,
    "POST buckets": WRITE,
    "DELETE buckets/{bucket}": WRITE,
    "GET buckets/{bucket}/usage": READ,
    "GET objects": READ,
    "GET objects/head": READ,
    "GET objects/versions": READ,
    "GET objects/tags": READ,
    "PUT objects/tags": WRITE,
    "POST objects/restore": WRITE,
    "POST objects/count": READ,
    "POST objects/delete": WRITE,
    "GET tasks": READ,
    "POST tasks": WRITE,
    "GET tasks/{id}": READ,
    "POST tasks/{id}/cancel": WRITE,
    "POST urls/download": READ,
    "POST urls/upload": WRITE,
    "GET uploads": WRITE,
    "POST uploads": WRITE,
    "POST uploads/urls": WRITE,
    "GET uploads/parts": WRITE,
    "POST uploads/complete": WRITE,
    "POST uploads/abort": WRITE,
    "GET credentials": READ,
    "POST credentials": READ,
    "GET credentials/{id}": READ,
    "DELETE credentials/{id}": READ,
    "GET key": READ,
    "PUT key": WRITE,
    "DELETE key": WRITE,
    "GET shares": READ,
    "POST shares": SHARE,
    "DELETE shares/{id}": SHARE,
    "GET links": READ,
    "POST links": SHARE,
    "DELETE links/{id}": SHARE,
    "GET audit": READ,
}
HERS = {"bucket": "alice", "key": "rights/x"}
UPLOAD = HERS | {"upload_id": "u"}
PART = {"number": 1, "etag": "e"}
# What is asked for of alice's by each route that can name something of hers.
BODIES = {
    "PUT objects/tags": HERS | {"tags": {}},
    "POST objects/restore": HERS | {"version": "1"},
    "POST objects/count": {"bucket": "alice", "keys": ["rights/x"]},
    "POST objects/delete": {"bucket": "alice", "keys": ["rights/x"]},
    "POST urls/download": HERS,
    "POST urls/upload": HERS | {"size": 1},
    "POST uploads": HERS | {"size": 1},
    "POST uploads/urls": UPLOAD | {"parts": [{"number": 1}]},
    "POST uploads/complete": UPLOAD | {"parts": [PART]},
    "POST uploads/abort": UPLOAD,
    "POST shares": {"bucket": "alice", "kind": "user", "name": "bob"},
    "POST links": HERS,
    "POST credentials": {"grants": [{"bucket": "alice", "mode": "read"}]},
    "POST tasks": {
        "kind": "copy",
        "source": {"bucket": "alice", "keys": ["rights/x"]},
        "bucket": "bob",
    },
}
QUERIES = {
    "GET objects": {"bucket": "alice"},
    "GET objects/head": HERS,
    "GET objects/versions": {"bucket": "alice"},
    "GET objects/tags": HERS,
    "GET uploads": {"bucket": "alice"},
    "GET uploads/parts": UPLOAD,
}
NAMES = [f"{route.method} {route.path}" for route in SPEC.routes]


def words(name: str) -> tuple[str, str]:
    method, path = name.split(" ")
    return method, path.replace("{bucket}", "alice").replace("{id}", "0123456789abcdef")


def test_the_table_is_the_one_that_was_reviewed():
    assert {f"{r.method} {r.path}": r.scope for r in SPEC.routes} == NEEDS


@pytest.fixture(scope="module")
def callers(person, alice):
    alice.put("rights/x", b"1", overwrite=True)
    access = "access:services!service=storage"
    return {
        "no access": person("bob", ["read:users:name!user"]),
        "access only": person("bob", [access]),
        READ: person("bob", [access, READ]),
        WRITE: person("bob", [access, WRITE]),
        SHARE: person("bob", [access, SHARE]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_stranger_is_told_to_sign_in(name, stranger):
    method, path = words(name)
    assert stranger.refused(method, path) == (401, "not-signed-in")


@pytest.mark.parametrize("name", NAMES)
def test_a_token_may_what_its_scopes_say(name, callers):
    method, path = words(name)
    body, query = BODIES.get(name), QUERIES.get(name, {})
    for scope in ("no access", "access only", READ, WRITE, SHARE):
        answer = callers[scope].ask(method, path, body, **query)
        enough = scope == NEEDS[name] or (scope == WRITE and NEEDS[name] == READ)
        if not enough:
            assert answer.status_code == 403, (scope, answer.text)
            assert answer.json()["error"]["code"] == "forbidden"
            assert "scope" in answer.json()["error"]["hint"]
        elif name in BODIES or name in QUERIES or "{" in name:
            # Allowed to call, and none of it is bob's: as if it were not there.
            assert answer.status_code == 404, (scope, answer.text)


def test_a_wrong_token_is_no_session(stranger):
    stranger.http.headers["Authorization"] = "Bearer 0123456789abcdef0123456789abcdef"
    try:
        assert stranger.refused("GET", "me") == (401, "not-signed-in")
    finally:
        del stranger.http.headers["Authorization"]


def test_a_read_only_token_gets_read_only_keys(person, alice):
    reader = person("alice", ["access:services!service=storage", READ])
    keys = reader.call("POST", "credentials", {})
    assert {grant["mode"] for grant in keys["grants"]} == {"read"}
    grant = {"bucket": "alice", "mode": "read-write"}
    assert reader.refused("POST", "credentials", {"grants": [grant]})[0] == 403


def test_health_and_the_document_are_open_and_hold_no_secret(gateway):

    base = f"http://127.0.0.1:{gateway.port}/services/storage/"
    health = httpx.get(f"{base}health", trust_env=False)
    assert health.json()["status"] == "ready"
    assert httpx.get(f"{base}api/v1/openapi.json", trust_env=False).status_code == 200


def test_every_answer_tells_browsers_to_keep_out(alice):
    for answer in (alice.ask("GET", "me"), alice.ask("GET", "objects", bucket="bob")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


PUBLIC = ("/landbridge/static/", "/api/landbridge/jobs/")


def test_a_token_for_storage_opens_no_route_of_the_hub(person, gateway):
    """All of the gateway's own; jobs prove themselves in their reports."""
    name = "ivy"
    cut = person(
        name, scopes=["custom:storage:read", "access:services!service=storage"]
    )
    whole = person(name)
    assert cut.ask("GET", "me").status_code == 200
    routes = [
        route[0].replace("([^/]+)", name).replace("(.*)", "x")
        for route in (*jobs_api.handlers, *page_api.handlers, *accounts_api.handlers)
    ]
    own = [route for route in routes if not route.startswith(PUBLIC)]
    assert len(own) >= 9
    opened = {}
    for route in own:
        for method in ("GET", "POST"):
            for one in (cut, whole):
                answer = httpx.request(
                    method,
                    f"http://127.0.0.1:{gateway.port}/hub{route}",
                    headers={"Authorization": f"Bearer {one.token}"},
                    json={"jobs": []} if method == "POST" else None,
                    trust_env=False,
                    timeout=30,
                )
                opened.setdefault(one, {})[method, route] = answer.status_code
    assert {s for s in opened[cut].values()} <= {403, 404, 405}, opened[cut]
    used = {route for (_, route), status in opened[whole].items() if status < 300}
    assert used == {
        "/api/landbridge/servers",
        f"/api/landbridge/servers/{name}",
        "/api/landbridge/cluster",
        "/api/landbridge/usage",
        "/api/landbridge/spawn-page",
        "/api/landbridge/preview",
    }
