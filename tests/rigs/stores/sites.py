"""Real stores for tests, and the one way to talk about either."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from services.storage.drivers.admin_users import AdminUsersDriver, IamUsers, RgwUsers
from services.storage.drivers.driver import CredentialDriver
from services.storage.drivers.sts import StsDriver, StsSettings
from services.storage.s3.client import S3Client
from services.storage.s3.transport import StoreAddress
from services.storage.s3.values import AccessKey
from services.storage.site.embedded import EmbeddedAccess, EmbeddedStore
from services.storage.site.embedded_files import EmbeddedSettings
from services.storage.site.probe import StoreFeatures

Result = TypeVar("Result")


class WeedRig:
    """An embedded store supervised by a loop of its own, for a whole session."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self.settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.store = EmbeddedStore(settings)

    @property
    def access(self) -> EmbeddedAccess:
        return self.store.access

    def up(self) -> EmbeddedAccess:
        self._thread.start()
        return self.run(self.store.start())

    def down(self) -> None:
        self.run(self.store.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(90)


@dataclass(frozen=True)
class StoreFacts:
    """What is known of a running store, once per session."""

    name: str
    endpoint: str
    key: AccessKey
    role_arn: str
    features: StoreFeatures
    directory: Path


class Site:
    """A store within one test: a client, drivers, and buckets of its own."""

    def __init__(self, facts: StoreFacts) -> None:
        self.facts = facts
        self.name = facts.name
        self.features = facts.features
        self.address = StoreAddress(facts.endpoint)
        self.client = S3Client(self.address, facts.key, dialect=facts.features.dialect)
        self.sts = StsDriver(self.client, StsSettings(facts.role_arn))

    def driver(self, kind: str) -> CredentialDriver:
        if kind == "sts":
            return self.sts
        users = IamUsers if self.name == "seaweedfs" else RgwUsers
        return AdminUsersDriver(self.client, users(self.client))

    async def bucket(self, name: str = "bucket") -> str:
        """Make a bucket that no other test uses."""
        unique = f"{name}-{secrets.token_hex(6)}"
        await self.client.buckets.create(unique)
        return unique

    async def close(self) -> None:
        await self.client.close()
