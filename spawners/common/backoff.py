"""How long to wait before something that failed or ended is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass


def growing(first: float, longest: float, factor: float = 2.0) -> Iterator[float]:
    """Yield the pauses, in seconds, between tries that fail one after another.

    Without an end: whoever tries no more does not ask for the next.
    """
    pause = first
    while True:
        yield pause
        pause = min(longest, factor * pause)


async def pause(seconds: float, wake: asyncio.Event) -> None:
    """Wait for ``wake``, which is cleared, or for at most ``seconds``."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()


@dataclass
class Pauses:
    """Growing pauses for what keeps ending, and none for what had served well.

    Nobody is given up: whoever can make a process end could make that the end of all.

    Attributes:
        longest_seconds: no pause is longer.
        well_seconds: what lived so long counts as having served well.
    """

    longest_seconds: float = 60.0
    well_seconds: float = 120.0
    _next: float = 0.0

    def after(self, lived_seconds: float) -> float:
        """Return the pause in seconds after something that lived so long."""
        if lived_seconds >= self.well_seconds:
            self._next = 0.0
        pause = min(self._next, self.longest_seconds)
        self._next = min(max(1.0, 2 * pause), self.longest_seconds)
        return pause


@dataclass
class Restarts:
    """Pauses before a daemon is started again: short when it ended, longer for tries.

    Attributes:
        first_seconds: after it ended soon, and after a first try that failed.
        longest_seconds: no pause after tries that failed is longer.
        well_seconds: one that served so long is back at once.
    """

    first_seconds: float
    longest_seconds: float
    well_seconds: float
    _last: float = 0.0

    def ended(self, lived_seconds: float) -> float:
        """Return the pause after one that had served for so long."""
        soon = lived_seconds < self.well_seconds
        self._last = self.first_seconds if soon else 0.0
        return self._last

    def failed(self) -> float:
        """Return the pause after a start that failed, twice the one before it."""
        self._last = min(self.longest_seconds, 2 * self._last or self.first_seconds)
        return self._last
