"""Server-sent events as they are written, whatever serves them; knows no JupyterHub."""

from __future__ import annotations

import asyncio
import re

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from ..endless import is_endless

KEEPALIVE_SECONDS = 8.0
"""How long a stream is silent at most."""
LOOK_SECONDS = 5.0
"""How long it goes on before it is asked whether its reader may still read.

With the time that the hub's word is kept, less than the half minute of a right's end.
"""
_SLOWEST_SECONDS = 30.0
_BATCH_BYTES = 64 * 1024
_HEAD = re.compile(r"[\x21-\x7e]*")


def encode_event(data: str | bytes, *, id: str = "", kind: str = "") -> bytes:
    """Return an event as it is sent.

    Args:
        data: one line.
        id: what a reader asks to go on from; ``""`` keeps the one before.
        kind: the ``event`` that a browser's listener is for; ``""`` is ``message``.

    Raises:
        ValueError: an id or a kind that would be something else in the stream.
    """
    if not (_HEAD.fullmatch(id) and _HEAD.fullmatch(kind)):
        raise ValueError(f"{id!r} and {kind!r} must be printable ASCII without blanks")
    body = data.encode() if isinstance(data, str) else data
    if b"\n" in body or b"\r" in body:
        raise ValueError("The data of an event must be one line")
    head = f"id: {id}\n" if id else ""
    if kind:
        head += f"event: {kind}\n"
    return head.encode() + b"data: " + body + b"\n\n"


def hang_up(handler: RequestHandler) -> None:
    """End an answer that has begun, so that nobody takes it for whole."""
    stream = getattr(handler.request.connection, "stream", None)
    if stream is not None:
        stream.close()


class EventWriter:
    """Writes events as the answer of a handler, which is not to be finished by others.

    Args:
        handler: answers nothing else.
    """

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._pending = 0

    async def begin(self) -> None:
        """Send the headers, so that the reader knows that it reads.

        Raises:
            StreamClosedError: it is gone.
        """
        handler = self._handler
        is_endless(handler.request)
        handler.set_status(200)
        handler.set_header("Content-Type", "text/event-stream")
        handler.set_header("X-Accel-Buffering", "no")  # of a proxy in front of ours
        await self.flush()

    async def write(self, event: bytes) -> bool:
        """Write an encoded event; return whether so much was written that we waited.

        Raises:
            StreamClosedError: it is gone, or too slow.
        """
        self._handler.write(event)
        self._pending += len(event)
        if self._pending <= _BATCH_BYTES:
            return False
        await self.flush()
        return True

    async def keep_alive(self) -> None:
        """Send a comment.

        Raises:
            StreamClosedError: the reader is gone, or too slow.
        """
        self._handler.write(":\n\n")
        await self.flush()

    async def flush(self) -> None:
        """Return when the reader has taken what was written; hang up on a slow one.

        Raises:
            StreamClosedError: it is gone, or too slow.
        """
        self._pending = 0
        try:
            async with asyncio.timeout(_SLOWEST_SECONDS):
                await self._handler.flush()
        except TimeoutError:
            hang_up(self._handler)
            raise StreamClosedError from None
