"""Token buckets by name: how often one user may cause work, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST_KNOWN = 10_000


class TooOften(Exception):
    """Somebody asks more often than is good for the others.

    Attributes:
        seconds: after how long the next question is taken.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"again in {seconds:.0f} s")


class Buckets:
    """One bucket a name, full at first.

    Args:
        burst: how many may be taken at once.
        every: seconds until another one may be.
        clock: the time, in seconds.
    """

    def __init__(
        self, burst: int, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._every = every
        self._clock = clock
        # When the bucket is full again, which says all of it.
        self._full: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, name: Hashable) -> None:
        """Take one.

        Raises:
            TooOften: the bucket is empty.
        """
        now = self._clock()
        full = max(self._full.get(name, now), now) + self._every
        if (over := full - now - self._burst * self._every) > 0:
            raise TooOften(over)
        self._full[name] = full
        self._full.move_to_end(name)
        while len(self._full) > _MOST_KNOWN:
            self._full.popitem(last=False)
