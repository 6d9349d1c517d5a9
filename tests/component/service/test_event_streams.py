"""Streams of events: what is sent, from where it goes on, and all that ends it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from rigs.services.frame import SCOPE, Served, served
from services.common.web import event_writer, streams
from services.common.web.auth import Caller
from services.common.web.errors import Forbidden, Outdated
from services.common.web.event_writer import encode_event
from services.common.web.openapi import document
from services.common.web.reference import api_page
from services.common.web.routes import Call, Model, Route, ServiceSpec
from services.common.web.streams import Event, EventStream, OpenStreams

PROMISED_SECONDS = 30


class Tick(Model):
    """One tick."""

    number: int
    """Which."""
    word: str = ""
    """What it says."""


class Ticking(Model):
    """From where to where."""

    upto: int = 3
    """The last tick."""
    then: str = ""
    """What comes after it."""


@dataclass
class Clock:
    """Ticks; ``pressed`` lets it go on, ``closed`` counts the readers that went."""

    pressed: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0
    word: str = ""
    refused: set[str] = field(default_factory=set)

    async def ticks(self, start: int, asked: Ticking) -> AsyncIterator[Event[Tick]]:
        try:
            for number in range(start, asked.upto + 1):
                tick = Tick(number=number, word=self.word)
                yield Event(tick, id=f"t-{number}", kind="tick")
            if asked.then == "wait":
                await self.pressed.wait()
                yield Event(Tick(number=0))
            elif asked.then == "gone":
                raise Outdated("These ticks are forgotten.", hint="List them.")
            elif asked.then == "fault":
                raise RuntimeError("a secret of the clock's")
        finally:
            self.closed += 1

    async def recheck(self, caller: Caller) -> None:
        if caller.name in self.refused:
            raise Forbidden("The clock is not yours any more.")


async def watch(clock: Clock, call: Call, query: Ticking) -> EventStream[Tick]:
    """Tick."""
    after = call.last_event_id or "t-0"
    if not after.startswith("t-"):
        raise Outdated("There was no such tick.")
    return EventStream(clock.ticks(int(after[2:]) + 1, query), clock.recheck)


SPEC: ServiceSpec[Clock] = ServiceSpec(
    name="toy",
    title="A clock",
    description="Ticks.",
    routes=(Route("GET", "ticks", watch, SCOPE),),
    errors={},
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def toy(clock: Clock, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(SPEC, clock, tmp_path) as toy:
        yield toy


async def read(answer: httpx.Response) -> list[dict[str, str]]:
    """The events of an answer, to its end."""
    return [event async for event in events_of(answer)]


async def events_of(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Events as a browser reads them."""
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


async def test_events_have_ids_and_go_on_from_one(toy: Served) -> None:
    async with toy.client() as client:
        async with client.stream("GET", "ticks") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            events = await read(answer)
        assert [event["id"] for event in events] == ["t-1", "t-2", "t-3"]
        assert {event["event"] for event in events} == {"tick"}
        assert json.loads(events[1]["data"]) == {"number": 2, "word": ""}
        async with client.stream(
            "GET", "ticks", headers={"Last-Event-ID": "t-2"}
        ) as answer:
            assert [event["id"] for event in await read(answer)] == ["t-3"]


async def test_what_cannot_be_gone_on_from_is_410(toy: Served) -> None:
    async with toy.client() as client:
        answer = await client.get("ticks", headers={"Last-Event-ID": "other"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "outdated")


async def test_a_place_that_is_lost_meanwhile_is_a_reset(toy: Served) -> None:
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "gone"}) as answer,
    ):
        *ticks, last = await read(answer)
    assert len(ticks) == 3
    assert last["event"] == "reset"
    assert json.loads(last["data"])["error"]["hint"] == "List them."


async def test_a_fault_is_told_by_its_id_only(toy: Served) -> None:
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "fault"}) as answer,
    ):
        last = (await read(answer))[-1]
        request_id = answer.headers["X-Request-ID"]
    assert last["event"] == "problem"
    error = json.loads(last["data"])["error"]
    assert (error["code"], error["id"]) == ("internal-error", request_id)
    assert "secret" not in last["data"]


async def test_what_users_write_stays_data(toy: Served, clock: Clock) -> None:
    clock.word = "\n\nevent: problem\ndata: x\n\n\r\u2028\udcff\x00ü"
    async with toy.client() as client, client.stream("GET", "ticks") as answer:
        raw = b"".join([piece async for piece in answer.aiter_bytes()])
    blocks = raw.split(b"\n\n")[:-1]
    assert len(blocks) == 3
    for block in blocks:
        assert json.loads(block.partition(b"data: ")[2])["word"] == clock.word


@pytest.mark.parametrize(
    ("data", "more"),
    [("{}", {"id": "a\nb"}), ("{}", {"kind": "a b"}), ("a\nb", {}), ("a\rb", {})],
)
def test_an_event_that_would_be_two_is_a_fault(data: str, more: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        encode_event(data, **more)


async def test_silence_is_broken_by_comments(
    toy: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEPALIVE_SECONDS", 0.05)
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "wait", "upto": 0}) as answer,
    ):
        comments = 0
        async for line in answer.aiter_lines():
            comments += line == ":"
            if comments == 3:
                break


def end_token(toy: Served, clock: Clock) -> None:
    toy.hub.tokens.clear()


def end_scope(toy: Served, clock: Clock) -> None:
    for token in toy.hub.tokens.values():
        token.scopes = tuple(s for s in token.scopes if s != SCOPE)


def end_access(toy: Served, clock: Clock) -> None:
    for token in toy.hub.tokens.values():
        token.scopes = (SCOPE,)


def end_own_right(toy: Served, clock: Clock) -> None:
    clock.refused.add("alice")


@pytest.mark.parametrize("end", [end_token, end_scope, end_access, end_own_right])
async def test_a_stream_ends_with_its_right(
    toy: Served,
    clock: Clock,
    end: Callable[[Served, Clock], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.2)
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "wait"}) as answer,
    ):
        events = events_of(answer)
        assert [(await anext(events))["id"] for _ in range(3)][-1] == "t-3"
        end(toy, clock)
        async with asyncio.timeout(PROMISED_SECONDS):
            assert (await anext(events))["event"] == "problem"
            assert [event async for event in events] == []
    assert clock.closed == 1


async def test_a_hub_that_is_confused_ends_no_stream(
    toy: Served, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.05)
    looked = asyncio.Event()
    monkeypatch.setattr(
        Clock, "recheck", lambda clock, caller: looked.set() or asyncio.sleep(0)
    )
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "wait", "upto": 0}) as answer,
    ):
        toy.hub.is_confused = True
        await asyncio.sleep(1.1)  # the hub's word is kept for a second
        looked.clear()
        await looked.wait()
        clock.pressed.set()
        assert len(await read(answer)) == 1


async def test_a_reader_that_goes_is_noticed_at_once(toy: Served, clock: Clock) -> None:
    async with toy.client() as client:
        async with client.stream("GET", "ticks", params={"then": "wait"}) as answer:
            await anext(events_of(answer))
        async with asyncio.timeout(5):
            while not clock.closed:
                await asyncio.sleep(0.01)


async def test_a_stream_ends_with_the_process(toy: Served) -> None:
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"then": "wait"}) as answer,
    ):
        events = events_of(answer)
        await anext(events)
        toy.serving.stopping.set()
        assert [event["event"] async for event in events] == ["tick"] * 2


async def test_a_reader_that_takes_nothing_is_hung_up_on(
    toy: Served, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "_SLOWEST_SECONDS", 0.2)
    clock.word = "x" * 100_000
    token = toy.hub.token("alice", ["access:services!service=toy", SCOPE])
    _, writer = await asyncio.open_unix_connection(toy.socket, limit=1)
    writer.write(
        f"GET {toy.prefix}api/v1/ticks?upto=1000 HTTP/1.1\r\nHost: toy\r\n"
        f"Authorization: token {token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(PROMISED_SECONDS):
        while not clock.closed:
            await asyncio.sleep(0.01)
    writer.close()


async def test_a_user_reads_so_many_and_others_theirs(toy: Served) -> None:
    object.__setattr__(toy.serving, "streams", OpenStreams(per_user=2))
    async with toy.client("alice") as alice, toy.client("bob") as bob:
        waiting = {"then": "wait", "upto": 1}
        async with (
            alice.stream("GET", "ticks", params=waiting),
            alice.stream("GET", "ticks", params=waiting),
        ):
            third = await alice.get("ticks")
            code = third.json()["error"]["code"]
            assert (third.status_code, code) == (429, "too-many")
            assert (await bob.get("ticks")).status_code == 200
        began = time.monotonic()
        while (await alice.get("ticks")).status_code == 429:
            assert time.monotonic() - began < PROMISED_SECONDS


async def test_many_events_go_together_and_in_order(toy: Served) -> None:
    async with (
        toy.client() as client,
        client.stream("GET", "ticks", params={"upto": 5000}) as answer,
    ):
        numbers = [json.loads(event["data"])["number"] for event in await read(answer)]
    assert numbers == list(range(1, 5001))


def test_documents_tell_of_streams() -> None:
    told = document(SPEC, "/services/toy/", "1")
    operation = told["paths"]["/ticks"]["get"]
    content = operation["responses"]["200"]["content"]
    assert content == {
        "text/event-stream": {"schema": {"$ref": "#/components/schemas/Tick"}}
    }
    assert [one["name"] for one in operation["parameters"]] == [
        "upto",
        "then",
        "Last-Event-ID",
    ]
    codes = told["components"]["schemas"]["ErrorFacts"]["properties"]["code"]["enum"]
    assert "outdated" in codes
    page = api_page(SPEC)
    assert "Answer: a stream of server-sent events of [Tick]" in page
    assert "| `outdated` | 410 |" in page
