"""How often and how long the batch core looks, waits and keeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any  # what a coroutine is sent

from .record import JobRecord

log = logging.getLogger(__name__)

_S = timedelta(seconds=1)
_MIN = timedelta(minutes=1)

#: Seconds after which even a dead controller is asked again.
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Periods of the watcher and its companions.

    The defaults cost 3 listings a minute in a steady state, and 2 more commands while
    somebody looks at the cluster's snapshot.

    Attributes:
        fast: between two listings right after a job changed.
        slow: between two listings when all is steady.
        rest: least pause between two listings, however much there is to see.
        backoff: pause after a first failure; doubled with each further one.
        snapshot_age: how old a snapshot that is read may be before a new one is made.
        limits_age: likewise for a user's limits.
        search_delays: when to look by name after a lost answer, each after the last
            good look; after the last of them the submission is given up.
        identity_delays: when to ask for the rest of an identity whose submission told
            the id alone.
        duplicate_delays: when to look for a job that arrives later still.
        rest_time: for how long an ended job is still looked at, in listings that are
            made anyway: a controller that crashes forgets the last seconds, and what
            was cancelled in them runs again.
        lost_after: least time between the two listings that show a job is lost.
        cancel_delays: when to ask again for the end of a job, the last one repeated.
        cancel_alarm: age of a cancel wish that operators should know of.
        event_interval: least time between two events about a place in the queue; a
            long wait is told of less often.
        keep: how long closed records and their events are kept.
        output_timeout: how long to wait for a failed job's last output.
        submissions: how many may be under way at a time.
        answers: tells whether a job itself answers where it reported to be, with
            proof that it is the job. Such a job is not lost, whatever is listed.
    """

    fast: timedelta = _S
    slow: timedelta = 20 * _S
    rest: timedelta = _S / 5
    backoff: timedelta = _S
    snapshot_age: timedelta = _MIN
    limits_age: timedelta = 5 * _MIN
    search_delays: tuple[timedelta, ...] = (0 * _S, 3 * _S, 12 * _S)
    identity_delays: tuple[timedelta, ...] = (2 * _S, 20 * _S, 2 * _MIN)
    duplicate_delays: tuple[timedelta, ...] = (30 * _S, 2 * _MIN, 10 * _MIN, 60 * _MIN)
    rest_time: timedelta = _MIN
    lost_after: timedelta = 10 * _S
    cancel_delays: tuple[timedelta, ...] = (5 * _S, 15 * _S, 30 * _S, _MIN)
    cancel_alarm: timedelta = 10 * _MIN
    event_interval: timedelta = 10 * _S
    keep: timedelta = timedelta(days=30)
    output_timeout: timedelta = 10 * _S
    submissions: int = 8
    answers: Callable[[JobRecord], Awaitable[bool]] | None = None

    def late_until(self, now: datetime) -> datetime | None:
        """Return until when a job that was given up may still come, from ``now``."""
        if not self.duplicate_delays:
            return None
        return now + sum(self.duplicate_delays, start=timedelta())

    def pause_after(self, failures: int, took: float = 0.0) -> float:
        """Return how long (s) to leave the controller alone.

        Args:
            failures: how many in a row; 0 after an answer.
            took: how long (s) the last command took: it earns five times as much.
        """
        pause = 5 * took
        if failures:
            pause = max(pause, self.backoff.total_seconds() * 2.0 ** min(failures, 6))
        return min(pause, LONGEST_PAUSE)


async def supervise(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a loop for ever; a bug in it is logged and does not end it."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("The batch core's loop %s failed", run.__qualname__)
        await asyncio.sleep(1)
