"""The end of a log, and what is added to it, as a stream of events.

An event's id is a place in one file, so a reader that was cut off goes on there, or at
the beginning of the file that has taken its place. What programs write is never more
than text: bytes that are none show as replacement characters, and a line without end
comes in pieces.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from spawners.common.backoff import growing

from .errors import NotThere, Outdated
from .routes import Model
from .streams import Event

MOST_LINES = 10_000
"""Lines of the past that a reader may ask for."""
_BLOCK = 64 * 1024
_LONGEST_LINE = 16 * 1024
_FARTHEST_BACK = 4 * 1024**2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_ID = re.compile(r"([0-9]{1,20}-[0-9]{1,20})-([0-9]{1,18})")
_UNSHOWN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f]")


class LogLine(Model):
    """A line of a log, or a piece of one."""

    text: str
    """Without what ends the line."""
    ends: bool = True
    """Whether the line ends here; else more of it may follow."""


class LogFile:
    """A file that grows; it may be cut, or be put away and begun anew.

    Args:
        path: of the file, in a directory that nobody else writes to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def tail(
        self, *, lines: int = 100, after: str = ""
    ) -> AsyncIterator[Event[LogLine]]:
        """Return the last lines, and then each that is added, without end.

        An event ``truncated`` or ``replaced`` comes before the first line of a file
        that was begun anew.

        Args:
            lines: of the past, if ``after`` names no place.
            after: the id of the last event that was read.

        Raises:
            NotThere: there is no such file, or it is none.
            Outdated: ``after`` is no place in such a log.
        """
        place = _ID.fullmatch(after)
        if after and place is None:
            raise Outdated("This is no place in this log.")
        follower = _Follower(self._path)
        past = await asyncio.to_thread(follower.place_of, min(lines, MOST_LINES))
        if place is None:
            return _events(follower, *past)
        return _events(follower, place[1], int(place[2]))


async def _events(
    follower: _Follower, identity: str, offset: int
) -> AsyncIterator[Event[LogLine]]:
    # Not opened before: who never asks for the first event leaves nothing open.
    try:
        await asyncio.to_thread(follower.go_on, identity, offset)
        while True:
            for pause in growing(_FIRST_PAUSE, _LONGEST_PAUSE):
                events = await asyncio.to_thread(follower.read)
                if events:
                    break
                await asyncio.sleep(pause)
            for event in events:
                yield event
    finally:
        await asyncio.to_thread(follower.close)


class _Follower:
    """Reads on in a file, in a thread; knows where it is.

    Attributes:
        identity: of the file that is read.
        offset: of the first byte that was not told yet.
        news: what became of the file before, to be told once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        # Nobody waits for a thread whose reader is gone; its file is not to be another.
        self._turn = threading.RLock()
        self._silent = False
        self.identity = ""
        self.offset = 0
        self.news = ""

    def open(self) -> None:
        """Begin with the file that is there now.

        Raises:
            NotThere: there is none.
        """
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(self._path, flags)
        except OSError:
            raise NotThere("There is no such log, or not yet.") from None
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            os.close(file)
            raise NotThere("There is no such log, or not yet.")
        self.close()
        self._file, self.offset = file, 0
        self.identity = f"{facts.st_dev}-{facts.st_ino}"

    def place_of(self, lines: int) -> tuple[str, int]:
        """Return the file that is there, and where in it the last lines begin.

        Raises:
            NotThere: there is none.
        """
        self.open()
        try:
            self._go_back(lines)
            return self.identity, self.offset
        finally:
            self.close()

    def go_on(self, identity: str, offset: int) -> None:
        """Begin at a place, or with the file that has taken that one's.

        Raises:
            NotThere: there is none.
        """
        self.open()
        if identity == self.identity:
            self.offset = offset
        else:
            self.news = "replaced"

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _go_back(self, lines: int) -> None:
        """Go to where the last lines begin, or as far back as may be."""
        end = os.fstat(self._file).st_size
        start, newlines = end, 0
        least = max(0, end - _FARTHEST_BACK)
        self.offset = end
        while lines and start > least:
            begin = max(least, start - _BLOCK)
            block = os.pread(self._file, start - begin, begin)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                # The one that ends the last line begins none.
                newlines += begin + at + 1 < end
                if newlines == lines:
                    self.offset = begin + at + 1
                    return
            start = begin
        self.offset = start

    def read(self) -> list[Event[LogLine]]:
        """Return what was added, or nothing yet."""
        with self._turn:
            return self._read() if self._file >= 0 else []

    def _read(self) -> list[Event[LogLine]]:
        told: list[Event[LogLine]] = []
        if os.fstat(self._file).st_size < self.offset:
            self.offset, self.news = 0, "truncated"
        data = os.pread(self._file, _BLOCK, self.offset)
        if not data and self._is_replaced():
            try:
                self.open()
            except NotThere:
                return told  # put away once more
            self.news = "replaced"
            data = os.pread(self._file, _BLOCK, 0)
        if self.news:
            told.append(self._event("", kind=self.news))
            self.news = ""
        told += self._lines(data)
        return told

    def _is_replaced(self) -> bool:
        try:
            facts = self._path.lstat()
        except FileNotFoundError:
            return False  # put away, and not begun anew yet
        return f"{facts.st_dev}-{facts.st_ino}" != self.identity

    def _lines(self, data: bytes) -> list[Event[LogLine]]:
        told = []
        *whole, rest = data.split(b"\n")
        for line in whole:
            pieces = range(0, max(len(line), 1), _LONGEST_LINE)
            for at in pieces:
                piece = line[at : at + _LONGEST_LINE]
                ends = at + _LONGEST_LINE >= len(line)
                self.offset += len(piece) + ends
                told.append(self._event(_shown(piece), ends=ends))
        # The beginning of a line is told when no more of it comes for a moment.
        is_long = len(rest) >= _LONGEST_LINE
        if rest and (is_long or (self._silent and not whole)):
            piece = _whole_characters(rest[:_LONGEST_LINE])
            self.offset += len(piece)
            told.append(self._event(_shown(piece), ends=False))
        self._silent = bool(rest) and not told
        return told

    def _event(self, text: str, *, kind: str = "", ends: bool = True) -> Event[LogLine]:
        line = LogLine(text=text, ends=ends)
        return Event(line, id=f"{self.identity}-{self.offset}", kind=kind)


def _whole_characters(piece: bytes) -> bytes:
    """Return a piece without the beginning of a character that is not all there."""
    for back in range(1, min(4, len(piece))):
        byte = piece[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return piece[:-back] if needed > back else piece
        if byte < 0x80:
            break
    return piece


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").removesuffix("\r")
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)
