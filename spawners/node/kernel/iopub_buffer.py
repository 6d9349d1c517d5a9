"""What a kernel publishes while nobody is attached to it, up to some megabytes.

The launcher subscribes to the kernel's iopub socket when its owner is lost, and hands
on what came when a later owner asks. Travels in the job with ``launcher.py``:
standard library of Python 3.6 or newer only.

Source of the protocol: ZMTP 3.0 (rfc.zeromq.org/spec/23), mechanism NULL: a greeting
of 64 octets, a command READY, then frames of flags, size and body. A subscription is
a message of the octet 1 and the prefix that is subscribed to.
"""

import asyncio
import base64
from collections import deque
from typing import Any, Deque, List, Optional

from spawners.node.kernel.names import Json

LIMIT = 4 * 1024 * 1024  # bytes; as base64 they fit into one line of the control
_GREETING = (
    b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
)
_MORE, _LONG, _COMMAND = 1, 2, 4
_TYPE = b"\x0bSocket-Type" + b"\x00\x00\x00\x03SUB"
_READY = b"\x05READY" + _TYPE
_SUBSCRIPTION = b"\x01"
_PAUSE = 0.1


class Ring:
    """The newest messages that nobody has heard, as lists of frames.

    Attributes:
        keeping: whether it listens.
        dropped: how many messages gave way to later ones, or were too large.
    """

    def __init__(self) -> None:
        self.keeping = False
        self.dropped = 0
        self._messages: Deque[List[bytes]] = deque()
        self._size = 0
        self._task: Optional[Any] = None

    def keep(self, path: str) -> None:
        """Listen to the kernel whose iopub socket has this path, from now on."""
        if not self.keeping:
            self.keeping = True
            self._task = asyncio.ensure_future(self._listen(path))

    def take(self) -> Json:
        """Stop listening, and return ``messages`` (in base64) and ``dropped``."""
        told = [
            [base64.b64encode(frame).decode("ascii") for frame in message]
            for message in self._messages
        ]
        answer = {"messages": told, "dropped": self.dropped}
        self.clear()
        return answer

    def clear(self) -> None:
        """Stop listening, and forget what was heard."""
        self.keeping = False
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._messages.clear()
        self._size = self.dropped = 0

    async def _listen(self, path: str) -> None:
        while self.keeping:
            writer = None
            try:
                reader, writer = await asyncio.open_unix_connection(path)
                await self._hear(reader, writer)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                await asyncio.sleep(_PAUSE)  # the kernel is starting, or dead
            finally:
                if writer is not None:
                    writer.close()

    async def _hear(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(_GREETING)
        greeting = await reader.readexactly(64)
        if greeting[:1] != b"\xff" or greeting[12:16] != b"NULL":
            raise ValueError("not a kernel's socket")
        writer.write(bytes([_COMMAND, len(_READY)]) + _READY)
        writer.write(bytes([0, len(_SUBSCRIPTION)]) + _SUBSCRIPTION)
        frames, whole = [], True  # type: List[bytes], bool
        while True:
            head = await reader.readexactly(2)
            size = head[1]
            if head[0] & _LONG:
                rest = await reader.readexactly(7)
                size = int.from_bytes(head[1:] + rest, "big")
            body = await self._body(reader, size)
            if head[0] & _COMMAND:
                continue
            whole = whole and body is not None
            frames.append(body or b"")
            if not head[0] & _MORE:
                self._add(frames if whole else None)
                frames, whole = [], True

    async def _body(self, reader: asyncio.StreamReader, size: int) -> Optional[bytes]:
        """Return a frame's body; read over one that is too large."""
        if size <= LIMIT:
            return await reader.readexactly(size)
        while size:
            part = await reader.read(min(size, 1024 * 1024))
            if not part:
                raise ValueError("the kernel went in the middle of a message")
            size -= len(part)
        return None

    def _add(self, frames: Optional[List[bytes]]) -> None:
        size = LIMIT + 1 if frames is None else sum(map(len, frames))
        if frames is None or size > LIMIT:
            self.dropped += 1
            return
        self._messages.append(frames)
        self._size += size
        while self._size > LIMIT:
            self._size -= sum(map(len, self._messages.popleft()))
            self.dropped += 1
