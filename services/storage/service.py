"""The storage service itself: the store, the rights, and what both mean together.

:class:`Storage` is what every route's function gets. It holds the store's client (in
the name of the one broker key), the database, and the rules; the handlers only
translate between it and the REST API.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.common.auth import Caller
from services.common.errors import NotReady
from services.common.people import People
from services.common.work import Tasks

from .credentials import CredentialDriver
from .errors import Conflict, QuotaExceeded
from .keys import EVERY_KEY, KeyRules
from .objects import AccessKey, Grant, Mode
from .rights import Right, require, site_rights, user_bucket
from .s3 import S3Client
from .sessions import Sessions
from .settings import StorageSettings
from .shares import Shares
from .signing import Presigner
from .store import Measured, Rows
from .uploads import UploadRows

log = logging.getLogger(__name__)

_MOST_PAGES_MEASURED = 1000
GATEWAY_PATH = "s3"


@dataclass(frozen=True, slots=True)
class StoreConnection:
    """The store, once it is reached.

    Attributes:
        client: signs as the broker.
        key: the broker's.
        endpoint: where programs on this machine reach it.
        driver: makes keys for users; ``None`` where the store cannot.
        embedded: whether it is the one that comes along.
        keys: which names it keeps.
        gateway: where programs on other machines reach it, through the gateway; ``""``
            if they use ``endpoint``, too.
    """

    client: S3Client
    key: AccessKey
    endpoint: str
    driver: CredentialDriver | None
    embedded: bool
    keys: KeyRules = EVERY_KEY
    gateway: str = ""


class Storage:
    """What the routes' functions work with.

    Args:
        settings: the site's.
        rows: the database.
        people: the hub's word about others.
        base_url: the gateway's own path, with slashes at both ends.

    Attributes:
        sessions, shares, uploads: see their modules.
        tasks: the long work; set once everything is there.
        fault: why the store is not there, in one line.
    """

    tasks: Tasks

    def __init__(
        self,
        settings: StorageSettings,
        rows: Rows,
        people: People,
        base_url: str = "/",
    ) -> None:
        self.settings = settings
        self.rows = rows
        self.people = people
        self.sessions = Sessions(rows.database)
        self.shares = Shares(rows.database)
        self.uploads = UploadRows(rows.database)
        self.base_url = base_url
        self.fault = "The store is being started."
        self._connection: StoreConnection | None = None
        self._connected = asyncio.Event()
        self._known: set[str] = set()
        self._making = asyncio.Lock()

    # -- the store -----------------------------------------------------------------

    def connect(self, connection: StoreConnection) -> None:
        """Serve with this store from now on."""
        self._connection = connection
        self._connected.set()
        self.fault = ""

    def disconnect(self, fault: str) -> None:
        """Serve nothing of the store, and say why."""
        self._connection = None
        self._connected.clear()
        self.fault = fault

    async def until_connected(self) -> None:
        """Return when the store is there."""
        await self._connected.wait()

    @property
    def store(self) -> StoreConnection:
        """The store.

        Raises:
            NotReady: it is not there.
        """
        if self._connection is None:
            raise NotReady(
                f"Storage is not ready: {self.fault}", hint="Try again in a minute."
            )
        return self._connection

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether users can work, and why not."""
        if self._connection is None:
            return False, {"store": self.fault}
        return True, {"store": "ready", "embedded": self._connection.embedded}

    @property
    def prefix(self) -> str:
        """The path under which browsers reach the store; ``""`` for its own host."""
        if self.settings.route == "direct":
            return ""
        return f"{self.base_url}{GATEWAY_PATH}"

    async def presigner(
        self,
        user: str,
        right: Right,
        origin: str,
        *,
        object_key: str,
        lifetime: timedelta | None = None,
    ) -> Presigner:
        """Return what makes URLs for a user who reached us by ``origin``.

        They are signed by keys for ``right`` alone, where the store gives such, so
        that no header that somebody adds to a request can do more. SeaweedFS denies
        such keys every object with ``*`` in its name (4.48, tried): those URLs are
        signed by the broker, and the edge takes such headers away.
        """
        store = self.store
        key = store.key
        if store.driver is not None and not (store.embedded and "*" in object_key):
            enough = 2 * (lifetime or self.settings.url_lifetime)
            key = await self.sessions.signer(store.driver, user, right, enough)
        if self.settings.route == "direct":
            origin = store.endpoint
        return Presigner(key, self.settings.region, origin, self.prefix)

    async def settle(self, share: str) -> None:
        """End every key that rests on a share which has ended.

        Raises:
            StorageError: some may still work; the upkeep tries again.
        """
        driver = self.store.driver
        if driver is not None:
            await self.sessions.end_share(driver, share)
        await self.shares.settle(share)

    # -- rights --------------------------------------------------------------------

    async def rights(self, user: str, groups: Sequence[str]) -> list[Right]:
        """Return all that a user may, the strongest first."""
        found = site_rights(self.settings, user, groups)
        found += await self.rows.rights(user, groups)
        return found

    async def require(
        self, caller: Caller, bucket: str, prefix: str, mode: Mode
    ) -> Right:
        """Return the right by which ``caller`` may do this; make own buckets.

        Raises:
            NotThere, Forbidden: there is none.
        """
        rights = await self.rights(caller.name, sorted(caller.groups))
        right = require(rights, Grant(bucket, prefix, mode))
        await self.ensure(right)
        return right

    async def ensure(self, right: Right) -> None:
        """Make a bucket that is its user's by the settings, if it is not there."""
        if right.why not in ("own", "group") or right.bucket in self._known:
            return
        async with self._making:
            buckets = self.store.client.buckets
            if not await buckets.exists(right.bucket):
                try:
                    await buckets.create(right.bucket)
                    log.info("Created bucket %s", right.bucket)
                except Conflict:  # by another process, just now
                    if not await buckets.exists(right.bucket):
                        raise
            self._known.add(right.bucket)

    def forget(self, bucket: str) -> None:
        """Look anew whether a bucket is there."""
        self._known.discard(bucket)

    def default_bucket(self, user: str) -> str:
        """Return the bucket that belongs to a user; ``""`` if there is none."""
        return user_bucket(self.settings, user)

    # -- quota and usage -----------------------------------------------------------

    def quota(self, right: Right) -> int | None:
        """Return how many bytes its bucket may hold; ``None`` for no limit.

        Quota is the owners': a share's bucket has its owner's.
        """
        if right.why == "site":
            return None
        return self.settings.user_quota or None

    async def reserve(self, right: Right, size: int) -> None:
        """Reserve room for an upload, before it is allowed.

        Raises:
            QuotaExceeded: there is none, told in our own words.
        """
        quota = self.quota(right)
        if quota is None:
            return
        if right.bucket not in await self.rows.usage([right.bucket]):
            await self.measure(right.bucket)
        if not await self.rows.promise(right.bucket, size, quota):
            known = (await self.rows.usage([right.bucket]))[right.bucket]
            raise QuotaExceeded(
                f"Bucket {right.bucket} may hold {quota} bytes; it holds "
                f"{known.bytes} and {size} more would not fit."
            )

    async def measure(self, bucket: str) -> Measured:
        """Count what a bucket holds, page by page, and write it down."""
        began = datetime.now(UTC)
        before = (await self.rows.usage([bucket])).get(bucket)
        size, count, pages, complete = 0, 0, 0, True
        async for page in self.store.client.pages(bucket):
            size += sum(found.size for found in page.objects)
            count += len(page.objects)
            pages += 1
            if pages >= _MOST_PAGES_MEASURED:
                complete = page.token is None
                break
        known = (await self.rows.usage([bucket])).get(bucket)
        # What was promised while we counted may not have been seen.
        promised = 0
        if known is not None and before is not None:
            promised = max(0, known.promised - before.promised)
        measured = Measured(size, count, complete, began, promised)
        await self.rows.set_usage(bucket, measured)
        return measured

    async def usage_of(self, bucket: str) -> Measured:
        """Return what a bucket holds, measured lately."""
        known = (await self.rows.usage([bucket])).get(bucket)
        if known is not None and not self.is_stale(known):
            return known
        return await self.measure(bucket)

    def is_stale(self, measured: Measured) -> bool:
        """Whether it is time to measure again."""
        return datetime.now(UTC) - measured.measured > self.settings.usage_every

    def expires_in(self, lifetime: timedelta) -> datetime:
        """Return when something made now ends."""
        return datetime.now(UTC) + lifetime
