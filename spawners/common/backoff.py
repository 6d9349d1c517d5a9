"""How long to wait before something that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass


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
