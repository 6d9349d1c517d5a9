"""How often one user may call a route: token buckets, whose sizes are in the table."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from .errors import TooMany

_MOST_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may be done.

    Attributes:
        per_second: in the long run.
        burst: at once, after a time of rest.
    """

    per_second: float
    burst: int


USUAL = Limit(per_second=200, burst=2_000)
"""Of a route that names none: what one process can answer to one user among others."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Limiter:
    """Counts by key what is done, and refuses what is too much.

    A bucket that is full again is as good as none, so the oldest can be forgotten.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()

    def take(self, limit: Limit, *key: str) -> None:
        """Count one; ``key`` says of what and whose.

        Raises:
            TooMany: there were too many; says when to try again.
        """
        bucket = self._bucket(limit, key)
        if bucket.left < 1:
            wait = math.ceil((1 - bucket.left) / limit.per_second)
            raise TooMany(
                "This is asked too often.",
                hint=f"Try again in {wait} seconds.",
                retry_after=wait,
            )
        bucket.left -= 1

    def is_empty(self, limit: Limit, *key: str) -> bool:
        """Whether :meth:`take` would refuse."""
        return self._bucket(limit, key).left < 1

    def _bucket(self, limit: Limit, key: tuple[str, ...]) -> _Bucket:
        now = self._now()
        bucket = self._buckets.pop(key, None) or _Bucket(limit.burst, now)
        gained = (now - bucket.at) * limit.per_second
        bucket.left, bucket.at = min(limit.burst, bucket.left + gained), now
        self._buckets[key] = bucket
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket
