"""A store's front door that fails on demand.

Each connection carries one request (answers say ``Connection: close``). ``plan`` is a
list of faults, one taken per request; when it is empty, requests pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Refuse:
    """Close at once, before anything is read."""


@dataclass(frozen=True)
class Silence:
    """Take the request and never answer."""


@dataclass(frozen=True)
class Say:
    """Answer without asking the store."""

    status: int
    body: bytes = b""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class CutRequest:
    """Pass this many bytes of the request on, then drop both sides."""

    after: int


@dataclass(frozen=True)
class CutAnswer:
    """Pass the request, then this many bytes of the answer, then drop."""

    after: int


Fault = Refuse | Silence | Say | CutRequest | CutAnswer


class FaultProxy:
    """Listens on a port of its own before ``host:port``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.plan: list[Fault] = []
        self.matching: Callable[[bytes], bool] = lambda head: True
        self.seen: list[bytes] = []

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen.append(head.split(b"\r\n", 1)[0])
        fault = self.plan.pop(0) if self.plan and self.matching(head) else None
        body = await reader.readexactly(_length(head))
        if isinstance(fault, Refuse):
            return
        if isinstance(fault, Silence):
            await asyncio.Event().wait()
        if isinstance(fault, Say):
            await _say(writer, fault)
            return
        await self._forward(head, body, writer, fault)

    async def _forward(
        self,
        head: bytes,
        body: bytes,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> None:
        there, back = await asyncio.open_connection(*self._target)
        try:
            await self._pass(head, body, there, back, writer, fault)
        finally:
            back.close()

    async def _pass(
        self,
        head: bytes,
        body: bytes,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> None:
        request = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body
        if isinstance(fault, CutRequest):
            request = request[: fault.after]
        back.write(request)
        await back.drain()
        if isinstance(fault, CutRequest):
            return
        sent = 0
        while piece := await there.read(65_536):
            if isinstance(fault, CutAnswer):
                piece = piece[: max(0, fault.after - sent)]
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            if isinstance(fault, CutAnswer) and sent >= fault.after:
                break


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _say(writer: asyncio.StreamWriter, fault: Say) -> None:
    lines = [
        f"HTTP/1.1 {fault.status} Said",
        f"Content-Length: {len(fault.body)}",
        "Connection: close",
        *fault.headers,
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + fault.body)
    await writer.drain()
