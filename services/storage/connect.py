"""Gets the store up or reached, and keeps trying where it is not.

A store that is not there stops neither the service nor the hub: the service says so
(``health``, every answer, the log) and serves as soon as it is.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import stat
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from spawners.common.backoff import growing
from spawners.common.settings import ConfigError

from .drivers.brought import BroughtKeyDriver
from .drivers.driver import CredentialDriver
from .drivers.sts import StsDriver, StsSettings
from .s3.client import S3Client
from .s3.errors import StorageError
from .s3.signing import Presigner
from .s3.transport import StoreAddress
from .s3.values import AccessKey, Grant, Mode
from .service import Storage
from .settings import StorageSettings
from .site.connection import StoreConnection
from .site.cors import open_to, preflight_passes
from .site.drivers import DriverDeps, IdentityDriver, choose_driver
from .site.embedded import EmbeddedAccess, EmbeddedStore, weed_program
from .site.embedded_account import store_account
from .site.embedded_files import EmbeddedSettings
from .site.probe import probe

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Connector:
    """Owner of the way to the store.

    Args:
        storage: told when the store is there.
        directory: the embedded store's own.
        folder: where relative names in the settings start from.
        deps: what drivers of a site's store need.
        external_url: of the embedded store, as all programs of users reach it:
            through the gateway.
    """

    def __init__(
        self,
        storage: Storage,
        directory: Path,
        folder: Path,
        deps: DriverDeps,
        external_url: str = "",
    ) -> None:
        self._storage = storage
        self._settings = storage.settings
        self._directory = directory
        self._folder = folder
        self._deps = deps
        self._external_url = external_url
        self._work: asyncio.Task[None] | None = None
        self._open = AsyncExitStack()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._work = asyncio.create_task(self._connect())

    async def close(self) -> None:
        """Let go of the store; the embedded one goes on for the next process."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await self._open.aclose()

    async def _connect(self) -> None:
        for pause in growing(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            try:
                async with AsyncExitStack() as opened:
                    connection = await self._reach(opened)
                    self._open = opened.pop_all()
            except (StorageError, ConfigError, OSError) as error:
                self._storage.disconnect(str(error))
                log.warning("No store: %s", error)
            except Exception:
                self._storage.disconnect("It cannot be started; the log says why.")
                log.exception("No store")
            else:
                self._storage.connect(connection)
                log.info("Storage is ready: %s", connection.endpoint)
                return
            await asyncio.sleep(pause)

    async def _reach(self, opened: AsyncExitStack) -> StoreConnection:
        if self._settings.endpoint:
            return await self._reach_site(opened)
        account = await asyncio.to_thread(
            store_account, self._settings.account, self._directory, weed_program()
        )
        settings = EmbeddedSettings(
            self._directory,
            external_url=self._external_url,
            account=account,
            closed=bool(self._external_url),
        )
        embedded = EmbeddedStore(settings, self._moved)
        opened.push_async_callback(embedded.close)
        access = await embedded.start()
        client = self._client(opened, access.endpoint, access.key, access.socket)
        driver = None
        if self._settings.kind == "sts":
            driver = StsDriver(client, StsSettings(access.role_arn))
        return await self._tried(client, driver)

    def _moved(self, access: EmbeddedAccess) -> None:
        """Go on with the embedded store at another port.

        Who has the old client is told that nobody is there, and asks again with this.
        """
        old = self._storage.connection
        client = self._client(self._open, access.endpoint, access.key, access.socket)
        driver = old.driver
        if driver is not None:
            driver = StsDriver(client, StsSettings(access.role_arn))
        client = client.with_dialect(old.client.dialect)
        log.warning("The embedded store's port was taken: it serves another one now")
        self._storage.connect(replace(old, client=client, driver=driver))

    async def _reach_site(self, opened: AsyncExitStack) -> StoreConnection:
        settings, key = self._settings, None
        if settings.key_file:
            key = read_key_file(self._folder / settings.key_file)
        client = self._client(opened, settings.endpoint, key)
        try:
            driver = choose_driver(settings, client, self._deps)
        except ValueError as error:
            raise ConfigError(self._deps.vault_file, [f"{error}."]) from None
        if isinstance(driver, BroughtKeyDriver):
            return await self._brought(client, driver)
        return await self._tried(client, driver)

    async def _brought(
        self, client: S3Client, driver: BroughtKeyDriver
    ) -> StoreConnection:
        """Return the connection to a store to which users bring their keys."""
        connection = StoreConnection(
            client,
            client.transport.address.endpoint,
            driver,
            embedded=False,
            own_keys=driver,
        )
        if client.transport.key is None:
            return replace(connection, tried=False)
        features = await probe(client, bucket=self._settings.probe_bucket)
        client = client.with_dialect(features.dialect)
        return replace(connection, client=client, keys=features.keys)

    async def _tried(
        self, client: S3Client, driver: CredentialDriver | None
    ) -> StoreConnection:
        """Return the connection, with what the store was seen to do."""
        by_token = isinstance(driver, IdentityDriver)  # tries its first session itself
        features = await probe(
            client, None if by_token else driver, bucket=self._settings.probe_bucket
        )
        for note in features.notes:
            log.warning("The store: %s", note)
        if self._settings.route == "direct":
            await self._look_at_browsers(client, None if by_token else driver)
        if driver is not None and not (by_token or features.sessions_usable):
            log.warning("The store's sessions are not safe to hand out: none are.")
            driver = None
        embedded = not self._settings.endpoint
        endpoint = client.transport.address.endpoint
        if embedded and self._external_url:
            # Of the store's own port no program of a user's may know: whoever comes
            # first may listen there while the store is being started again.
            endpoint = self._external_url
        return StoreConnection(
            client.with_dialect(features.dialect),
            endpoint,
            driver,
            embedded=embedded,
            keys=features.keys,
            urls_bound=features.urls_bound,
            gateway=endpoint if embedded else "",
        )

    async def _look_at_browsers(
        self, client: S3Client, driver: CredentialDriver | None
    ) -> None:
        """Warn of a store that browsers cannot reach directly."""
        origin, key = self._storage.origin, client.transport.key
        if driver is not None:
            grant = Grant(self._settings.probe_bucket, "", Mode.READ_WRITE)
            key = (await driver.issue("probe", [grant])).key
        if key is None:
            return
        await open_to(client.buckets, self._settings.probe_bucket, origin, ours=True)
        address = client.transport.address
        presigner = Presigner(key, address.region, address.endpoint)
        verify = ssl.create_default_context(cafile=address.ca_file)
        if not await preflight_passes(
            presigner, self._settings.probe_bucket, origin, verify
        ):
            log.warning(
                "The store: Browsers cannot upload to it directly, its CORS refuses "
                'them; set storage.route = "gateway"'
            )

    def _client(
        self,
        opened: AsyncExitStack,
        endpoint: str,
        key: AccessKey | None,
        socket: str | None = None,
    ) -> S3Client:
        """A client that ends with ``opened``; only the embedded store has a socket."""
        settings: StorageSettings = self._settings
        ca_file = str(self._folder / settings.ca_file) if settings.ca_file else None
        address = StoreAddress(
            endpoint,
            region=settings.region,
            ca_file=ca_file,
            answer=settings.store_timeout,
            patience=settings.store_timeout,
            socket=socket,
            disk=self._directory if socket else None,
        )
        client = S3Client(address, key)
        opened.push_async_callback(client.close)
        return client


def read_key_file(path: Path) -> AccessKey:
    """Return the key in a file of two lines that only its owner may read.

    Raises:
        ConfigError: it is not there, open to others, or has no two lines.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"cannot be read: {error}."]) from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(path, ["others may read it: set its mode to 0600."])
    if len(lines) != 2:
        raise ConfigError(path, ["must have two lines: access key, secret key."])
    return AccessKey(lines[0], lines[1])
