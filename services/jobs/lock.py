"""One batch core for each gateway: two would both take up the same records."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from spawners.common.errors import GatewayError

_STEP_SECONDS = 0.2


class CoreRuns(GatewayError):
    """Another process of this gateway looks after its jobs."""


class CoreLock:
    """Held by the process that looks after a gateway's jobs; gone when it ends.

    Args:
        path: of the lock, in a directory that is ours alone.
        patience_seconds: how long to wait for a process that is ending.
    """

    def __init__(self, path: Path, *, patience_seconds: float = 10.0) -> None:
        self._path = path
        self._patience = patience_seconds
        self._descriptor: int | None = None

    async def __aenter__(self) -> CoreLock:
        """Take the lock.

        Raises:
            CoreRuns: somebody else has it, and keeps it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            await self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    async def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._patience
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise CoreRuns(
                    "Another process of this gateway looks after its jobs.",
                    hint="Stop the hub, or the jobs service, that runs with "
                    f"{self._path.parent.parent}.",
                )
            await asyncio.sleep(_STEP_SECONDS)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
