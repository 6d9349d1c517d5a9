"""What a service's process answers besides its routes, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from rigs.services.plain import SERVICE, SPEC, Shelf, open_plain
from services.common.testing.rig import ServiceRig

Rig = ServiceRig[Shelf]
BODY = {"name": "cup", "size": 2}


async def test_health_says_whether_it_can_work_to_everybody(plain: Rig) -> None:
    stranger = plain.bearer("nobody", "").http
    good = await stranger.get("health")
    assert (good.status_code, good.json()) == (200, {"status": "ready", "things": 0})
    plain.opened.context.ready = False
    bad = await stranger.get("health")
    assert (bad.status_code, bad.json()["status"]) == (503, "not-ready")


async def test_numbers_are_for_who_collects_them(plain: Rig) -> None:
    ann = plain.program("ann")
    await ann.call("POST", "things", BODY)
    await ann.refused("DELETE", "things/pot")
    numbers = await plain.metrics()
    assert numbers["landbridge_plain_things"] == 1
    count = "landbridge_request_seconds_count"
    route = 'method="DELETE",route="things/{thing}",status="404"'
    assert numbers[f"{count}{{{route}}}"] >= 1
    refused = await ann.http.get("metrics")
    assert refused.status_code == 401


async def test_its_description_is_open_to_everybody(plain: Rig) -> None:
    stranger = plain.bearer("nobody", "").http
    document = (await stranger.get("api/v1/openapi.json")).json()
    assert set(document["paths"]) == {f"/{route.path}" for route in SPEC.routes}


@pytest.mark.parametrize("path", ["nothing", "api/v1/nothing", "api/v2/things"])
async def test_what_is_nowhere_is_told_in_our_shape(plain: Rig, path: str) -> None:
    answer = await plain.program("ann").http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not-found"


async def test_a_method_that_no_route_has_is_refused(plain: Rig) -> None:
    answer = await plain.program("ann").http.put("api/v1/things", json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        405,
        "method-not-allowed",
    )


@pytest.mark.parametrize("path", ["health", "api/v1/things", "nothing", ""])
async def test_no_answer_is_kept_framed_or_guessed(plain: Rig, path: str) -> None:
    headers = (await plain.program("ann").http.get(path)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


async def test_a_fault_tells_its_id_and_the_log_the_rest(
    plain: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await plain.program("ann").ask("POST", "fall")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, "internal-error")
    assert "secret reason" not in answer.text
    assert error["id"] in error["hint"]
    fault = next(r for r in caplog.records if r.levelno == logging.ERROR)
    assert error["id"] in fault.getMessage() and fault.exc_info is not None


async def test_a_request_keeps_the_id_that_it_came_with(plain: Rig) -> None:
    ann = plain.program("ann").http
    named = await ann.get("nothing", headers={"X-Request-ID": "4711-ours"})
    assert named.headers["X-Request-ID"] == "4711-ours"
    assert named.json()["error"]["id"] == "4711-ours"
    hostile = await ann.get("nothing", headers={"X-Request-ID": "a b\tc" * 50})
    assert hostile.headers["X-Request-ID"] != "a b\tc" * 50


async def test_each_request_is_one_line_with_who_and_what(
    plain: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.common.listening")
    await plain.program("ann").call("GET", "things", least=1)
    line = caplog.records[-1].getMessage()
    assert line.startswith("200 GET /services/plain/api/v1/things ann (")
    assert "least" not in line


async def test_too_much_at_once_is_not_read(plain: Rig) -> None:
    body = {"name": "x" * 10_000, "size": 1}
    answer = await plain.program("ann").http.post("api/v1/things", json=body)
    assert answer.status_code == 400  # by Tornado, which hangs up
    assert plain.opened.context.things == {}


async def test_what_is_being_answered_is_finished_before_the_end(plain: Rig) -> None:
    ann = plain.program("ann")
    shelf = plain.opened.context
    waiting = asyncio.create_task(ann.call("POST", "wait"))
    while not plain.hub.asked:
        await asyncio.sleep(0.01)
    await ann.http.get("health")  # it is with its function by now
    ending = asyncio.create_task(plain.stop())
    await asyncio.sleep(0)
    assert not shelf.closed
    shelf.let_go.set()
    assert await waiting == {}
    await ending
    assert shelf.closed


async def test_what_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    async def fail(*_: object):
        raise OSError("no room")

    rig: Rig = ServiceRig(SERVICE, fail, tmp_path, spec=SPEC)
    with pytest.raises(OSError, match="no room"):
        await rig.start()
    await rig.close()


async def test_it_starts_again_in_the_same_place(tmp_path: Path) -> None:
    async with ServiceRig(SERVICE, open_plain, tmp_path, spec=SPEC) as rig:
        ann = rig.program("ann")
        await ann.call("POST", "things", BODY)
        await rig.stop()
        await rig.start()
        assert await ann.call("GET", "things") == {"things": []}
