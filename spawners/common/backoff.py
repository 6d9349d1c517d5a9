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
class Restarts:
    """Pauses before what ended is started again: none for what had served well.

    Nobody is given up: whoever can make a process end could make that the end of all.

    Attributes:
        first_seconds: the shortest pause, but for none at all.
        longest_seconds: no pause is longer.
        well_seconds: what lived so long counts as having served well.
        patient: what ends soon is back after the first pause each time, and only starts
            that fail come more and more slowly. Otherwise it is back at once the first
            time, and then as after starts that fail.
    """

    first_seconds: float = 1.0
    longest_seconds: float = 60.0
    well_seconds: float = 120.0
    patient: bool = False
    _last: float | None = None

    def ended(self, lived_seconds: float) -> float:
        """Return the pause in seconds after something that lived so long."""
        if lived_seconds >= self.well_seconds:
            self._last = 0.0
        elif self.patient:
            self._last = self.first_seconds
        else:
            self._last = 0.0 if self._last is None else self._grown(self._last)
        return self._last

    def failed(self) -> float:
        """Return the pause after a start that failed, twice the one before it."""
        self._last = self._grown(self._last or 0.0)
        return self._last

    def _grown(self, pause: float) -> float:
        return min(self.longest_seconds, 2 * pause or self.first_seconds)
