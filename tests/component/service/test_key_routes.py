"""Routes that a bearer key opens as the hub's word does, and limits of routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from rigs.services.frame import SCOPE, Served, served
from services.common.access.bearer_keys import BearerKeys, bearer_keys_table
from services.common.web import streams
from services.common.web.limits import Limit
from services.common.web.openapi import document
from services.common.web.routes import Call, KeyRight, Model, Route, ServiceSpec
from services.common.web.shapes import dask_gateway, mlflow, openai, ours, text
from services.common.web.streams import Event, EventStream
from spawners.common.database import Database, open_engine

METADATA = sa.MetaData()
TABLE = bearer_keys_table("keys", METADATA)
INFER = KeyRight("infer", "endpoint:{owner}/{name}")
PATH = "endpoints/alice/iris"


class Told(Model):
    """Who asked."""

    user: str
    """In whose name."""
    key: str
    """By which key."""


async def infer(toy: None, call: Call) -> Told:
    """Say who asks."""
    return Told(user=call.caller.name, key=call.caller.key)


async def follow(toy: None, call: Call) -> EventStream[Told]:
    """Say so, and then nothing."""

    async def events() -> AsyncIterator[Event[Told]]:
        yield Event(await infer(toy, call))
        await asyncio.Event().wait()

    return EventStream(events())


async def remove(toy: None, call: Call) -> Told:
    """Say so to nobody's key."""
    return await infer(toy, call)


def spec(limit: Limit) -> ServiceSpec[None]:
    path = "endpoints/{owner}/{name}"
    return ServiceSpec(
        name="toy",
        title="Endpoints",
        description="Say who asks.",
        routes=(
            Route("GET", path, infer, SCOPE, key=INFER, limit=limit),
            Route("GET", f"{path}/follow", follow, SCOPE, key=INFER),
            Route("DELETE", path, remove, SCOPE),
        ),
        errors={},
    )


@dataclass
class Toy:
    served: Served
    keys: BearerKeys

    async def key(self, resource: str = "endpoint:alice/iris") -> tuple[str, str]:
        expires = datetime.now(UTC) + timedelta(days=1)
        key, told = await self.keys.make("alice", "ci", resource, ["infer"], expires)
        return key.id, told


@pytest.fixture
async def toy(tmp_path: Path) -> AsyncIterator[Toy]:
    file = tmp_path / "x.sqlite"
    database = Database(open_engine(f"sqlite:///{file}", 5, what="database"), "x")
    await database.run(METADATA.create_all)
    keys = BearerKeys(database, TABLE)
    limit = Limit(per_second=0.01, burst=4)
    async with served(spec(limit), None, tmp_path, keys=keys) as one:
        yield Toy(one, keys)
    await database.close()


async def test_a_key_or_the_hubs_word(toy: Toy) -> None:
    key_id, told = await toy.key()
    asked = len(toy.served.hub.asked)
    async with toy.served.client(token=told) as client:
        assert (await client.get(PATH)).json() == {"user": "alice", "key": key_id}
        # It opens nothing else, and no route that takes none.
        other = await client.get("endpoints/alice/other")
        assert (other.status_code, other.json()["error"]["code"]) == (403, "forbidden")
        assert len(toy.served.hub.asked) == asked, "the hub need not know"
        refused = await client.delete(PATH)
        assert refused.status_code in (401, 403)
    async with toy.served.client("bob") as client:
        assert (await client.get(PATH)).json() == {"user": "bob", "key": ""}


async def test_a_wrong_key_is_not_shown_to_the_hub(toy: Toy) -> None:
    asked = len(toy.served.hub.asked)
    async with toy.served.client(token="lbk_" + "x" * 43) as client:
        answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        401,
        "not-signed-in",
    )
    assert len(toy.served.hub.asked) == asked


async def test_a_stream_ends_with_its_key(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.1)
    key_id, told = await toy.key()
    async with (
        toy.served.client(token=told) as client,
        client.stream("GET", f"{PATH}/follow") as answer,
    ):
        lines = answer.aiter_lines()
        assert key_id in await anext(lines)
        await toy.keys.revoke(key_id, "alice")
        async with asyncio.timeout(10):
            rest = [line async for line in lines]
    assert "event: problem" in rest


@pytest.mark.parametrize("shape", [ours, openai, text, mlflow])
async def test_too_often_is_429_with_retry_after_in_each_shape(
    toy: Toy, shape: object
) -> None:
    object.__setattr__(toy.served.serving.spec, "shapes", (("api/", shape),))
    _, told = await toy.key()
    async with (
        toy.served.client("bob") as bob,
        toy.served.client("carol") as carol,
        toy.served.client(token=told) as key,
    ):
        statuses = [(await bob.get(PATH)).status_code for _ in range(4)]
        assert statuses == [200] * 4
        late = await bob.get(PATH)
        assert late.status_code == 429
        assert 90 <= int(late.headers["Retry-After"]) <= 100
        assert "This is asked too often." in late.text
        # To each by itself, and each route.
        assert (await carol.get(PATH)).status_code == 200
        assert (await key.get(PATH)).status_code == 200
        assert (await bob.delete(PATH)).status_code == 200


async def test_a_shape_has_a_status_and_a_reason(toy: Toy) -> None:
    object.__setattr__(toy.served.serving.spec, "shapes", (("api/", dask_gateway),))
    async with toy.served.client("bob") as bob:
        answer = await bob.get(PATH, params={"unknown": "1"})
    assert answer.status_code == 422
    assert answer.reason_phrase == "This call takes no query."
    assert answer.json() == {"error": "This call takes no query."}


def test_documents_tell_of_keys() -> None:
    told = document(spec(Limit(1, 1)), "/services/toy/", "1")
    get = told["paths"]["/endpoints/{owner}/{name}"]["get"]
    assert {"key": []} in get["security"]
    assert "a key to `endpoint:{owner}/{name}` for `infer`" in get["description"]
    assert "security" not in told["paths"]["/endpoints/{owner}/{name}"]["delete"]
    assert "key" in told["components"]["securitySchemes"]
