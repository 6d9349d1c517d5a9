"""A lock that processes share by a file, for code on an event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_STEP_SECONDS = 0.002
_LONGEST_STEP_SECONDS = 0.05


class FileLock:
    """Held by one task of one process at a time; free when its process is gone.

    Used like an :class:`asyncio.Lock`, over and over. Taking a free one costs two
    system calls; a taken one is asked for again after short pauses.

    Args:
        path: of the lock, in a directory that is ours alone; made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tasks = asyncio.Lock()
        self._descriptor: int | None = None

    async def __aenter__(self) -> None:
        """Take it.

        Raises:
            OSError: the file cannot be made.
        """
        await self._tasks.acquire()
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, _FLAGS, 0o600)
            pause = _STEP_SECONDS
            while not _locked(self._descriptor):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_STEP_SECONDS)
        except BaseException:
            self._tasks.release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._tasks.release()

    def close(self) -> None:
        """Close the file; a later use opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def locked_within(
    path: Path, patience_seconds: float, step_seconds: float = _LONGEST_STEP_SECONDS
) -> int | None:
    """Take a lock for as long as what is returned stays open, or its process lives.

    Args:
        path: of the lock, in a directory that is ours alone; made if it is missing.
        patience_seconds: how long to wait for a process that has it.
        step_seconds: how often to look whether it is free.

    Returns:
        The descriptor, which the caller closes to give the lock back; ``None`` if
        another process has it, and keeps it.

    Raises:
        OSError: the file cannot be made, or is a link.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    deadline = time.monotonic() + patience_seconds
    try:
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(step_seconds)
        else:
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def hold_for_life(path: Path, patience_seconds: float) -> bool:
    """Hold a lock for as long as this process lives; blocks.

    Returns:
        False if another process has it, and keeps it for that long.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    deadline = time.monotonic() + patience_seconds
    while not _locked(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            return False
        time.sleep(_LONGEST_STEP_SECONDS)
    return True  # the descriptor stays open


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
