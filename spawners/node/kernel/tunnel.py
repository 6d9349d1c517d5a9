"""Bytes between two connections, and JSON lines: what both ends of a tunnel use.

Travels in the job with ``launcher.py``: standard library of Python 3.6 or
newer only.
"""

import asyncio
import json
import ssl
from typing import Callable, List, Optional

from spawners.node.kernel.names import Json

PING_SECONDS = 10.0
SILENCE_SECONDS = 45.0  # after which a peer that says nothing is gone
LINE_LIMIT = 8 * 1024 * 1024
# Enough to keep a fast network busy, small enough for a hundred kernels.
_BUFFER = 1024 * 1024


class Pipe(asyncio.Protocol):
    """One of two connections whose bytes go to each other, at the slower one's pace.

    What arrives before :func:`join` is kept.
    """

    def __init__(self) -> None:
        self.transport: Optional[asyncio.Transport] = None
        self.other: Optional["Pipe"] = None
        self.kept: List[bytes] = []
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with buffers that suit a kernel's output."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport
        transport.set_write_buffer_limits(_BUFFER)

    def data_received(self, data: bytes) -> None:
        """Pass on, or keep until there is somebody to pass it on to."""
        if self.other is None or self.other.transport is None:
            self.kept.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """The other one has to wait."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """The other one may go on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """End the other one, too, once it has sent what it was given."""
        self.closed = True
        if self.other is not None:
            self.other.close()

    def close(self) -> None:
        """Close after what was written is sent."""
        self.closed = True
        if self.transport is not None:
            self.transport.close()


def join(one: Pipe, other: Pipe) -> None:
    """Let two open connections feed each other."""
    if one.closed or other.closed:
        one.close()
        other.close()
        return
    one.other, other.other = other, one
    for source, target in ((one, other), (other, one)):
        kept, source.kept = source.kept, []
        if kept and target.transport is not None:
            target.transport.write(b"".join(kept))


class Lines(asyncio.Protocol):
    """A connection that carries one JSON object a line, both ways."""

    def __init__(
        self,
        heard: Callable[[Json], None],
        lost: Callable[["Lines"], None],
        made: Optional[Callable[["Lines"], None]] = None,
    ) -> None:
        self._made = made
        self.transport: Optional[asyncio.Transport] = None
        self._heard = heard
        self._lost = lost
        self._rest = b""
        self.last = asyncio.get_event_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write; nothing can be sent before."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Hand on each object of a complete line; anything else ends it."""
        self.last = asyncio.get_event_loop().time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            self.abort()
        for line in lines:
            try:
                message = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, dict):
                self.abort()
                return
            self._heard(message)

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """Tell whoever wants to know."""
        self._lost(self)

    def send(self, message: Json) -> None:
        """Write one object; nothing if the connection is closing."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(json.dumps(message).encode("utf-8") + b"\n")

    @property
    def silent_seconds(self) -> float:
        """How long nothing has been heard."""
        return asyncio.get_event_loop().time() - self.last

    def abort(self) -> None:
        """Close now, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()


def tls_context(*, server: bool) -> ssl.SSLContext:
    """Return a context for TLS 1.3 and nothing older, without any trust yet."""
    kind = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
    context = ssl.SSLContext(kind)
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    else:  # Python 3.6
        older = ("OP_NO_TLSv1", "OP_NO_TLSv1_1", "OP_NO_TLSv1_2")
        for name in older:
            context.options |= getattr(ssl, name)
    context.check_hostname = False
    return context


def mutual_context(*, server: bool, identity: str, authority: str) -> ssl.SSLContext:
    """Return a context in which both ends show a certificate of one authority.

    Whose it is, is still to be looked at: by :func:`shows_name`, or by the host name
    that a client expects.

    Args:
        server: which end this is.
        identity: path of a PEM file with key and certificate.
        authority: PEM of the only authority that is trusted.
    """
    context = tls_context(server=server)
    context.load_cert_chain(identity)
    context.load_verify_locations(cadata=authority)
    context.check_hostname = not server
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def shows_name(transport: asyncio.BaseTransport, host: str) -> bool:
    """Tell whether the peer's certificate, which was verified, is for ``host``."""
    shown = transport.get_extra_info("peercert") or {}
    return ("DNS", host) in shown.get("subjectAltName", ())
