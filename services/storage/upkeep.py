"""What has to be done now and then: ends of shares, leftovers, old rows."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from services.common.errors import NotReady

from .errors import StorageError
from .service import Storage

log = logging.getLogger(__name__)

_EVERY_SECONDS = 20.0
_TIDY_EVERY = 30
_KEEP_SESSIONS = timedelta(days=30)


class Upkeep:
    """The background loop of the service. Each round is short and may fail."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._work: asyncio.Task[None] | None = None

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
            try:
                await self.end_shares()
                if rounds % _TIDY_EVERY == 0:
                    await self.tidy()
            except (StorageError, NotReady) as error:
                log.warning("Upkeep: %s", error)
            except Exception:
                log.exception("Upkeep")
            rounds += 1
            await asyncio.sleep(_EVERY_SECONDS)

    async def end_shares(self) -> None:
        """End the keys that rest on shares which have ended."""
        for share in await self._storage.shares.unsettled():
            await self._storage.settle(share)

    async def tidy(self) -> None:
        """Throw old uploads away, and forget denials and rows nobody needs."""
        storage = self._storage
        now = datetime.now(UTC)
        for begun in await storage.uploads.older_than(
            now - storage.settings.upload_lifetime
        ):
            uploads = storage.store.client.uploads
            await uploads.abort(begun.bucket, begun.key, begun.upload_id)
            await storage.uploads.remove(begun.upload_id)
            await storage.rows.note(
                "landbridge", "abort-upload", begun.bucket, of=begun.user
            )
        driver = storage.store.driver
        if driver is not None:
            await driver.tidy()
        await storage.sessions.forget(now - _KEEP_SESSIONS)
