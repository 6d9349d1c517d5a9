"""How much buckets hold, how old that knowledge is, and who may add to it.

Only a listing tells what a store holds: buckets are counted page by page in the
background, and every number has a time. Beside it stands what the gateway allowed
itself and no count has seen yet (promises, and the uploads that are not over), so that
many uploads at once do not all take the same room. Programs write with keys of their
own, past this door: once the quota is used up they get keys that only read, and where
the store can (``store_quota``), each bucket has the same limit there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from services.common.web.errors import NotReady

from ..db.rows import Rows
from ..db.usage_rows import Measured, UsageRows
from ..drivers.admin_users import set_bucket_quota
from ..s3.client import S3Client
from ..s3.disk import check_room
from ..s3.errors import KeyNeeded, NotFound, QuotaExceeded, StorageError
from ..settings import StorageSettings
from .rights import Right, user_bucket

log = logging.getLogger(__name__)

_MOST_PAGES = 1000
_IN_USE = timedelta(days=1)
_UNUSED_EVERY = timedelta(days=1)
_MOST_IN_USE = 20_000
_ANEW_AFTER = timedelta(seconds=5)
_ON_ITS_WAY = timedelta(minutes=5)
_CLOCKS = timedelta(seconds=5)
_LOOK_EVERY_SECONDS = 15.0


class Store(Protocol):
    """The store that is counted and limited: there, or not there yet."""

    @property
    def client(self) -> S3Client:
        """The client that signs as the broker.

        Raises:
            NotReady: the store is not there.
        """

    async def client_for(self, user: str) -> S3Client:
        """Return the client that acts for ``user``."""

    async def until_connected(self) -> None:
        """Return when the store is there."""


class Quota:
    """Usage and quota of every bucket.

    Args:
        settings: the site's.
        buckets: who made which.
        store: what holds them.

    Attributes:
        rows: what is known.
    """

    def __init__(self, settings: StorageSettings, buckets: Rows, store: Store) -> None:
        self._settings = settings
        self._buckets = buckets
        self._store = store
        self.rows = UsageRows(buckets.database)
        self._used: dict[str, float] = {}
        self._work: asyncio.Task[None] | None = None
        self._counting: dict[tuple[str, str], asyncio.Task[Measured]] = {}

    # -- quota ---------------------------------------------------------------------

    def limit_of(self, right: Right) -> int | None:
        """Return how many bytes the owner of its bucket may hold; ``None``: no limit.

        A share's bucket counts for its owner, a group's for the group.
        """
        settings = self._settings
        if right.why == "site" or not settings.acts_alone:
            return None
        return settings.user_quota or None

    async def counted(self, right: Right, user: str) -> list[str]:
        """Return the buckets that share a quota with that of ``right``.

        Args:
            right: of ``user``.
            user: who has it.
        """
        owner = {"own": user, "share": right.owner}.get(right.why)
        if owner is None:
            return [right.bucket]
        names = {right.bucket, user_bucket(self._settings, owner)}
        return sorted((names | set(await self._buckets.buckets_of(owner))) - {""})

    async def reserve(
        self, right: Right, user: str, objects: Sequence[tuple[str, int]]
    ) -> list[str]:
        """Reserve room for objects (key and size) before they are allowed.

        Returns:
            Ids to give room back by.

        Raises:
            QuotaExceeded: there is none, told in our own words.
            StoreFull: the store's own disk has none.
        """
        quota = self.limit_of(right)
        check_room(self._store.client.transport.address.disk, objects)
        if quota is None:
            return []
        among = await self.counted(right, user)
        known = await self._known(among)
        life = self._settings.url_lifetime + _ON_ITS_WAY
        promise = partial(
            self.rows.promise, right.bucket, objects, life, quota=quota, among=among
        )
        ids = await promise()
        if ids is not None:
            return ids
        # What was promised may have come, and much may be deleted.
        now, old = datetime.now(UTC), min(_ANEW_AFTER, self._settings.usage_every)
        for name, measured in known.items():
            if now - measured.measured > old:
                await self._measure_if_there(name)
        ids = await promise()
        if ids is not None:
            return ids
        size, held = sum(size for _, size in objects), await self.rows.held(among)
        raise QuotaExceeded(
            f"Buckets of this owner may hold {quota} bytes together; they hold or "
            f"expect {held}, and {size} more would not fit."
        )

    async def count_upload(self, right: Right, key: str, size: int) -> None:
        """Count an upload that is whole now, and that no measurement has seen."""
        if self.limit_of(right) is not None:
            life = self._settings.usage_every + _ON_ITS_WAY
            await self.rows.promise(right.bucket, [(key, size)], life)

    async def full(self, right: Right, user: str) -> bool:
        """Whether the quota is used up, as far as is known."""
        quota = self.limit_of(right)
        if quota is None:
            return False
        among = await self.counted(right, user)
        await self._known(among)
        return await self.rows.held(among) >= quota

    async def _known(self, names: Sequence[str]) -> dict[str, Measured]:
        """Return what is known of buckets, after counting those never counted."""
        known = await self.rows.known(names)
        missing = [name for name in names if name not in known]
        for name in missing:
            await self._measure_if_there(name)
        return await self.rows.known(names) if missing else known

    async def _measure_if_there(self, bucket: str) -> None:
        try:
            await self.measure(bucket)
        except NotFound:
            await self.rows.forget(bucket)

    async def limit_at_store(self, bucket: str) -> None:
        """Give a bucket its limit in the store, too, where the settings say it can."""
        most = self._settings.user_quota
        if self._settings.store_quota != "rgw" or not most:
            return
        client = self._store.client
        try:
            await set_bucket_quota(client, bucket, most)
        except StorageError as error:
            log.warning("The store takes no quota for %s: %s", bucket, error)

    # -- usage ---------------------------------------------------------------------

    async def measure(self, bucket: str, user: str = "") -> Measured:
        """Count what a bucket holds, page by page, and write it down.

        Whoever asks while it is counted already gets that count.

        Args:
            bucket: any.
            user: by whose key, where users bring their own.
        """
        name = (bucket, user)
        work = self._counting.get(name)
        if work is None:
            work = asyncio.create_task(self._count(bucket, user))
            self._counting[name] = work
            work.add_done_callback(partial(self._counted, name))
        # One who goes away does not end it for the others.
        return await asyncio.shield(work)

    def _counted(self, name: tuple[str, str], work: asyncio.Task[Measured]) -> None:
        del self._counting[name]
        if not work.cancelled():
            work.exception()  # looked at, even if nobody waits any more

    async def _count(self, bucket: str, user: str) -> Measured:
        began = datetime.now(UTC)
        coming = {promise.key: promise for promise in await self.rows.promises(bucket)}
        arrived: list[str] = []
        size, count, pages, complete = 0, 0, 0, True
        client = await self._store.client_for(user)
        async for page in client.pages(bucket):
            size += sum(item.size for item in page.objects)
            count += len(page.objects)
            for item in page.objects if coming else ():
                promise = coming.get(item.key)
                # Stores tell whole seconds, by a clock of their own.
                if promise is not None and item.modified > promise.created - _CLOCKS:
                    arrived.append(promise.id)
            pages += 1
            if pages >= _MOST_PAGES:
                complete = page.token is None
                break
        measured = Measured(size, count, complete, began)
        await self.rows.set(bucket, measured, arrived)
        return measured

    async def of(self, bucket: str, user: str) -> Measured:
        """Return what a bucket holds, measured lately."""
        self.used(bucket)
        known = (await self.rows.known([bucket])).get(bucket)
        if known is not None and not self._stale(known):
            return known
        return await self.measure(bucket, user)

    def used(self, bucket: str) -> None:
        """Note that somebody cares for a bucket: it is counted more often."""
        if len(self._used) >= _MOST_IN_USE:
            self._used.clear()
        self._used[bucket] = time.monotonic()

    def _stale(self, measured: Measured) -> bool:
        age = datetime.now(UTC) - measured.measured
        return age > self._settings.usage_every

    # -- in the background ---------------------------------------------------------

    def start(self) -> None:
        """Begin to measure in the background; returns at once."""
        if self._settings.acts_alone:  # else there is nobody to ask as
            self._work = asyncio.create_task(self._loop())

    async def close(self) -> None:
        """Stop."""
        running = [*self._counting.values(), *([self._work] if self._work else [])]
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _loop(self) -> None:
        every = self._settings.usage_every.total_seconds()
        while True:
            await self._store.until_connected()
            try:
                await self.measure_stale()
            except (StorageError, NotReady) as error:
                log.warning("Usage: %s", error)
            except Exception:
                log.exception("Usage")
            await asyncio.sleep(min(every, _LOOK_EVERY_SECONDS))

    async def measure_stale(self) -> None:
        """Count the buckets whose numbers are old, the oldest first."""
        every = self._settings.usage_every
        now = datetime.now(UTC)
        for bucket, measured in await self.rows.measured_before(now - every):
            seen = self._used.get(bucket)
            idle = seen is None or time.monotonic() - seen > _IN_USE.total_seconds()
            if idle and now - measured < max(every, _UNUSED_EVERY):
                continue
            try:
                await self._measure_if_there(bucket)
            except KeyNeeded:
                continue
