"""The storage service's long work: copy, move and delete whole prefixes.

Each kind walks the selection in the store's order, in small batches, and writes down
the last key of each batch before the next. After a crash at most one batch is done
again; doing a step twice gives the same. While the store is away a task waits. Who may
do it is asked again for every batch: a share that ends meanwhile ends the task.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.work import Kind, Progress

from .errors import Conflict, ObjectNotFound, StorageError, StoreUnavailable
from .objects import Grant, Mode, ObjectInfo
from .rights import Right, require
from .service import Storage

log = logging.getLogger(__name__)

_BATCH = 16
_DELETE_BATCH = 1000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_PATIENCE = 3600.0
"""Seconds without a step after which a task gives up waiting for the store."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a task was asked to do; kept as its facts."""

    user: str
    groups: tuple[str, ...]
    source: str
    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    target: str = ""
    prefix: str = ""
    name: str | None = None
    overwrite: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Order:
        """Read it back from a task's facts."""
        values = dict(facts)
        for name in ("groups", "keys", "prefixes"):
            values[name] = tuple(values[name])
        return cls(**values)

    def destination(self, key: str, under: str | None) -> str:
        """Return where ``key`` goes.

        Args:
            key: of the source.
            under: the selected prefix that it was found under; ``None`` for a
                selected key.
        """
        chosen = key if under is None else under
        cut = chosen.removesuffix("/").rfind("/") + 1
        if self.name is None:
            return self.prefix + key[cut:]
        ending = "/" if under is not None and under.endswith("/") else ""
        return self.prefix + self.name + ending + key[len(chosen) :]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Objects to work on, the prefix they are under, and the cursor after them."""

    objects: tuple[ObjectInfo, ...]
    under: str | None
    cursor: str


async def _batches(
    storage: Storage, order: Order, cursor: str, size: int
) -> AsyncIterator[_Batch]:
    """Yield the selection from ``cursor`` on; keys first, then prefix by prefix."""
    index, after = json.loads(cursor) if cursor else (0, "")
    client = await storage.acting(order.user)
    items: Sequence[str] = (*order.keys, *order.prefixes)
    for place in range(index, len(items)):
        item = items[place]
        if place < len(order.keys):
            try:
                head = await client.head(order.source, item)
            except ObjectNotFound:
                continue  # gone: moved or deleted before a crash, or by others
            moment = head.modified
            found = ObjectInfo(item, head.size, moment, head.etag) if moment else None
            batch = (found,) if found else ()
            yield _Batch(batch, None, json.dumps([place + 1, ""]))
            continue
        start = after if place == index else ""
        while True:
            page = await client.list(order.source, item, start_after=start)
            for i in range(0, len(page.objects), size):
                some = page.objects[i : i + size]
                start = some[-1].key
                yield _Batch(some, item, json.dumps([place, start]))
            if page.token is None:
                break


async def _rights(storage: Storage, order: Order) -> list[Right]:
    return await storage.rights(order.user, order.groups)


def _failure(key: str, error: StorageError) -> dict[str, str]:
    return {"key": key, "message": str(error)}


async def _copy_one(
    storage: Storage, order: Order, found: ObjectInfo, target: str
) -> None:
    """Copy one object, or see that a former try has.

    Raises:
        Conflict: another object is there and must stay.
        StorageError: it did not work; nothing half is there.
    """
    client = await storage.acting(order.user)
    storage.store.keys.check(target, empty=found.size == 0)
    if not order.overwrite:
        try:
            there = await client.head(order.target, target)
        except ObjectNotFound:
            pass
        else:
            if (there.size, there.etag) == (found.size, found.etag):
                return
            raise Conflict(f"There is another object {target} already.")
    await client.copy(order.source, found.key, order.target, target)


async def _copy_batch(
    storage: Storage, order: Order, batch: _Batch
) -> tuple[list[ObjectInfo], list[dict[str, str]]]:
    """Return the objects that were copied, and why others were not."""
    rights = await _rights(storage, order)
    into: Right | None = None
    for found in batch.objects:
        require(rights, Grant(order.source, found.key, Mode.READ))
        target = order.destination(found.key, batch.under)
        into = require(rights, Grant(order.target, target, Mode.READ_WRITE))
    if into is not None:
        coming = [
            (order.destination(found.key, batch.under), found.size)
            for found in batch.objects
        ]
        await storage.meter.reserve(into, order.user, coming)

    async def one(found: ObjectInfo) -> StorageError | None:
        target = order.destination(found.key, batch.under)
        try:
            await _copy_one(storage, order, found, target)
        except StorageError as error:
            return error
        return None

    # All of them are over before anything is said of the batch.
    results = await asyncio.gather(*map(one, batch.objects))
    for error in results:
        if isinstance(error, StoreUnavailable):
            raise error
    copied, failures = [], []
    for found, error in zip(batch.objects, results, strict=True):
        if error is None:
            copied.append(found)
        else:
            failures.append(_failure(found.key, error))
    return copied, failures


async def _transfer(storage: Storage, progress: Progress, *, move: bool) -> None:
    order = Order.of(progress.task.facts)
    cursor = progress.task.cursor
    async for batch in _batches(storage, order, cursor, _BATCH):
        copied, failures = await _copy_batch(storage, order, batch)
        if move and copied:
            keys = [found.key for found in copied]
            for key in keys:
                grant = Grant(order.source, key, Mode.READ_WRITE)
                require(await _rights(storage, order), grant)
            client = await storage.acting(order.user)
            stayed = await client.delete_many(order.source, keys)
            failures += [{"key": s.key, "message": s.message} for s in stayed]
            kept = {s.key for s in stayed}
            copied = [found for found in copied if found.key not in kept]
        await progress.advance(
            cursor=batch.cursor,
            done=len(copied),
            bytes_done=sum(found.size for found in copied),
            failures=tuple(failures),
        )


async def _delete(storage: Storage, progress: Progress) -> None:
    order = Order.of(progress.task.facts)
    cursor = progress.task.cursor
    async for batch in _batches(storage, order, cursor, _DELETE_BATCH):
        rights = await _rights(storage, order)
        for found in batch.objects:
            require(rights, Grant(order.source, found.key, Mode.READ_WRITE))
        keys = [found.key for found in batch.objects]
        client = await storage.acting(order.user)
        stayed = await client.delete_many(order.source, keys)
        kept = {s.key for s in stayed}
        gone = [found for found in batch.objects if found.key not in kept]
        await progress.advance(
            cursor=batch.cursor,
            done=len(gone),
            bytes_done=sum(found.size for found in gone),
            failures=tuple({"key": s.key, "message": s.message} for s in stayed),
        )


def kinds(storage: Storage) -> dict[str, Kind]:
    """Return the function of each kind of task."""

    async def patient(progress: Progress, work: Kind) -> None:
        # A store that is away for a while ends no work of hours.
        cursor, pause, since = progress.task.cursor, _FIRST_PAUSE, time.monotonic()
        while True:
            await storage.until_connected()
            try:
                return await work(progress)
            except StoreUnavailable as error:
                if progress.task.cursor != cursor:
                    cursor, pause = progress.task.cursor, _FIRST_PAUSE
                    since = time.monotonic()
                if time.monotonic() - since > _PATIENCE:
                    raise
                log.warning("Task %s waits: %s", progress.task.id, error)
                # Ends here if its user wants that.
                await progress.advance(message=f"It waits for the store. {error}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await progress.advance(message=progress.task.message)

    async def copy(progress: Progress) -> None:
        await patient(progress, lambda p: _transfer(storage, p, move=False))

    async def move(progress: Progress) -> None:
        await patient(progress, lambda p: _transfer(storage, p, move=True))

    async def delete(progress: Progress) -> None:
        await patient(progress, lambda p: _delete(storage, p))

    return {"copy": copy, "move": move, "delete": delete}
