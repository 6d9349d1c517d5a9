"""Counting what a scheduler is asked, for metrics and benchmarks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, cast  # Any: whatever the scheduler's methods take

from ..scheduler import Scheduler


class CallMeter:
    """Counts the calls of schedulers.

    Attributes:
        calls: number of calls by method since the start.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._recent: deque[float] = deque(maxlen=10_000)

    @property
    def per_minute(self) -> int:
        """Number of calls in the last 60 s."""
        horizon = time.monotonic() - 60
        while self._recent and self._recent[0] < horizon:
            self._recent.popleft()
        return len(self._recent)

    def on(self, scheduler: Scheduler) -> Scheduler:
        """Return ``scheduler`` with each call of it counted here."""
        return cast("Scheduler", _Metered(scheduler, self._count))

    def _count(self, method: str) -> None:
        self.calls[method] += 1
        self._recent.append(time.monotonic())


class _Metered:
    def __init__(self, scheduler: Scheduler, count: Callable[[str], None]) -> None:
        self._scheduler = scheduler
        self._count = count

    def __getattr__(self, name: str) -> object:
        value = getattr(self._scheduler, name)
        if not callable(value):
            return value

        def counted(*args: Any, **given: Any) -> object:
            self._count(name)
            return value(*args, **given)

        return counted
