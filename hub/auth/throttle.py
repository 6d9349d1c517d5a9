"""Slows down those who guess passwords, in memory of a bounded size.

The edge limits what one source may ask; this counts what is tried on one account,
from anywhere. Names that do not exist count like those that do: it tells nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_FORGET_SECONDS = 900.0
_MOST_KNOWN = 20_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Tries that cost nothing, then pauses that double up to the longest."""

    free: int
    longest: float


FROM_ONE_SOURCE = Pace(free=5, longest=300.0)
# Shorter, as strangers must not keep the account's own person out for long.
FROM_ANYWHERE = Pace(free=20, longest=30.0)


class Throttle:
    """How long the next try on an account has to wait.

    A try counts when it begins, so that many at once are no way around it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, name: str, source: str) -> float:
        """Note a try, and return 0; or how many seconds it is too early.

        A source from which the account was signed in to is not held up by others.
        """
        pair = (name, source)
        wait = self._wait(pair, FROM_ONE_SOURCE)
        if pair not in self._good:
            wait = max(wait, self._wait(name, FROM_ANYWHERE))
        if wait <= 0:
            self._count(pair)
            self._count(name)
        return max(0.0, wait)

    def succeeded(self, name: str, source: str) -> None:
        """Forget the pair's failures: the password was right."""
        self._tries.pop((name, source), None)
        count, at = self._tries.get(name, (0, 0.0))
        if count > 0:
            self._tries[name] = (count - 1, at)
        self._good[name, source] = None
        self._good.move_to_end((name, source))
        if len(self._good) > _MOST_KNOWN:
            self._good.popitem(last=False)

    def _wait(self, key: Hashable, pace: Pace) -> float:
        count, at = self._tries.get(key, (0, 0.0))
        since = self._clock() - at
        if since > _FORGET_SECONDS:
            return 0.0
        over = count - pace.free
        return min(pace.longest, 2.0 ** min(over, 30)) - since if over >= 0 else 0.0

    def _count(self, key: Hashable) -> None:
        count, at = self._tries.pop(key, (0, 0.0))
        now = self._clock()
        self._tries[key] = (count + 1 if now - at <= _FORGET_SECONDS else 1, now)
        if len(self._tries) > _MOST_KNOWN:
            self._tries.popitem(last=False)
