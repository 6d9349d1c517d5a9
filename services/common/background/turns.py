"""Who may go on now: so many in all, and so many of each user, in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Waiting:
    """Somebody in the queue; ``turn`` is over when they are called, or called off."""

    user: str
    name: str
    turn: asyncio.Future[None]
    called: bool = False


class FairSlots:
    """Lets a few go on at once; a user's many do not hold up the others.

    Args:
        at_once: how many in all.
        each: how many of one user.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._free = at_once
        self._each = each
        self._going: Counter[str] = Counter()
        self._queue: list[_Waiting] = []

    @property
    def going(self) -> int:
        """How many have their turn now."""
        return self._going.total()

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return len(self._queue)

    @asynccontextmanager
    async def of(self, user: str, name: str) -> AsyncIterator[None]:
        """Wait for a turn of ``user``, and keep it until the block is left."""
        waiting = _Waiting(user, name, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            self._call()
            await waiting.turn
            yield
        finally:
            if waiting.called:
                self._give_back(waiting)
            elif waiting in self._queue:
                self._queue.remove(waiting)

    def call_off(self, name: str, reason: Exception) -> bool:
        """Raise ``reason`` in who waits by this name; False if nobody does."""
        for waiting in self._queue:
            if waiting.name == name:
                self._queue.remove(waiting)
                waiting.turn.set_exception(reason)
                return True
        return False

    def _give_back(self, waiting: _Waiting) -> None:
        self._free += 1
        self._going -= Counter([waiting.user])
        self._call()

    def _call(self) -> None:
        """Call those whose turn it is."""
        for waiting in list(self._queue):
            if self._free == 0:
                return
            if self._going[waiting.user] < self._each and not waiting.turn.done():
                self._queue.remove(waiting)
                self._free -= 1
                self._going[waiting.user] += 1
                waiting.called = True
                waiting.turn.set_result(None)
