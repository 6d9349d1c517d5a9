"""Ids of alice's in requests of bob's: each row that an id names asks whose it is (L1).

The matrix comes from the table of routes: a route whose path or models take an id has
to be named here with something of alice's, or the test fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from rigs.services.person import Person
from services.common.web.routes import Route
from services.storage.spec import SPEC

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ID_FIELDS = {"id", "upload_id", "version", "share", "link", "task", "name"}


@pytest.fixture(scope="module")
def hers(
    alice: Person, bob: Person, person: Callable[..., Person]
) -> Iterator[dict[str, str]]:
    """One thing of each kind that is alice's, by the first word of its route."""
    person("erin")  # carol is the browser's
    alice.put("ids/x", b"alice's", overwrite=True)
    bob.put("ids/x", b"bob's", overwrite=True)
    wish = {"bucket": "alice", "kind": "user", "name": "erin", "prefix": "ids/"}
    copy = {"bucket": "alice", "prefix": "ids/copy/", "overwrite": True}
    source = {"bucket": "alice", "keys": ["ids/x"]}
    begun = alice.call(
        "POST", "uploads", {"bucket": "alice", "key": "ids/up", "size": 9}
    )
    found = {
        "tasks": alice.call(
            "POST", "tasks", {"kind": "copy", "source": source, **copy}
        ),
        "credentials": alice.call("POST", "credentials", {"purpose": "ids"}),
        "shares": alice.call("POST", "shares", wish),
        "links": alice.call("POST", "links", {"bucket": "alice", "key": "ids/x"}),
    }
    alice.finish(found["tasks"])
    ids = {word: made["id"] for word, made in found.items()}
    yield ids | {"buckets": "alice", "upload_id": begun["upload_id"]}
    alice.call("POST", "uploads/abort", where(begun["upload_id"], "alice"))
    alice.call("DELETE", f"shares/{ids['shares']}")
    alice.call("DELETE", f"links/{ids['links']}")
    alice.call("DELETE", f"credentials/{ids['credentials']}")


def where(upload_id: str, bucket: str) -> dict[str, str]:
    return {"bucket": bucket, "key": "ids/up", "upload_id": upload_id}


def state(alice: Person, hers: dict[str, str]) -> dict[str, Any]:
    """All that is alice's and that bob's requests might change."""
    return {
        "task": alice.call("GET", f"tasks/{hers['tasks']}"),
        "keys": alice.call("GET", f"credentials/{hers['credentials']}"),
        "shares": alice.call("GET", "shares"),
        "links": alice.call("GET", "links"),
        "upload": alice.call(
            "GET", "uploads/parts", **where(hers["upload_id"], "alice")
        ),
        "object": alice.get("ids/x").content,
        "buckets": [found["name"] for found in alice.call("GET", "buckets")["buckets"]],
    }


PATHS = sorted({route.path for route in SPEC.routes if route.parameters})


def test_every_id_in_a_path_has_something_of_hers(hers: dict[str, str]) -> None:
    assert PATHS
    for path in PATHS:
        assert path.split("/")[0] in hers, path


def fields(model: type[BaseModel] | None) -> set[str]:
    return set(model.model_fields) if model else set()


WITH_UPLOAD = [
    r for r in SPEC.routes if "upload_id" in fields(r.body) | fields(r.query)
]


def test_every_id_in_a_body_or_query_is_in_the_matrix() -> None:
    known = {"upload_id", "version", "name"}  # version: of an object, below
    for route in SPEC.routes:
        asked = fields(route.body) | fields(route.query)
        ids = {name for name in asked if name in ID_FIELDS or name.endswith("_id")}
        assert ids <= known, (route.method, route.path, ids - known)
    assert len(WITH_UPLOAD) == 4


@pytest.mark.parametrize("path", PATHS)
def test_an_id_of_hers_is_nothing_to_him_by_any_method(
    path: str, alice: Person, bob: Person, hers: dict[str, str]
) -> None:
    before = state(alice, hers)
    theirs = hers[path.split("/")[0]]
    for method in METHODS:
        asked = path.replace("{id}", theirs).replace("{bucket}", theirs)
        answer = bob.http.request(method, asked, json=None)
        assert answer.status_code in (403, 404, 405), (method, path, answer.text)
        assert theirs not in answer.text or "buckets" in path
    assert state(alice, hers) == before


def body_of(route: Route, upload_id: str, bucket: str) -> dict[str, Any]:
    parts = {
        "uploads/urls": {"parts": [{"number": 1}]},
        "uploads/complete": {"parts": [{"number": 1, "etag": "e"}]},
    }
    return where(upload_id, bucket) | parts.get(route.path, {})


@pytest.mark.parametrize("route", WITH_UPLOAD, ids=lambda r: f"{r.method} {r.path}")
@pytest.mark.parametrize("bucket", ["alice", "bob"])
def test_an_upload_of_hers_is_none_of_his_in_whichever_bucket(
    route: Route, bucket: str, alice: Person, bob: Person, hers: dict[str, str]
) -> None:
    """L1: he threw hers away "in" his own bucket, and her row was forgotten."""
    before = state(alice, hers)
    asked = body_of(route, hers["upload_id"], bucket)
    query = asked if route.query else {}
    body = asked if route.body else None
    assert bob.refused(route.method, route.path, body, **query) == (404, "not-found")
    assert state(alice, hers) == before
    one = {"number": 1}
    urls = where(hers["upload_id"], "alice") | {"parts": [one]}
    (signed,) = alice.call("POST", "uploads/urls", urls)["urls"]
    sent = httpx.put(
        signed["url"], content=b"x" * 9, headers=signed["headers"], trust_env=False
    )
    assert sent.status_code == 200


@pytest.mark.parametrize("end", ["alice", "alice/ids", "alice/.uploads/{id}"])
def test_an_upload_id_is_no_path_in_the_store(
    end: str, alice: Person, bob: Person, hers: dict[str, str]
) -> None:
    """SeaweedFS keeps uploads as folders, named by the key's hash and more."""
    before = state(alice, hers)
    start = hashlib.sha1(b"ids/up", usedforsecurity=False).hexdigest()
    path = f"../../../{end}".format(id=hers["upload_id"])
    for upload_id in (f"{start}/{path}", f"{start}_x/{path}", path):
        asked = where(upload_id, "bob")
        assert bob.refused("POST", "uploads/abort", asked) == (400, "bad-request")
    assert state(alice, hers) == before


def test_a_version_of_hers_is_none_of_his(alice: Person, bob: Person) -> None:
    for version in ("null", "1", "0" * 32):
        asked = {"bucket": "alice", "key": "ids/x", "version": version}
        for method, path in (("GET", "objects/head"), ("GET", "objects/tags")):
            assert bob.refused(method, path, None, **asked)[0] == 404
        for path in ("objects/restore", "urls/download"):
            assert bob.refused("POST", path, asked)[0] == 404


def test_her_uploads_and_history_are_in_none_of_his_lists(
    alice: Person, bob: Person, hers: dict[str, str]
) -> None:
    lists = ("tasks", "credentials", "shares", "links", "audit")
    told = " ".join(bob.ask("GET", path).text for path in lists)
    told += bob.ask("GET", "uploads", bucket="bob").text
    for word, found in hers.items():
        assert word == "buckets" or found not in told, word
