"""What has to be done now and then: ends of shares, leftovers, old rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from services.common.web.errors import NotReady

from ..db.upload_rows import PendingUpload
from ..drivers.admin_users import AdminUsersDriver
from ..s3.errors import KeyNeeded, NotFound, StorageError
from ..service import Storage

log = logging.getLogger(__name__)

_EVERY_SECONDS = 10.0
_REAP_EVERY = 6
_TIDY_EVERY = 60
_SWEEP_EVERY = timedelta(days=1)
_SWEPT_AT_ONCE = 200
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_KEEP_SESSIONS = timedelta(days=30)


class Housekeeping:
    """The background loop of the service. Each round is short and may fail."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._work: asyncio.Task[None] | None = None
        self._swept: dict[str, datetime] = {}

    def start(self) -> None:
        """Begin; returns at once."""
        self._work = asyncio.create_task(self._loop())

    async def close(self) -> None:
        """Stop."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _loop(self) -> None:
        rounds = 0
        while True:
            await self._storage.until_connected()
            await self._try(self.end_shares())
            await self._try(self._storage.settle_groups())
            await self._try(self._storage.settle_refused())
            if rounds % _REAP_EVERY == 0:
                await self._try(self.reap())
                await self._try(self._storage.settle_accounts())
            if rounds % _TIDY_EVERY == 0:
                await self._try(self.tidy())
            rounds += 1
            await asyncio.sleep(_EVERY_SECONDS)

    @staticmethod
    async def _try(step: Awaitable[None]) -> None:
        """Do one step; the others do not depend on it."""
        try:
            await step
        except (StorageError, NotReady) as error:
            log.warning("Housekeeping: %s", error)
        except Exception:
            log.exception("Housekeeping")

    async def reap(self) -> None:
        """End keys whose time has passed, where the store does not do it itself."""
        driver = self._storage.connection.driver
        if isinstance(driver, AdminUsersDriver):
            await driver.tidy()

    async def end_shares(self) -> None:
        """End the keys that rest on shares which have ended."""
        for share in await self._storage.shares.unsettled():
            await self._try(self._storage.end_dependents(share))

    async def _abort(self, pending: PendingUpload) -> None:
        """Throw an upload away; one that cannot be is tried again next time."""
        storage = self._storage
        try:
            client = await storage.client_for(pending.user)
            await client.uploads.abort(pending.bucket, pending.key, pending.upload_id)
        except (KeyNeeded, NotFound):
            log.info("An old upload to %s is nobody's any more", pending.bucket)
        except StorageError as error:
            log.warning("Cannot abort an old upload to %s: %s", pending.bucket, error)
            return
        await storage.uploads.remove(pending.upload_id, pending.bucket, pending.key)
        await storage.rows.note(
            "landbridge", "abort-upload", pending.bucket, of=pending.user
        )

    async def sweep(self, now: datetime) -> None:
        """Throw away old uploads that nobody here knows: their answer was lost.

        Some buckets each time, each of them once a day; none that the site lends.
        """
        storage = self._storage
        others = {rule.bucket for rule in storage.settings.buckets}
        counted = await storage.quota.rows.measured_before(now)
        due = [
            bucket
            for bucket, _ in counted
            if bucket not in others
            and now - self._swept.get(bucket, _LONG_AGO) > _SWEEP_EVERY
        ]
        old = now - storage.settings.upload_lifetime
        for bucket in due[:_SWEPT_AT_ONCE]:
            self._swept[bucket] = now
            uploads = storage.connection.client.uploads
            for upload in (await uploads.list(bucket)).uploads:
                if upload.started is not None and upload.started < old:
                    await uploads.abort(bucket, upload.key, upload.upload_id)
                    await storage.rows.note("landbridge", "abort-upload", bucket)

    async def tidy(self) -> None:
        """Throw old uploads away, and forget denials and rows nobody needs."""
        storage = self._storage
        now = datetime.now(UTC)
        for pending in await storage.uploads.older_than(
            now - storage.settings.upload_lifetime
        ):
            await self._abort(pending)
        driver = storage.connection.driver
        if driver is not None:
            await driver.tidy()
        if storage.settings.acts_alone:
            await self.sweep(now)
        await storage.sessions.forget(now - _KEEP_SESSIONS)
