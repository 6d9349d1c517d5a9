"""What is read of a request: closed shapes, and the field at fault is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rigs.services.plain import READ, Shelf
from services.common.testing.rig import ServiceRig

Rig = ServiceRig[Shelf]


async def test_a_good_answer_has_its_status_and_its_model(plain: Rig) -> None:
    ann = plain.program("ann")
    added = await ann.ask("POST", "things", {"name": "cup", "size": 2})
    assert (added.status_code, added.json()) == (201, {"name": "cup", "size": 2})
    assert await ann.call("GET", "things", least=2) == {"things": [added.json()]}
    assert await ann.call("GET", "things", least=3) == {"things": []}
    assert await ann.call("DELETE", "things/cup") == {}
    assert await ann.refused("DELETE", "things/cup") == (404, "not-found")


async def test_an_error_of_what_a_service_wraps_is_told_by_its_table(
    plain: Rig,
) -> None:
    ann = plain.program("ann")
    for number in range(3):
        await ann.call("POST", "things", {"name": str(number), "size": 1})
    answer = await ann.ask("POST", "things", {"name": "cup", "size": 1})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "full")
    assert error["hint"] == "Take something away."


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("least=x", "query.least"),
        ("least=1&least=2", "query.least"),
        ("most=1", "query.most"),
        ("least=%ff", "query.least"),
        (f"least={'1' * 20_000}", "query"),
        ("%0a=1", "query.\N{REPLACEMENT CHARACTER}"),
    ],
)
async def test_a_query_that_is_no_query_of_ours(
    plain: Rig, query: str, field: str
) -> None:
    answer = await plain.program("ann").http.get(f"api/v1/things?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad-request")
    assert error["field"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b'{"name": "cup", "size": NaN}', "body"),
        (b"\xff", "body"),
        (b"[" * 3000, "body"),
        (b"[]", "body"),
        (b'{"name": "cup"}', "body.size"),
        (b'{"name": "cup", "size": "much"}', "body.size"),
        (b'{"name": "cup", "size": 1, "colour": "red"}', "body.colour"),
    ],
)
async def test_a_body_that_is_no_body_of_ours(
    plain: Rig, body: bytes, field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    http = plain.program("ann").http
    answer = await http.post("api/v1/things", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad-request")
    assert error["field"] == field
    assert plain.opened.context.things == {}


@pytest.mark.parametrize("kind", ["", "text/plain", "application/jsonp"])
async def test_a_body_says_that_it_is_json(plain: Rig, kind: str) -> None:
    content = json.dumps({"name": "cup", "size": 1}).encode()
    headers = {"Content-Type": kind} if kind else {}
    http = plain.program("ann").http
    answer = await http.post("api/v1/things", content=content, headers=headers)
    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]["hint"]


@pytest.mark.parametrize(("body", "status"), [({}, 200), ({"a": 1}, 400)])
async def test_a_call_that_takes_no_body_takes_none(
    plain: Rig, body: dict[str, Any], status: int
) -> None:
    plain.opened.context.let_go.set()
    assert (await plain.program("ann").ask("POST", "wait", body)).status_code == status


async def test_a_call_that_takes_no_query_takes_none(plain: Rig) -> None:
    ann = plain.program("ann", [*plain.hub.scopes, READ])
    assert await ann.refused("POST", "wait", a=1) == (400, "bad-request")
