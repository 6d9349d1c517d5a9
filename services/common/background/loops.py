"""Work that is done again and again for as long as a service runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from spawners.common.backoff import pause
from spawners.common.errors import GatewayError

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 300.0


class Periodic:
    """Does the same again and again, with a pause after each; slower while it fails.

    Args:
        name: in the log: what it does, such as ``"looking for expired keys"``.
        work: does it once. A failure is logged, and the work is done again.
        seconds: the pause after work that succeeded, and after a first failure.
        longest_seconds: the pause doubles with each further failure, up to this.

    Attributes:
        failures: how often it failed since it last succeeded.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        seconds: float,
        longest_seconds: float = _LONGEST_PAUSE,
    ) -> None:
        self.failures = 0
        self._name = name
        self._work = work
        self._seconds = seconds
        self._longest = max(seconds, longest_seconds)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first time is now."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End, in the middle of the work if need be; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Have it done once more right after what is being done, or now."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            seconds = await self._once()
            await pause(seconds, self._wake)

    async def _once(self) -> float:
        """Do it, and return the pause after it."""
        try:
            await self._work()
        except Exception as error:
            self.failures += 1
            if isinstance(error, GatewayError):
                log.warning("%s failed: %s", self._name, error)
            else:
                log.exception("%s failed", self._name)
            return min(self._longest, self._seconds * 2.0 ** (self.failures - 1))
        self.failures = 0
        return self._seconds
