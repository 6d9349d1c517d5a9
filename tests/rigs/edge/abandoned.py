"""Websockets that were left, others that were not, and what the edge keeps of them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import time
from pathlib import Path

KINDS = ("stopped", "half closed", "silent server")
_ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_PING, _PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


class PingingServer:
    """Pings as Jupyter does, and closes what missed three; /silent/ is mute."""

    def __init__(self, ping_seconds: float) -> None:
        self.ping_seconds = ping_seconds
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on a port of the system's choice."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, backlog=2000
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_ACCEPT)
            if b"/silent/" in head:
                # Neither sends nor minds that the other end will send no more.
                await reader.read(-1)
                await asyncio.Event().wait()
            await self._ping(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _ping(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        heard = time.monotonic()
        missed = 3 * self.ping_seconds
        while time.monotonic() - heard < missed and not writer.is_closing():
            writer.write(_PING)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.ping_seconds):
                    if not await reader.read(4096):
                        return
                    heard = time.monotonic()
                    await asyncio.sleep(self.ping_seconds)

    async def stop(self) -> None:
        """Close all."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()


async def open_websocket(
    port: int, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one through the edge, raw."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head)
    return reader, writer


async def abandon(port: int, kind: str) -> asyncio.StreamWriter:
    """Open a websocket of a server's and leave it, in one of ``KINDS``.

    The other end goes on to exist, as a browser of a laptop that sleeps: its system
    says nothing, or that it got what was sent, but nobody ever closes.
    """
    path = "/user/alice/silent/" if kind == "silent server" else "/user/alice/api/"
    _, writer = await open_websocket(port, path)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    if kind == "half closed":
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    return writer


class Live:
    """A websocket whose client answers pings, or that talks by itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.closed = False
        self.pings = 0

    async def run(self) -> None:
        """Answer each ping until it is closed."""
        reader, writer = await open_websocket(self._port, "/user/alice/api/")
        try:
            while await reader.readexactly(2):
                self.pings += 1
                writer.write(_PONG)
        except (asyncio.IncompleteReadError, OSError):
            self.closed = True
        finally:
            writer.close()


def descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def raise_limit(wanted: int) -> None:
    """Let this process have so many sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


async def reset(writers: list[asyncio.StreamWriter]) -> None:
    """Close with a reset, so that nobody waits for a polite end."""
    for writer in writers:
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    await asyncio.sleep(0.1)  # the loop closes them in its next rounds
