"""A store with a socket and a port: the port is taken for as long as it is proven."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.edge.config import StorePort

PATH = "/s3/bucket/key"


@dataclass
class Store:
    """The store's sides, each an origin with its name, and where it says it is."""

    directory: Path
    port: int = 0
    proofs: dict[int, asyncio.Server] = field(default_factory=dict)

    def now(self) -> StorePort:
        return StorePort(self.port, self.proof(self.port))

    def proof(self, port: int) -> Path:
        return self.directory / f"s3-{port}.sock"

    async def prove(self, port: int) -> None:
        async def serve(_: object, writer: asyncio.StreamWriter) -> None:
            writer.close()

        self.proofs[port] = await asyncio.start_unix_server(serve, self.proof(port))

    async def disprove(self, port: int) -> None:
        server = self.proofs.pop(port)
        server.close()
        await server.wait_closed()
        self.proof(port).unlink()


@pytest.fixture
async def store(directory):
    made = Store(directory)
    yield made
    for port in list(made.proofs):
        await made.disprove(port)


@pytest.fixture
async def gateway(make_edge, make_origin, directory, store):
    """An edge to ``store``, whose socket and port are served."""
    by_socket = await make_origin("socket")
    await by_socket.stop()
    await by_socket.start_unix(directory / "store.sock")
    store.port = (await make_origin("port")).port
    await store.prove(store.port)
    return await make_edge(
        store=str(directory / "store.sock"), store_port=store.now, check_interval=0.1
    )


async def goes_to(edge, name: str) -> None:
    """Return when requests for objects arrive at ``name``."""
    async with asyncio.timeout(10):
        while await edge.origin_of(PATH) != name:
            await asyncio.sleep(0.05)


async def test_objects_come_by_the_port_while_it_is_proven(gateway):
    assert {await gateway.origin_of(PATH) for _ in range(5)} == {"port"}


async def test_who_has_the_port_without_the_proof_hears_nothing(
    gateway, store, make_origin
):
    """The store ended, and somebody took its port, as any account may."""
    await store.disprove(store.port)
    await goes_to(gateway, "socket")
    await asyncio.sleep(1)  # two more looks
    assert {await gateway.origin_of(PATH) for _ in range(5)} == {"socket"}
    await store.prove(store.port)
    await goes_to(gateway, "port")


async def test_a_store_at_another_port_is_followed(gateway, store, make_origin):
    """The old port goes on being served: by whoever took it."""
    await goes_to(gateway, "port")
    moved = await make_origin("moved")
    await store.disprove(store.port)
    await store.prove(moved.port)
    store.port = moved.port
    await goes_to(gateway, "moved")
    assert {await gateway.origin_of(PATH) for _ in range(5)} == {"moved"}


async def test_a_store_that_is_away_is_told_of(gateway, store, directory):
    await store.disprove(store.port)
    (directory / "store.sock").unlink()
    await goes_to(gateway, "503")


async def test_two_reloads_at_a_time_leave_one_haproxy(gateway, store, make_origin):
    moved = await make_origin("moved")
    await store.prove(moved.port)
    store.port = moved.port
    await asyncio.gather(*(gateway.reload() for _ in range(3)))
    assert await gateway.origin_of(PATH) == "moved"
    pid = (await gateway.proxy.runtime.info())["Pid"]
    await asyncio.sleep(0.5)
    assert gateway.pid == int(pid)
    assert (await gateway.proxy.runtime.info())["Pid"] == pid


async def test_large_objects_pass_uncopied(gateway, store):
    """HAProxy keeps the pipes by which bytes went from one socket to the other."""
    size = 50_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await writer.drain()
        writer.close()

    large = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with large:
        store.port = large.sockets[0].getsockname()[1]
        await store.prove(store.port)
        await gateway.reload()
        before = await gateway.proxy.runtime.info()
        answer = await gateway.ask(PATH)
    assert len(answer.body) == size
    after = await gateway.proxy.runtime.info()
    assert (pipes_of(before), pipes_of(after) > 0) == (0, True)


def pipes_of(info: dict[str, str]) -> int:
    """Return how many pipes HAProxy has made."""
    return int(info["PipesUsed"]) + int(info["PipesFree"])
