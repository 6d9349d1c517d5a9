"""One copy's work: which files, in which order, and each whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal  # JSON

from .bucket import PIECE, Bucket, Entry, ObjectRefused, place_of
from .files import FileRefused, Root, parts_of

Phase = Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]
_TOGETHER = 4
_MOST_FAILURES = 100
_SAME_TIME_SECONDS = 2.0
_NO_FILE = "no file can have this name"
# The disk is full, or gone: no other file would fare better.
_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class CopyCancelled(Exception):
    """Somebody called the copy off."""


@dataclass(slots=True)
class Copy:
    """A copy as it stands.

    Attributes:
        names: keys, prefixes (that end in ``/``), or paths below the root directory.
        target: a folder below the root directory, or a prefix.
        cursor: how many of ``names`` are done, and the last key or path of the next.
        done, total: files; ``total`` and ``bytes_total`` are ``None`` if unknown.
        created: seconds since 1970.
    """

    id: str
    kind: Literal["to-home", "from-home"]
    bucket: str
    names: list[str]
    target: str
    overwrite: bool = False
    phase: Phase = "waiting"
    done: int = 0
    total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    message: str = ""
    cursor: list[Any] = field(default_factory=lambda: [0, ""])
    created: float = field(default_factory=time.time)

    @property
    def starts(self) -> list[str]:
        """What the keys of all its objects begin with."""
        return self.names if self.kind == "to-home" else [self.target]

    def to_json(self) -> dict[str, Any]:
        """Return what the browser is told."""
        facts = asdict(self)
        del facts["cursor"], facts["names"]
        return facts

    def fail(self, name: str, message: str) -> None:
        """Note a file that was not copied."""
        self.failed += 1
        if len(self.failures) < _MOST_FAILURES:
            shown = name.encode("utf-8", "replace").decode()
            self.failures.append({"name": shown, "message": message})


@dataclass(frozen=True, slots=True)
class _Step:
    """One file to copy: its key, its path, and the cursor once it is done."""

    key: str
    path: tuple[str, ...]
    entry: Entry | None
    cursor: tuple[int, str]
    problem: str = ""


class Work:
    """Does a copy from where it stands.

    Args:
        copy: is kept up to date.
        bucket: the other side.
        root: this side.
        advanced: is called after each few files; raises to end the copy.
        check: likewise, between pieces.
    """

    def __init__(
        self,
        copy: Copy,
        bucket: Bucket,
        root: Root,
        *,
        advanced: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        self._copy = copy
        self._bucket = bucket
        self._root = root
        self._advanced = advanced
        self._check = check
        # The files after the cursor may have been copied before an interruption.
        self._resumed = copy.cursor != [0, ""] or copy.done > 0

    async def run(self) -> None:
        """Copy all.

        Raises:
            ServiceFailed: the gateway cannot be asked any more.
            OSError: the home directory's disk is full, or gone.
        """
        is_to_home = self._copy.kind == "to-home"
        if is_to_home:
            await self._measure()
        batch: list[_Step] = []
        async for step in self._objects() if is_to_home else self._files():
            batch.append(step)
            if len(batch) == _TOGETHER:
                await self._batch(batch)
                batch = []
        if batch:
            await self._batch(batch)

    async def _measure(self) -> None:
        names = self._copy.names
        prefixes = [name for name in names if name.endswith("/") or not name]
        keys = [name for name in names if name and not name.endswith("/")]
        found = await self._bucket.measure(keys, prefixes)
        self._copy.total, self._copy.bytes_total = found

    async def _batch(self, steps: list[_Step]) -> None:
        # The first that ends all (a full disk, a cancel) waits for its neighbours,
        # so that nothing goes on behind a copy that is over.
        ends = await asyncio.gather(*map(self._attempt, steps), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                raise error
        self._copy.cursor = list(steps[-1].cursor)
        self._resumed = False
        self._advanced()

    async def _attempt(self, step: _Step) -> None:
        is_to_home = self._copy.kind == "to-home"
        name = step.key if is_to_home else "/".join(step.path)
        problem = step.problem
        if not problem:
            try:
                await (self._to_home(step) if is_to_home else self._from_home(step))
            except (FileRefused, ObjectRefused) as error:
                problem = str(error)
            except OSError as error:
                if error.errno in _ENDS_ALL:
                    raise
                problem = error.strerror or str(error)
        if problem:
            self._copy.fail(name, problem)
        else:
            self._copy.done += 1

    # -- from a bucket ------------------------------------------------------------

    async def _objects(self) -> AsyncIterator[_Step]:
        index, after = self._copy.cursor
        names = self._copy.names
        for place in range(index, len(names)):
            name = names[place]
            cut = name.rstrip("/").rfind("/") + 1
            if name and not name.endswith("/"):
                entry = await self._bucket.head(name)
                yield self._object(name, cut, entry, (place + 1, ""))
                continue
            start = after if place == index else ""
            async for page in self._bucket.pages(name, start):
                for entry in page:
                    if not entry.key.endswith("/") or entry.size:
                        yield self._object(entry.key, cut, entry, (place, entry.key))

    def _object(
        self, key: str, cut: int, entry: Entry | None, cursor: tuple[int, str]
    ) -> _Step:
        relative = key[cut:]
        if entry is None:
            return _Step(key, (), None, cursor, "it is gone")
        if relative.startswith("/") or relative.endswith("/"):
            return _Step(key, (), None, cursor, _NO_FILE)
        try:
            path = (*parts_of(self._copy.target), *parts_of(relative))
        except (FileRefused, UnicodeEncodeError):
            return _Step(key, (), None, cursor, _NO_FILE)
        return _Step(key, path, entry, cursor)

    async def _to_home(self, step: _Step) -> None:
        copy, entry = self._copy, step.entry
        if entry is None:
            raise ObjectRefused("it is gone")
        there = None if copy.overwrite else self._root.find(step.path)
        if there is not None:
            # Files get the time of their object: this one was copied before.
            is_same_time = abs(there.modified - entry.modified) < _SAME_TIME_SECONDS
            if there.size != entry.size or not is_same_time:
                raise FileRefused("there is a file of this name already")
            copy.bytes_done += entry.size
            return
        received = 0
        with self._root.writing(step.path, overwrite=copy.overwrite) as new:
            async for piece in self._bucket.read(entry):
                self._check()
                await asyncio.to_thread(new.file.write, piece)
                received += len(piece)
                copy.bytes_done += len(piece)
            if received != entry.size:
                raise ObjectRefused("the store sent less of it than it has")
            new.modified = entry.modified

    # -- to a bucket --------------------------------------------------------------

    async def _files(self) -> AsyncIterator[_Step]:
        index, after = self._copy.cursor
        names = self._copy.names
        for place in range(index, len(names)):
            parts = parts_of(names[place])
            cut = max(0, len(parts) - 1)
            if not self._root.is_folder(parts):
                yield self._file(parts, cut, (place + 1, ""))
                continue
            start = tuple(after.split("/")) if after and place == index else ()
            for path, problem in self._root.walk(parts):
                if path > start:
                    yield self._file(path, cut, (place, "/".join(path)), problem)

    def _file(
        self,
        path: tuple[str, ...],
        cut: int,
        cursor: tuple[int, str],
        problem: str = "",
    ) -> _Step:
        key = self._copy.target + "/".join(path[cut:])
        try:
            place_of(key)
        except ObjectRefused as error:
            problem = problem or str(error)
        return _Step(key, path, None, cursor, problem)

    async def _from_home(self, step: _Step) -> None:
        copy = self._copy
        with self._root.open(step.path) as file:
            before = os.fstat(file.fileno())
            if await self._is_uploaded(step.key, before.st_size):
                copy.bytes_done += before.st_size
                return

            async def pieces() -> AsyncIterator[bytes]:
                sent = 0
                while piece := await asyncio.to_thread(file.read, PIECE):
                    self._check()
                    yield piece
                    sent += len(piece)
                    copy.bytes_done += len(piece)
                now = os.fstat(file.fileno())
                # Raised before the upload ends, so that no mixture is ever shown.
                if sent != before.st_size or now.st_mtime_ns != before.st_mtime_ns:
                    raise FileRefused("it was changed while it was copied")

            size = before.st_size
            await self._bucket.write(step.key, pieces(), size, overwrite=copy.overwrite)

    async def _is_uploaded(self, key: str, size: int) -> bool:
        """Whether this copy wrote the object before it was interrupted."""
        if not self._resumed or self._copy.overwrite:
            return False
        there = await self._bucket.head(key)
        since = self._copy.created - _SAME_TIME_SECONDS
        return there is not None and there.size == size and there.modified >= since
