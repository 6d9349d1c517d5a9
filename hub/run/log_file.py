"""A log that is read from a pipe and written to files which do not grow on.

The hub and its services write to one pipe; what arrives is written line by line, a line
that is longer than any of ours is cut, and a full file is put aside. Nothing is lost
without a word: a line that was cut says how much is missing, and what the disk did not
take is told with the next line that it does.
"""

from __future__ import annotations

import asyncio
import os
from io import FileIO
from pathlib import Path

MOST_BYTES = 20_000_000
LONGEST_LINE = 16_384
_KEPT = 3
_CHUNK = 65_536


class LogFile:
    """``hub.log`` and the three before it, ``hub.log.1`` to ``hub.log.3``.

    Args:
        path: the newest.
        most_bytes: a file that has grown so long is put aside.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._file: FileIO | None = None
        self._size = 0
        self._missed = 0

    def write(self, line: bytes) -> None:
        """Add a line, with its end. What the disk does not take is counted."""
        if self._missed:
            notice = b"[Landbridge: the disk did not take %d bytes before this line]\n"
            line = notice % self._missed + line
        try:
            self._make_room(len(line))
            written = self._open().write(line) or 0
        except OSError:
            self._missed += len(line)
            self.close()
            return
        self._size += written
        self._missed = len(line) - written

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        if self._file is None:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            self._file = FileIO(descriptor, "a")
            self._size = os.fstat(descriptor).st_size
        return self._file

    def _make_room(self, length: int) -> None:
        self._open()
        if self._size and self._size + length > self._most_bytes:
            self.close()
            for number in range(_KEPT, 0, -1):
                older = self._aside(number)
                newer = self._aside(number - 1) if number > 1 else self.path
                if newer.exists():
                    newer.replace(older)

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class Lines:
    """Puts lines together from pieces, and cuts those that are too long."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._rest = bytearray()
        self._left_out = 0

    def feed(self, data: bytes) -> None:
        """Take what came; whole lines go to the file."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self.end()
        self._add(rest)

    def end(self) -> None:
        """The line is whole, or nothing more will come."""
        if self._left_out:
            self._rest += b" [... %d bytes left out]" % self._left_out
        if self._rest:
            self._file.write(bytes(self._rest) + b"\n")
        self._rest.clear()
        self._left_out = 0

    def _add(self, piece: bytes) -> None:
        room = LONGEST_LINE - len(self._rest)
        self._rest += piece[:room]
        self._left_out += max(0, len(piece) - room)


async def copy_pipe(descriptor: int, file: LogFile) -> None:
    """Copy a pipe to ``file`` until nobody has its other end open; closes ours."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    lines = Lines(file)
    try:
        while data := await reader.read(_CHUNK):
            lines.feed(data)
    finally:
        lines.end()
        transport.close()
