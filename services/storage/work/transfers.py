"""The storage service's long work: copy, move and delete whole prefixes.

Each kind walks the selection in the store's order, in small batches, and writes down
the last key of each batch before the next. After a crash at most one batch is done
again; doing a step twice gives the same. While the store is away a task waits. Who may
do it is asked again for every batch: a share that ends meanwhile, or a group that is
left, ends the task.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.background.tasks import Kind, Progress
from services.common.web.errors import NotReady, NotThere, Refusal
from spawners.common.backoff import growing

from ..access.rights import Right, require
from ..s3.copies import is_copy
from ..s3.errors import (
    Conflict,
    ObjectNotFound,
    PreconditionFailed,
    StorageError,
    StoreUnavailable,
)
from ..s3.uploads import LARGEST_SINGLE
from ..s3.values import Grant, Mode, ObjectInfo
from ..service import Storage
from .folders import remove_empty

log = logging.getLogger(__name__)

_BATCH = 16
_DELETE_BATCH = 1000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOOK_EVERY_SECONDS = 5.0
_PATIENCE = 3600.0
"""Seconds without a step after which a task gives up waiting for the store."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a task was asked to do; kept as its facts."""

    user: str
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
        for name in ("keys", "prefixes"):
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
    client = await storage.client_for(order.user)
    items: Sequence[str] = (*order.keys, *order.prefixes)
    for item in items:
        storage.connection.keys.check_own(item)
    for place in range(index, len(items)):
        item = items[place]
        if place < len(order.keys):
            try:
                head = await client.head(order.source, item)
            except ObjectNotFound:
                continue  # gone: moved or deleted before a crash, or by others
            moment = head.modified
            info = ObjectInfo(item, head.size, moment, head.etag) if moment else None
            batch = (info,) if info else ()
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
    """Return what the user may now: groups are left, and accounts end.

    Raises:
        NotThere: there is no such user any more.
        NotReady: the hub cannot be asked.
    """
    groups = await storage.people.groups_of(order.user)
    if groups is None:
        raise NotThere(f"There is no user {order.user} any more.")
    return await storage.rights(order.user, sorted(groups))


def _failure(key: str, error: BaseException) -> dict[str, str]:
    return {"key": key, "message": str(error)}


@dataclass(slots=True)
class _Step:
    """One object of a batch, and how it went.

    Attributes:
        wrote: this try made what is at ``target``.
        done: all of it was done, by this try or a former one.
    """

    source: ObjectInfo
    target: str
    wrote: bool = False
    done: bool = False
    error: BaseException | None = None


class _Transfer:
    """One copy or move, over all its tries.

    Args:
        storage: the service.
        order: what to do.
        move: each source is deleted as soon as its copy is there.
        single: bytes that one request copies at most.
    """

    def __init__(
        self,
        storage: Storage,
        order: Order,
        *,
        move: bool,
        single: int = LARGEST_SINGLE,
    ) -> None:
        self._storage = storage
        self._order = order
        self._move = move
        self._single = single
        # Copied in a batch that was cut off: room was reserved for them, once.
        self._came: set[str] = set()

    async def run(self, progress: Progress) -> None:
        """Work from the cursor on."""
        order, cursor = self._order, progress.task.cursor
        async for batch in _batches(self._storage, order, cursor, _BATCH):
            steps = [
                _Step(item, order.destination(item.key, batch.under))
                for item in batch.objects
            ]
            promised = await self._reserve(steps)
            # All of them are over before anything is said of the batch.
            ends = await asyncio.gather(*map(self._do, steps), return_exceptions=True)
            for step, end in zip(steps, ends, strict=True):
                step.error = end
            for step in steps:
                if step.wrote:
                    promised.pop(step.target, None)
            if promised:  # for what has not come
                await self._storage.quota.rows.take_back(list(promised.values()))
            await self._tell(progress, batch, steps)
        if self._move:
            await _tidy(self._storage, order)

    async def _tell(
        self, progress: Progress, batch: _Batch, steps: Sequence[_Step]
    ) -> None:
        """Write down how a batch went, or raise what cut it off."""
        gone = [step.source for step in steps if step.done]
        size = sum(item.size for item in gone)
        failed = [(step.source.key, step.error) for step in steps if step.error]
        for _, error in failed:
            if isinstance(error, StorageError) and not isinstance(
                error, StoreUnavailable
            ):
                continue
            self._came |= {step.target for step in steps if step.wrote}
            if self._move and gone:  # the next try will not find them
                await progress.advance(done=len(gone), bytes_done=size)
            raise error
        self._came.clear()
        await progress.advance(
            cursor=batch.cursor,
            done=len(gone),
            bytes_done=size,
            failures=tuple(_failure(key, error) for key, error in failed),
        )

    async def _reserve(self, steps: Sequence[_Step]) -> dict[str, str]:
        """Ask for the rights and the room; return a promise's id by target."""
        storage, order = self._storage, self._order
        rights = await _rights(storage, order)
        into: Right | None = None
        for step in steps:
            require(rights, Grant(order.source, step.source.key, Mode.READ))
            into = require(rights, Grant(order.target, step.target, Mode.READ_WRITE))
        coming = [
            (step.target, step.source.size)
            for step in steps
            if step.target not in self._came
        ]
        if into is None or not coming:
            return {}
        ids = await storage.quota.reserve(into, order.user, coming)
        return {to: promise for (to, _), promise in zip(coming, ids, strict=False)}

    async def _do(self, step: _Step) -> None:
        etag = await self._copy(step)
        if self._move:
            await self._remove(step, etag)
        step.done = True

    async def _copy(self, step: _Step) -> str:
        """Copy one object, or see that a former try has.

        Returns:
            The ETag that the source had.

        Raises:
            Conflict: another object is there and must stay.
            StorageError: it did not work; nothing half is there.
        """
        storage, order, target = self._storage, self._order, step.target
        client, key = await storage.client_for(order.user), step.source.key
        storage.connection.keys.check_own(key)
        storage.connection.keys.check(target, empty=step.source.size == 0)
        if (order.source, key) == (order.target, target):
            raise Conflict(f"The object {target} is there already.")
        source = await client.head(order.source, key)
        if not order.overwrite:
            try:
                there = await client.head(order.target, target)
            except ObjectNotFound:
                pass
            else:
                if is_copy(there, source):
                    return source.etag
                raise Conflict(f"There is another object {target} already.")
        await client.copy(
            order.source, key, order.target, target, known=source, single=self._single
        )
        step.wrote = True
        return source.etag

    async def _remove(self, step: _Step, etag: str) -> None:
        """Delete a source that was copied, if it still is what was copied.

        Raises:
            PreconditionFailed: it is another object now, and stays.
        """
        order, key = self._order, step.source.key
        rights = await _rights(self._storage, order)
        require(rights, Grant(order.source, key, Mode.READ_WRITE))
        client = await self._storage.client_for(order.user)
        if client.dialect.conditional_deletes:
            try:
                return await client.delete(order.source, key, if_match=etag)
            except PreconditionFailed:
                log.debug("%s is another one, or was gone already", key)
        try:
            changed = (await client.head(order.source, key)).etag != etag
        except ObjectNotFound:
            return  # by our own request, whose answer was lost, or by others
        if changed or client.dialect.conditional_deletes:
            raise PreconditionFailed(
                "It was changed while it was moved: what it was before is at "
                f"{step.target}, and the new one stays where it is."
            )
        await client.delete(order.source, key)


async def _delete(storage: Storage, progress: Progress) -> None:
    order = Order.of(progress.task.facts)
    cursor = progress.task.cursor
    async for batch in _batches(storage, order, cursor, _DELETE_BATCH):
        rights = await _rights(storage, order)
        for item in batch.objects:
            require(rights, Grant(order.source, item.key, Mode.READ_WRITE))
        keys = [item.key for item in batch.objects]
        client = await storage.client_for(order.user)
        stayed = await client.delete_many(order.source, keys)
        kept = {s.key for s in stayed}
        gone = [item for item in batch.objects if item.key not in kept]
        await progress.advance(
            cursor=batch.cursor,
            done=len(gone),
            bytes_done=sum(item.size for item in gone),
            failures=tuple({"key": s.key, "message": s.message} for s in stayed),
        )
    await _tidy(storage, order)


async def _tidy(storage: Storage, order: Order) -> None:
    """Have no empty folders shown where whole prefixes were."""
    if not order.prefixes:
        return
    try:
        rights = await _rights(storage, order)
        for prefix in order.prefixes:
            require(rights, Grant(order.source, prefix, Mode.READ_WRITE))
        client, keys = await storage.client_for(order.user), storage.connection.keys
        await remove_empty(client, keys, order.source, order.prefixes)
    except (StorageError, Refusal) as error:
        log.info("Empty folders in %s stay for a while: %s", order.source, error)


async def _connected(storage: Storage, progress: Progress) -> None:
    """Wait for the store, unless the task is to end."""
    while True:
        try:
            async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                return await storage.until_connected()
        except TimeoutError:
            text = f"It waits for the store. {storage.fault}"
            await progress.advance(message=text)


def kinds(storage: Storage, *, single: int = LARGEST_SINGLE) -> dict[str, Kind]:
    """Return the function of each kind of task; ``single`` as for a copy."""

    async def patient(progress: Progress, work: Kind) -> None:
        # A store that is away for a while ends no work of hours.
        cursor, since = progress.task.cursor, time.monotonic()
        pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await _connected(storage, progress)
            try:
                return await work(progress)
            except (StoreUnavailable, NotReady) as error:
                if progress.task.cursor != cursor:
                    cursor, since = progress.task.cursor, time.monotonic()
                    pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
                if time.monotonic() - since > _PATIENCE:
                    raise
                log.warning("Task %s waits: %s", progress.task.id, error)
                hub = isinstance(error, NotReady)
                text = f"It waits for the {'gateway' if hub else 'store'}. {error}"
                # Ends here if its user wants that.
                await progress.advance(message=text)
            await asyncio.sleep(next(pauses))
            await progress.advance(message=progress.task.message)

    async def copy(progress: Progress) -> None:
        order = Order.of(progress.task.facts)
        work = _Transfer(storage, order, move=False, single=single)
        await patient(progress, work.run)

    async def move(progress: Progress) -> None:
        order = Order.of(progress.task.facts)
        work = _Transfer(storage, order, move=True, single=single)
        await patient(progress, work.run)

    async def delete(progress: Progress) -> None:
        await patient(progress, lambda p: _delete(storage, p))

    return {"copy": copy, "move": move, "delete": delete}
