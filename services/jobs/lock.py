"""One batch core for each gateway: two would both take up the same records."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from spawners.common.errors import GatewayError
from spawners.common.file_lock import locked_within

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
        self._descriptor = await locked_within(
            self._path, self._patience, _STEP_SECONDS
        )
        if self._descriptor is None:
            raise CoreRuns(
                "Another process of this gateway looks after its jobs.",
                hint="Stop the hub, or the jobs service, that runs with "
                f"{self._path.parent.parent}.",
            )
        return self

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
