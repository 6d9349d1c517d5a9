"""Brings what there is to what is wanted, key by key: for replicas, workers, routes.

A *key* names a thing that is looked after. Whoever learns that something changed, in
what is wanted or in what there is, wakes its key and says nothing else: the work looks
at both by itself, does what is missing, and tells when it wants to look again. So no
change can be lost by coming at a bad moment, and a restart only wakes all keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from spawners.common.errors import GatewayError
from spawners.common.workqueue import DelayQueue, Lane

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
"""Looks at a key and does what is missing. It may be called at any moment, also when
nothing is missing, and for one key never twice at once. Returns the seconds after which
it wants to look again, or ``None`` for when somebody wakes the key."""


class Reconciler:
    """Does the work for each key that was woken, a bounded number at a time.

    Work that fails is done again, with pauses that double for this key alone; what
    wakes a key meanwhile does not make them shorter.

    Args:
        name: in the log: what is looked after.
        work: see :data:`Reconcile`.
        at_once: how many keys are worked on at a time.
        settle_seconds: how long a woken key waits for what else happens to it.
        first_pause, longest_pause: seconds after work that failed.
    """

    def __init__(
        self,
        name: str,
        work: Reconcile,
        *,
        at_once: int = 16,
        settle_seconds: float = 0.02,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        self._name = name
        self._work = work
        self._settle = settle_seconds
        self._first, self._longest = first_pause, longest_pause
        self._queue = DelayQueue()
        self._lane = Lane(self._run, self._queue.done, at_once=at_once)
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._feeder: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; keys may have been woken before."""
        self._feeder = asyncio.create_task(self._feed())

    async def close(self) -> None:
        """End, in the middle of the work if need be; may be called twice."""
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.gather(self._feeder, return_exceptions=True)
        await self._lane.close()

    def wake(self, key: str, after: float = 0.0) -> None:
        """Have a key looked at in ``after`` seconds, unless it is sooner anyway."""
        due = time.monotonic() + max(after, self._settle)
        due = max(due, self._not_before.get(key, 0.0))
        due = min(due, self._due.get(key, due))
        self._due[key] = due
        self._queue.put(key, due)

    def forget(self, key: str) -> None:
        """Have a key not looked at any more, until it is woken again."""
        for state in (self._due, self._failures, self._not_before):
            state.pop(key, None)
        self._queue.discard(key)

    @property
    def failing(self) -> frozenset[str]:
        """Keys whose work failed the last time."""
        return frozenset(self._failures)

    async def _feed(self) -> None:
        while True:
            key = await self._queue.take()
            self._due.pop(key, None)
            self._lane.add(key)

    async def _run(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._look_at(key)

    async def _look_at(self, key: str) -> None:
        try:
            again = await self._work(key)
        except Exception as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            if isinstance(error, GatewayError):
                log.warning("%s %s: %s", self._name, key, error)
            else:
                log.exception("%s %s failed", self._name, key)
            seconds = min(self._longest, self._first * 2.0 ** min(count - 1, 30))
            self._not_before[key] = time.monotonic() + seconds
            # What woke it meanwhile has to wait as long.
            self._due.pop(key, None)
            self.wake(key, seconds)
            return
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if again is not None:
            self.wake(key, again)
