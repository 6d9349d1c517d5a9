"""The storage service itself: the store, the rights, and what both mean together.

:class:`Storage` is what every route's function gets. It holds the store's client (in
the name of the one broker key), the database, and the rules; the handlers only
translate between it and the REST API.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.common.access.people import HubDirectory
from services.common.background.tasks import Tasks
from services.common.web.auth import Caller
from services.common.web.errors import NotReady

from .access.quota import Quota
from .access.rights import Right, require, site_rights, user_bucket
from .access.sessions import Sessions
from .access.shares import Share, Shares
from .db.rows import Rows
from .db.upload_rows import UploadRows
from .drivers.driver import CredentialDriver
from .s3.client import S3Client
from .s3.errors import AccessDenied, Conflict, KeyNotValid, NotSupported, StorageError
from .s3.signing import Presigner
from .s3.values import AccessKey, Grant, Mode
from .settings import StorageSettings
from .site.connection import StoreConnection
from .site.cors import open_to
from .site.health import StoreHealth
from .site.probe import probe

log = logging.getLogger(__name__)

_LISTED = 20.0
_MOST_LISTS = 2000
GATEWAY_PATH = "s3"


class Storage:
    """What the routes' functions work with.

    Args:
        settings: the site's.
        rows: the database.
        people: the hub's word about others.
        base_url: the gateway's own path, with slashes at both ends.
        origin: scheme and authority of its pages; ``https://*.hub.example.org`` where
            the panel is shown at many hosts.
        pages: its own URL for browsers where its host is not the hub's, else ``""``.

    Attributes:
        sessions, shares, uploads, quota: see their modules.
        tasks: the long work; set once everything is there.
        fault: why the store is not there, in one line.
        unsure: buckets that were to be made, since when; no answer came.
    """

    tasks: Tasks

    def __init__(
        self,
        settings: StorageSettings,
        rows: Rows,
        people: HubDirectory,
        base_url: str = "/",
        origin: str = "",
        pages: str = "",
    ) -> None:
        self.settings = settings
        self.rows = rows
        self.people = people
        self.sessions = Sessions(rows.database)
        self.shares = Shares(rows.database)
        self.uploads = UploadRows(rows.database)
        self.quota = Quota(settings, rows, self)
        self._store_health = StoreHealth(settings.probe_bucket)
        self.base_url = base_url
        self.origin = origin
        self.pages = pages
        self.fault = "The store is being started."
        self._connection: StoreConnection | None = None
        self._connected = asyncio.Event()
        self.unsure: dict[str, datetime] = {}
        self._known: set[str] = set()
        self._looked_at: set[str] = set()
        self._lists: dict[str, tuple[AccessKey | None, float, list[Right]]] = {}
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
    def connection(self) -> StoreConnection:
        """The store.

        Raises:
            NotReady: it is not there.
        """
        if self._connection is None:
            raise NotReady(
                f"Storage is not ready: {self.fault}", hint="Try again in a minute."
            )
        return self._connection

    @property
    def client(self) -> S3Client:
        """The client that signs as the broker.

        Raises:
            NotReady: the store is not there.
        """
        return self.connection.client

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether users can work, and why not."""
        if self._connection is None:
            return False, {"store": self.fault}
        fault = await self._store_health.fault(self._connection.client)
        facts = {"store": fault or "ready", "embedded": self._connection.embedded}
        return not fault, facts

    @property
    def prefix(self) -> str:
        """The path under which browsers reach the store; ``""`` for its own host."""
        if self.settings.route == "direct":
            return ""
        return f"{self.base_url}{GATEWAY_PATH}"

    def page(self, path: str, origin: str) -> str:
        """Return the URL of a page of ours, for a browser.

        Args:
            path: below our own.
            origin: by which the caller reached us. A notebook server that asks for its
                panel gives its own, which may be another host than ours.
        """
        return (self.pages or f"{origin}{self.base_url}services/storage/") + path

    async def client_for(self, user: str) -> S3Client:
        """Return the client that acts for ``user``: the broker's, or by her own key.

        Raises:
            KeyNeeded: she has to enter one first.
        """
        store = self.connection
        if store.own_keys is None:
            return store.client
        return store.client.signed_by(await store.own_keys.key_of(user))

    async def presigner(
        self,
        user: str,
        right: Right,
        origin: str,
        *,
        object_key: str,
        lifetime: timedelta | None = None,
        writes: bool = False,
    ) -> Presigner:
        """Return what makes URLs for a user who reached us by ``origin``.

        They are signed by keys for ``right`` alone, where the store gives such, so
        that no header that somebody adds to a request can do more. SeaweedFS denies
        such keys every object with ``*`` in its name (4.48, tried): those URLs are
        signed by the broker.

        Raises:
            NotSupported: to write, by the broker's key on a store where headers that
                nobody signed would reach all that the broker may.
        """
        store = self.connection
        narrows = store.driver is not None and store.own_keys is None
        if (
            not narrows
            or store.driver is None
            or (store.embedded and "*" in object_key)
        ):
            if writes and store.own_keys is None and not store.urls_bound:
                raise NotSupported(
                    "Nothing can be uploaded by a browser here: whoever has such a URL "
                    "of this store could read everything by it.",
                    hint="The site's operators choose `credentials` in the settings.",
                )
            key = (await self.client_for(user)).transport.key
        else:
            enough = 2 * (lifetime or self.settings.url_lifetime)
            key = await self.sessions.url_key(store.driver, user, right, enough)
        if key is None:
            raise NotReady("Storage has no key to sign with.")
        if self.settings.route == "direct":
            origin = store.endpoint
        return Presigner(key, self.settings.region, origin, self.prefix)

    async def end_dependents(self, share: Share) -> None:
        """End every key that rests on a share which has ended, in its bucket.

        Raises:
            StorageError: some may still work; the upkeep tries again.
        """
        driver = self.connection.driver
        if driver is not None:
            await self.sessions.end_share(driver, share)
        await self.shares.settle(share.id)

    @property
    def _ender(self) -> CredentialDriver | None:
        """What ends keys early; ``None`` where there are none but users' own."""
        return None if self.connection.own_keys is not None else self.connection.driver

    async def settle_groups(self) -> None:
        """End what keys may by groups which their users have left.

        Raises:
            StorageError, NotReady: some may still work; the upkeep tries again.
        """
        if (driver := self._ender) is None:
            return
        by_groups = await self.sessions.by_groups()
        members = await self.people.members_of(by_groups)
        for group, users in by_groups.items():
            for user in sorted(users - members[group]):
                await self.sessions.end_membership(driver, user, group)
                log.info("Keys of %s by the group %s have ended", user, group)

    async def settle_refused(self) -> None:
        """End the keys of users whose accounts may not be used any more.

        Raises:
            StorageError, NotReady: some may still work; the upkeep tries again.
        """
        if (driver := self._ender) is None:
            return
        if not (users := await self.sessions.users()):
            return
        for user in sorted(users & await self.people.refused_accounts()):
            await self.sessions.end_user(driver, user)
            log.info("Keys of %s, whose account is refused, have ended", user)

    async def settle_accounts(self) -> None:
        """End the keys of users whose account at the hub was deleted.

        Raises:
            StorageError, NotReady: some may still work; the upkeep tries again.
        """
        if (driver := self._ender) is None:
            return
        users = await self.sessions.users()
        for user in sorted(await self.people.unknown_among(users)):
            await self.sessions.end_user(driver, user)
            log.info("Keys of %s, who has no account any more, have ended", user)

    # -- rights --------------------------------------------------------------------

    async def rights(self, user: str, groups: Sequence[str]) -> list[Right]:
        """Return all that a user may, the strongest first."""
        rights = site_rights(self.settings, user, groups)
        if not self.settings.acts_alone:
            rights += await self._listed(user)
            await self._try_store(await self.client_for(user), rights)
        rights += await self.shares.rights(user, groups)
        return rights

    async def _listed(self, user: str) -> list[Right]:
        """Return the buckets that a user's own key shows, as known for a moment."""
        client = await self.client_for(user)
        key = client.transport.key
        known = self._lists.get(user)
        if known is None or known[0] != key or time.monotonic() - known[1] > _LISTED:
            try:
                buckets = await client.buckets.list()
            except KeyNotValid:
                raise
            except AccessDenied:
                buckets = ()  # it may not list: the settings name its buckets
            rights = [Right(b.name, "", Mode.READ_WRITE, "key") for b in buckets]
            if len(self._lists) >= _MOST_LISTS:
                self._lists.clear()
            known = self._lists[user] = (key, time.monotonic(), rights)
        return list(known[2])

    async def _try_store(self, client: S3Client, rights: Sequence[Right]) -> None:
        """Try the store's ways in a user's bucket, where there is no other."""
        async with self._making:
            store = self.connection
            if store.tried:
                return
            for right in rights[:3]:
                try:
                    features = await probe(client, bucket=right.bucket)
                except StorageError as error:
                    log.info("The store cannot be tried in a bucket: %s", error)
                    continue
                own = store.client.with_dialect(features.dialect)
                self.connect(replace(store, client=own, keys=features.keys, tried=True))
                return

    async def require(
        self, caller: Caller, bucket: str, prefix: str, mode: Mode
    ) -> Right:
        """Return the right by which ``caller`` may do this; make own buckets.

        Raises:
            NotThere, Forbidden: there is none.
        """
        return await self.require_all(caller, bucket, [prefix], mode)

    async def require_all(
        self, caller: Caller, bucket: str, prefixes: Sequence[str], mode: Mode
    ) -> Right:
        """Return the right to the last of at least one prefix or key; as ``require``.

        Raises:
            NotThere, Forbidden: there is none to one of them.
        """
        rights = await self.rights(caller.name, sorted(caller.groups))
        granted = [require(rights, Grant(bucket, each, mode)) for each in prefixes]
        await self.ensure(granted[-1])
        self.quota.used(bucket)
        return granted[-1]

    async def ensure(self, right: Right) -> None:
        """Make a bucket that is its user's by the settings, if it is not there."""
        # Users' own keys make and show buckets themselves.
        if right.bucket in self._known or not self.settings.acts_alone:
            return
        buckets, direct = self.client.buckets, self.settings.route == "direct"
        if right.why not in ("own", "group"):
            if direct and right.bucket not in self._looked_at:
                self._looked_at.add(right.bucket)
                await open_to(buckets, right.bucket, self.origin, ours=False)
            return
        async with self._making:
            if not await buckets.exists(right.bucket):
                try:
                    await buckets.create(right.bucket)
                    log.info("Created bucket %s", right.bucket)
                except Conflict:  # by another process, just now
                    if not await buckets.exists(right.bucket):
                        raise
            if direct:
                await open_to(buckets, right.bucket, self.origin, ours=True)
            await self.quota.limit_at_store(right.bucket)
            self._known.add(right.bucket)

    def forget(self, bucket: str) -> None:
        """Look anew whether a bucket is there."""
        self._known.discard(bucket)
        self._lists.clear()

    def default_bucket(self, user: str) -> str:
        """Return the bucket that belongs to a user; ``""`` if there is none."""
        return user_bucket(self.settings, user)

    def expires_in(self, lifetime: timedelta) -> datetime:
        """Return when something made now ends."""
        return datetime.now(UTC) + lifetime
