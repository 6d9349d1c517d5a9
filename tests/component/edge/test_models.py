"""Models at the edge: keys, limits, replicas that come and go under load."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

import pytest

from rigs.edge.edge import ask
from services.edge.models.plane import ModelPlane
from services.edge.models.pool import GRANTS, KEYS, PLACES, Models, Replica

BACKEND = "m_again_0000"
KEY = "lb-secret-of-bob"
HASH = hashlib.sha256(KEY.encode()).hexdigest()
BEARER = f"Authorization: Bearer {KEY}"
NAME = "alice/iris"


@dataclass
class Model:
    """A replica that answers probes, calls, and streams, and remembers what came."""

    name: str
    port: int = 0
    ready: bool = True
    status: int = 200
    pause: float = 0.0
    heads: list[str] = field(default_factory=list)
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]

    def replica(self, **more: Any) -> Replica:
        return Replica(self.name, "127.0.0.1", self.port, **more)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        await reader.readexactly(int(line.split(":")[1]))
                await self._answer(head, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        path = head.split(" ")[1]
        if path == "/v2/health/ready":
            status = 200 if self.ready else 503
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
            return
        self.heads.append(head)
        if path == "/stream":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"3\r\nhi\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        await asyncio.sleep(self.pause)
        body = json.dumps({"origin": self.name, "path": path}).encode()
        writer.write(
            b"HTTP/1.1 %d x\r\nSet-Cookie: a=b\r\nContent-Length: %d\r\n\r\n"
            % (self.status, len(body))
            + body
        )
        await writer.drain()

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            for writer in list(self.writers):
                writer.close()
            self.server = None


@pytest.fixture
async def make_model():
    models = []

    async def make(name: str, **options: Any) -> Model:
        models.append(Model(name))
        await models[-1].start(**options)
        return models[-1]

    yield make
    for model in models:
        await model.stop()


@pytest.fixture
def make_plane(make_edge, make_service):
    """Start an edge with a pool, bob's key to alice's model, and the activator."""

    async def make(**told: Any) -> ModelPlane:
        activator = await make_service("activator")
        edge = await make_edge(models=Models(activator.path, backends=3), **told)
        plane = plane_of(edge)
        await plane.set_map(KEYS, {HASH: "k1"})
        await plane.set_map(GRANTS, {f"k1:{NAME}": "1000|50"})
        await plane.set_map(PLACES, {NAME: BACKEND})
        plane.edge = edge
        return plane

    return make


@pytest.fixture
async def plane(make_plane):
    return await make_plane()


def plane_of(edge) -> ModelPlane:
    config = edge.haproxy._config()
    return ModelPlane(
        config.directory,
        edge.proxy.runtime,
        asyncio.Lock(),
        config.empty_pool(config.models),
    )


async def put_in(plane: ModelPlane, model: Model) -> None:
    await plane.add(BACKEND, model.replica())
    await plane.wait_until_up(BACKEND, model.name, 10)
    await plane.use(BACKEND, model.name)


async def take_out(plane: ModelPlane, model: Model) -> None:
    await plane.drain(BACKEND, model.name)
    assert await plane.wait_until_idle(BACKEND, model.name, 10)
    await plane.remove(BACKEND, model.name)


async def test_a_call_goes_to_the_replica_without_key_and_cookie(plane, make_model):
    model = await make_model("r1")
    await put_in(plane, model)
    answer = await plane.edge.ask(
        f"/endpoints/{NAME}/v2/models/iris", headers=(BEARER, "Cookie: session=s")
    )
    assert answer.json == {"origin": "r1", "path": "/v2/models/iris"}
    assert "authorization" not in model.heads[0].lower()
    assert "cookie" not in model.heads[0].lower()
    assert "set-cookie" not in answer.headers
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("path", "comes_as"),
    [
        (f"/endpoints/{NAME}", "/"),
        (f"/endpoints/{NAME}/invocations", "/invocations"),
        ("/endpoints/alice/endpoints/iris/invocations", "/invocations"),
        ("/endpoints/%61lice/iris/v1/models?a=b", "/v1/models?a=b"),
    ],
)
async def test_the_model_is_found_by_its_path(plane, make_model, path, comes_as):
    await put_in(plane, await make_model("r1"))
    answer = await plane.edge.ask(path, headers=(BEARER,))
    assert answer.json == {"origin": "r1", "path": comes_as}


async def test_the_model_is_found_by_the_name_in_the_body(plane, make_model):
    await put_in(plane, await make_model("r1"))
    body = json.dumps({"messages": ["x" * 3000], "model": NAME})
    path = "/v1/chat/completions"
    answer = await plane.edge.ask(
        path,
        method="POST",
        headers=(
            BEARER,
            "Connection: close",
            f"Content-Length: {len(body)}\r\n\r\n{body}",
        ),
    )
    assert answer.json == {"origin": "r1", "path": path}


async def test_a_pinned_version_has_a_place_of_its_own(plane, make_model):
    await put_in(plane, await make_model("r1"))
    path = f"/endpoints/{NAME}/versions/2/invocations"
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "activator"
    await plane.set_map(PLACES, {NAME: "m_again_0001", f"{NAME}@2": BACKEND})
    answer = await plane.edge.ask(path, headers=(BEARER,))
    assert answer.json == {"origin": "r1", "path": "/invocations"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/endpoints/{NAME}/invocations", ()),
        (f"/endpoints/{NAME}/invocations", ("Authorization: Bearer wrong",)),
        (f"/endpoints/{NAME}/invocations", ("Authorization: Basic YTpi",)),
        ("/endpoints/alice/other/invocations", (BEARER,)),
        ("/endpoints/", (BEARER,)),
        (f"/endpoints/{NAME}/versions/x;y/invocations", (BEARER,)),
        ("/v1/models", (BEARER,)),
        ("/inference.GRPCInferenceService/ModelInfer", (BEARER, "endpoint: x/y")),
    ],
)
async def test_what_the_maps_do_not_know_is_for_the_activator(
    plane, make_model, path, headers
):
    model = await make_model("r1")
    await put_in(plane, model)
    assert await plane.edge.origin_of(path, headers=headers) == "activator"
    assert model.heads == []


async def test_a_model_without_replicas_is_for_the_activator(plane, make_model):
    path = f"/endpoints/{NAME}/invocations"
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "activator"
    model = await make_model("r1")
    await plane.add(BACKEND, model.replica())
    await plane.wait_until_up(BACKEND, "r1", 10)
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "activator"
    await plane.use(BACKEND, "r1")
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"
    await take_out(plane, model)
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "activator"


@pytest.mark.parametrize(
    ("tail", "shape"),
    [
        ("v1/chat/completions", lambda d: d["error"]["code"] == "rate_limit_exceeded"),
        ("v2/models/iris/infer", lambda d: isinstance(d["error"], str)),
        ("invocations", lambda d: d["error_code"] == "REQUEST_LIMIT_EXCEEDED"),
    ],
)
async def test_a_key_over_its_rate_is_told_so_as_its_protocol_does(
    plane, make_model, tail, shape
):
    await put_in(plane, await make_model("r1"))
    await plane.set_map(GRANTS, {f"k1:{NAME}": "3|50"})
    path = f"/endpoints/{NAME}/{tail}"
    answers = [await plane.edge.ask(path, headers=(BEARER,)) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert shape(answers[-1].json)
    assert answers[-1].headers["retry-after"] == "10"
    assert (await plane.uses())[f"k1:{NAME}"]["http_req_cnt"] == 5


async def test_a_key_has_so_many_calls_at_one_time(plane, make_model):
    model = await make_model("r1")
    model.pause = 0.5
    await put_in(plane, model)
    await plane.set_map(GRANTS, {f"k1:{NAME}": "1000|2"})
    path = f"/endpoints/{NAME}/invocations"
    answers = await asyncio.gather(
        *(plane.edge.ask(path, headers=(BEARER,)) for _ in range(4))
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429]


async def test_switches_under_load_fail_nothing(plane, make_model):
    """Replicas are put in and taken out while requests run: each gets its answer."""
    model = await make_model("r0")
    model.pause = 0.01
    await put_in(plane, model)
    failed, done, going = [], 0, True

    async def call() -> None:
        nonlocal done
        while going:
            answer = await ask(
                plane.edge.port, f"/endpoints/{NAME}/invocations", headers=(BEARER,)
            )
            done += 1
            if answer.status != 200 or "origin" not in answer.json:
                failed.append((answer.status, answer.body))

    await plane.set_map(GRANTS, {f"k1:{NAME}": "100000|1000"})
    callers = [asyncio.create_task(call()) for _ in range(6)]
    for number in range(1, 6):
        successor = await make_model(f"r{number}")
        successor.pause = 0.01
        await put_in(plane, successor)
        await take_out(plane, model)
        await model.stop()
        model = successor
        if number == 3:
            plane.edge.told["tunnel_timeout"] = 299  # a reason to reload
            await plane.edge.reload()
    going = False
    await asyncio.gather(*callers)
    assert failed == []
    assert done > 100


async def test_a_replica_that_dies_is_out_at_once_and_its_call_goes_elsewhere(
    plane, make_model
):
    first, second = await make_model("r1"), await make_model("r2")
    await put_in(plane, first)
    await put_in(plane, second)
    await first.stop()
    path = f"/endpoints/{NAME}/invocations"
    answers = [await plane.edge.origin_of(path, headers=(BEARER,)) for _ in range(10)]
    assert set(answers) == {"r2"}
    assert (await plane.loads())[(BACKEND, "r1")].status.startswith("DOWN")


async def test_errors_of_the_model_do_not_take_it_away(plane, make_model):
    model = await make_model("r1")
    await put_in(plane, model)
    model.status = 500
    path = f"/endpoints/{NAME}/invocations"
    answers = [await plane.edge.ask(path, headers=(BEARER,)) for _ in range(5)]
    assert {answer.status for answer in answers} == {500}
    model.status = 200
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"


async def test_the_streams_of_a_revoked_key_end_and_no_others(plane, make_model):
    await put_in(plane, await make_model("r1"))
    other = "lb-secret-of-carol"
    keys = {HASH: "k1", hashlib.sha256(other.encode()).hexdigest(): "k2"}
    await plane.set_map(KEYS, keys)
    await plane.set_map(GRANTS, {f"{key}:{NAME}": "1000|50" for key in ("k1", "k2")})
    streams = []
    for key in (KEY, other):
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.edge.port)
        writer.write(
            f"GET /endpoints/{NAME}/stream HTTP/1.1\r\nHost: gateway.example\r\n"
            f"Authorization: Bearer {key}\r\n\r\n".encode()
        )
        await reader.readuntil(b"hi\n")
        streams.append((reader, writer))
    del keys[HASH]
    await plane.discard(KEYS, HASH, keys)
    assert await plane.cut_off("k1") == 1
    async with asyncio.timeout(5):
        await streams[0][0].read(-1)
    streams[1][0]._buffer.clear()
    assert await streams[1][0].readuntil(b"hi\n")
    for _, writer in streams:
        writer.close()


async def test_replicas_survive_a_reload_and_a_new_haproxy(plane, make_model):
    await put_in(plane, await make_model("r1"))
    path = f"/endpoints/{NAME}/invocations"
    plane.edge.told["tunnel_timeout"] = 299
    await plane.edge.reload()
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"
    await plane.reconcile(
        {
            KEYS: {HASH: "k1"},
            GRANTS: {f"k1:{NAME}": "1000|50"},
            PLACES: {NAME: BACKEND},
        }
    )
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"


async def test_a_pool_that_haproxy_refuses_is_set_aside(make_edge, make_service):
    activator = await make_service("activator")
    models = Models(activator.path, backends=2)
    edge = await make_edge(models=models)
    directory = edge.haproxy._config().directory
    await edge.stop()
    (directory / "models.cfg").write_text("backend m_again_0000 from nothing\n")
    edge = await make_edge(models=models, state=directory, hub=edge.hub)
    assert await edge.origin_of("/endpoints/a/b", headers=()) == "activator"
    assert (directory / "models.cfg.refused").exists()


async def test_a_browser_may_ask_from_any_page_with_a_key(plane):
    answer = await plane.edge.ask(
        f"/endpoints/{NAME}/invocations",
        method="OPTIONS",
        headers=("Origin: https://elsewhere.example",),
    )
    assert answer.status == 204
    assert "authorization" in answer.headers["access-control-allow-headers"]


async def test_a_replica_proves_its_name_and_hears_only_us(
    make_plane, make_model, make_authority
):
    """Who listens where a replica was, or is signed by others, is sent nothing."""
    ours, others = make_authority("ours"), make_authority("others")
    plane = await make_plane(
        jobs_ca=ours.path, client_certificate=ours.issue("edge.internal")
    )
    path = f"/endpoints/{NAME}/invocations"
    for authority, name in ((ours, "r2.internal"), (others, "r1.internal")):
        stranger = await make_model("s1", tls=authority.server_context(name))
        await plane.add(BACKEND, stranger.replica(tls_name="r1.internal"))
        with pytest.raises(TimeoutError, match="L6"):
            await plane.wait_until_up(BACKEND, "s1", 1.5)
        await plane.use(BACKEND, "s1")
        assert await plane.edge.origin_of(path, headers=(BEARER,)) != "s1"
        assert stranger.heads == []
        await plane.remove(BACKEND, "s1")
    model = await make_model(
        "r1", tls=ours.server_context("r1.internal", clients_of=ours)
    )
    await plane.add(BACKEND, model.replica(tls_name="r1.internal"))
    await plane.wait_until_up(BACKEND, "r1", 10)
    await plane.use(BACKEND, "r1")
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"
    plane.edge.told["tunnel_timeout"] = 299
    await plane.edge.reload()
    assert await plane.edge.origin_of(path, headers=(BEARER,)) == "r1"
