"""Token buckets: so many at once, so many a second, to each by itself."""

from __future__ import annotations

import pytest

from services.common.web import limits
from services.common.web.errors import TooMany
from services.common.web.limits import Limit, Limiter


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(limiter: Limiter, limit: Limit, key: str, tries: int = 100) -> int:
    for count in range(tries):
        try:
            limiter.take(limit, key)
        except TooMany:
            return count
    return tries


def test_a_burst_and_then_so_many_a_second(clock: Clock) -> None:
    limiter, limit = Limiter(clock), Limit(per_second=2, burst=5)
    assert taken(limiter, limit, "alice") == 5
    assert taken(limiter, limit, "bob") == 5
    clock.seconds += 1.5
    assert taken(limiter, limit, "alice") == 3
    clock.seconds += 1e6
    assert taken(limiter, limit, "alice") == 5


def test_who_waits_as_long_as_told_is_served(clock: Clock) -> None:
    limiter, limit = Limiter(clock), Limit(per_second=0.1, burst=1)
    limiter.take(limit, "alice")
    clock.seconds += 3
    with pytest.raises(TooMany) as refusal:
        limiter.take(limit, "alice")
    assert refusal.value.retry_after == 7
    assert limiter.is_empty(limit, "alice")
    clock.seconds += refusal.value.retry_after
    limiter.take(limit, "alice")


def test_many_callers_cost_bounded_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 10)
    limiter, limit = Limiter(clock), Limit(per_second=1, burst=2)
    for number in range(1000):
        limiter.take(limit, str(number))
        taken(limiter, limit, "always here")
    assert len(limiter._buckets) == 10
    assert taken(limiter, limit, "always here") == 0
