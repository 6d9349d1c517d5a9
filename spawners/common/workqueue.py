"""A queue of keys with the moments when they are due, and lanes that do the work.

A key is in the queue once, however often it was put there, and with one worker at a
time. What a key is due for is asked when its turn comes, not when it is put.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from spawners.common.backoff import pause

log = logging.getLogger(__name__)


class DelayQueue:
    """Keys by the moment (monotonic) when they are due; one worker per key."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._busy: set[str] = set()
        self._count = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def put(self, key: str, due: float) -> None:
        """Have ``key`` taken at that moment, and at no other that was said before."""
        if self._due.get(key) == due:
            return
        self._due[key] = due
        if key not in self._busy:
            self._push(key, due)

    def discard(self, key: str) -> None:
        """Have ``key`` not taken."""
        self._due.pop(key, None)

    async def take(self) -> str:
        """Return the next key once it is due; nobody else gets it until it is done."""
        while True:
            while self._heap and not self._is_true(self._heap[0]):
                heapq.heappop(self._heap)
            if not self._heap:
                await self._wake.wait()
                self._wake.clear()
                continue
            due, _, key = self._heap[0]
            left = due - time.monotonic()
            if left > 0:
                await pause(left, self._wake)
                continue
            heapq.heappop(self._heap)
            del self._due[key]
            self._busy.add(key)
            return key

    def done(self, key: str) -> None:
        """Give a key back: it may be taken again when it is due."""
        self._busy.discard(key)
        if (due := self._due.get(key)) is not None:
            self._push(key, due)

    def _push(self, key: str, due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._count), key))
        if self._heap[0][2] == key:
            self._wake.set()

    def _is_true(self, item: tuple[float, int, str]) -> bool:
        due, _, key = item
        return self._due.get(key) == due and key not in self._busy


class Lane:
    """Does one kind of work for keys, a bounded number at a time, in their order."""

    def __init__(
        self,
        work: Callable[[Sequence[str]], Awaitable[None]],
        done: Callable[[str], None],
        *,
        at_once: int,
        batch: int = 1,
    ) -> None:
        """Make a lane.

        Args:
            work: what is done with some keys; a bug in it is logged.
            done: told of each key after its work, however that went.
            at_once: how many pieces of work may be under way.
            batch: how many keys one piece may have.
        """
        self._work = work
        self._done = done
        self._at_once = at_once
        self._batch = batch
        self._waiting: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: str) -> None:
        """Have the work done for ``key``, when its turn comes."""
        self._waiting.append(key)
        # What comes due in the same moment goes together.
        asyncio.get_running_loop().call_soon(self._start)

    async def close(self) -> None:
        """Cancel the work under way, and begin no other."""
        self._at_once = 0
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._waiting and len(self._tasks) < self._at_once:
            keys = self._waiting[: self._batch]
            del self._waiting[: self._batch]
            task = asyncio.create_task(self._run(keys))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _run(self, keys: Sequence[str]) -> None:
        try:
            await self._work(keys)
        except Exception:
            log.exception("Cannot do what is due for %s", ", ".join(keys[:5]))
        finally:
            for key in keys:
                self._done(key)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._start()
