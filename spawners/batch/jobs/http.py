"""A small HTTP client, for a service of the gateway.

One connection for each request, and HTTP/1.0: an answer is whole or it is none, and a
stream is a row of lines until it ends. That is all that :mod:`.remote` needs, and every
socket is closed however a request ends.

There are two ways to a service: its Unix socket (:class:`SocketWay`), for who is on its
machine and may open it, and TLS to the gateway's jobs frontend (:class:`TlsWay`), for
who runs in a job.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from spawners.common.request_id import request_headers

_CONNECT_SECONDS = 5.0
#: Bytes of the longest line of a stream: a record with the end of its job's output.
_LONGEST_LINE = 4 * 1024**2
_MOST_BYTES = 256 * 1024**2


class NoAnswer(Exception):
    """There was no whole answer; what was asked for may have been done."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its HTTP status and its whole body."""

    status: int
    body: bytes

    @property
    def good(self) -> bool:
        """Whether the status tells of success."""
        return self.status // 100 == 2


class Stream:
    """An answer that goes on: its HTTP status, and its lines as they come."""

    def __init__(
        self, status: int, reader: asyncio.StreamReader, silence_seconds: float
    ) -> None:
        self.status = status
        self._reader = reader
        self._silence = silence_seconds

    async def lines(self) -> AsyncIterator[str]:
        """Yield lines until the service ends the stream.

        Raises:
            NoAnswer: it was cut, or said nothing for too long.
        """
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    line = await self._reader.readline()
            except TimeoutError:
                raise NoAnswer(f"nothing was said for {self._silence:g} s") from None
            except (OSError, ValueError) as error:
                raise NoAnswer(_words(error)) from error
            if not line.endswith(b"\n"):
                return
            yield line.decode("utf-8", "replace").rstrip("\r\n")


class Way(Protocol):
    """How a service is reached.

    Attributes:
        base: what stands before each path there, without a slash at the end.
        host: what it is called in a request.
    """

    @property
    def base(self) -> str:
        """What stands before each path there."""

    @property
    def host(self) -> str:
        """What it is called in a request."""

    async def connect(
        self, longest_line: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection.

        Args:
            longest_line: bytes of a line that can still be read.

        Raises:
            OSError: nobody listens, or it is somebody else.
        """


@dataclass(frozen=True, slots=True)
class SocketWay:
    """A service at its Unix socket: whoever may open it, is told so by the system.

    Attributes:
        path: of the socket.
        base: what stands before each path there.
    """

    path: Path
    base: str = ""
    host: str = "jobs"

    async def connect(
        self, longest_line: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See :class:`Way`."""
        return await asyncio.open_unix_connection(self.path, limit=longest_line)


@dataclass(frozen=True, slots=True)
class TlsWay:
    """A service behind the gateway's frontend for jobs.

    Its certificate must be of the gateway's own authority, and for the name that the
    frontend has wherever it stands. No proxy of the environment is used.

    Attributes:
        url: ``https://HOST:PORT/PATH``; the calls are below it.
        authority: path of that authority's certificate, PEM.
        name: the name in the frontend's certificate.
    """

    url: str
    authority: Path
    name: str

    @property
    def base(self) -> str:
        """The path of ``url``."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def host(self) -> str:
        """Host and port of ``url``: by another name the frontend answers nobody."""
        return urlsplit(self.url).netloc

    async def connect(
        self, longest_line: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See :class:`Way`; a wrong certificate is an ``OSError``, too."""
        parts = urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.authority))
        return await asyncio.open_connection(
            parts.hostname,
            parts.port or 443,
            limit=longest_line,
            ssl=context,
            server_hostname=self.name,
        )


class HttpClient:
    """Asks a service.

    Args:
        way: how it is reached.
    """

    def __init__(self, way: Way) -> None:
        self._way = way

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: bytes | None = None,
        seconds: float,
    ) -> Response:
        """Send one request and return its answer.

        Args:
            method: HTTP's.
            path: with its query, quoted already.
            token: says who asks.
            body: JSON.
            seconds: how long all of it may take.

        Raises:
            NoAnswer: nobody listens, or no whole answer came in time.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self._sent(method, path, token, body) as reader,
            ):
                status, length = await _head(reader)
                if length is None or length > _MOST_BYTES:
                    raise NoAnswer("its answer has no length, or a silly one")
                return Response(status, await reader.readexactly(length))
        except TimeoutError:
            raise NoAnswer(f"no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def stream(
        self, path: str, *, token: str, seconds: float, silence_seconds: float
    ) -> AsyncIterator[Stream]:
        """Ask for an answer that goes on; it ends when the block is left.

        Args:
            path: quoted already.
            token: says who asks.
            seconds: how long it may take until the stream begins.
            silence_seconds: how long it may say nothing then.

        Raises:
            NoAnswer: there is none.
        """
        async with self._sent("GET", path, token, None) as reader:
            try:
                async with asyncio.timeout(seconds):
                    status, _ = await _head(reader)
            except TimeoutError:
                raise NoAnswer(f"no answer within {seconds:g} s") from None
            yield Stream(status, reader, silence_seconds)

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, token: str, body: bytes | None
    ) -> AsyncIterator[asyncio.StreamReader]:
        """Send a request over a connection of its own, and close that at the end."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await self._way.connect(_LONGEST_LINE)
        except TimeoutError:
            raise NoAnswer("it takes no connection") from None
        except OSError as error:
            raise NoAnswer(_words(error)) from error
        try:
            writer.write(_request(self._way, method, path, token, body))
            await writer.drain()
            yield reader
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise NoAnswer(_words(error)) from error
        finally:
            writer.transport.abort()


def _request(way: Way, method: str, path: str, token: str, body: bytes | None) -> bytes:
    head = [
        f"{method} {way.base}{path} HTTP/1.0",
        f"Host: {way.host}",
        f"Authorization: Bearer {token}",
        "Accept: application/json",
        *(f"{name}: {value}" for name, value in request_headers().items()),
    ]
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    elif method != "GET":
        head.append("Content-Length: 0")
    text = "\r\n".join(head)
    if "\n" in text.replace("\r\n", ""):
        raise ValueError("a line break in a header")
    return f"{text}\r\n\r\n".encode("ascii") + (body or b"")


async def _head(reader: asyncio.StreamReader) -> tuple[int, int | None]:
    """Return an answer's status, and how long it says its body is."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise NoAnswer("what came is no HTTP")
    length = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and value.strip().isdigit():
            length = int(value)
    return int(status), length


def _words(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "the connection was cut"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
