"""What a store's sessions can do, found by trying one: a part of the probe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass

from ..drivers.driver import CredentialDriver
from ..s3.client import S3Client
from ..s3.errors import AccessDenied, GrantRefused, StorageError
from ..s3.transport import S3Request
from ..s3.values import Grant, Mode

log = logging.getLogger(__name__)

_REVOKED_WITHIN_SECONDS = 2.0


@dataclass
class SessionsSeen:
    """What was seen; see :class:`~.probe.StoreFeatures`."""

    given: bool = False
    narrow: bool = False
    no_escape: bool = False
    acl: bool = False
    revoked: bool = False
    single_deletes: bool = False


async def try_sessions(
    client: S3Client, driver: CredentialDriver, bucket: str, root: str
) -> tuple[SessionsSeen, list[str]]:
    """Return what a session of ``driver`` does, and what an operator should know.

    Args:
        client: signed by the broker.
        driver: gives the session.
        bucket: where it is tried; it is left as it was.
        root: what all names of the trial begin with.
    """
    trial = _Trial(client, bucket, root)
    return await trial.run(driver), trial.notes


class _Trial:
    def __init__(self, client: S3Client, bucket: str, root: str) -> None:
        self._client = client
        self._bucket = bucket
        self._root = root
        self.notes: list[str] = []

    async def run(self, driver: CredentialDriver) -> SessionsSeen:
        """Take a session for one folder, leave the folder, publish, get revoked."""
        seen = SessionsSeen()
        inside, outside = f"{self._root}/in/", f"{self._root}/out"
        await self._client.put(self._bucket, outside, b"secret")
        try:
            grant = Grant(self._bucket, inside, Mode.READ_WRITE)
            session = await driver.issue("probe", [grant])
            narrowed = self._client.signed_by(session.key)
            await narrowed.put(self._bucket, f"{inside}a", b"a")
            seen.given = True
            seen.narrow = await _refused(narrowed.get(self._bucket, outside))
            seen.narrow &= await _refused(narrowed.put(self._bucket, outside, b"!"))
            seen.narrow &= await _refused(narrowed.list(self._bucket))
            seen.no_escape = not await driver.escapes(session)
            seen.single_deletes = bool(
                await narrowed.delete_many(self._bucket, [f"{inside}a"])
            )
            seen.acl = await self._acl_closed(narrowed, f"{inside}public")
            await driver.revoke(session)
            seen.revoked = await self._refused_soon(narrowed, f"{inside}a")
        except (StorageError, GrantRefused) as error:
            self.notes.append(f"sessions: {error}")
        finally:
            for key in (outside, f"{inside}a", f"{inside}public"):
                await self._drop(key)
        if seen.given and not seen.narrow:
            self.notes.append("Its sessions reach more than they were granted.")
        if seen.given and not seen.no_escape:
            self.notes.append(
                "Its sessions can get themselves wider keys: deny the role itself in "
                "the role's trust policy."
            )
        if seen.given and not seen.acl:
            self.notes.append("Its sessions can publish objects by an ACL.")
        if seen.single_deletes:
            self.notes.append("Its sessions may not delete many objects at once.")
        if seen.given and not seen.revoked:
            self.notes.append("Its sessions cannot be ended before their time.")
        return seen

    async def _acl_closed(self, narrowed: S3Client, key: str) -> bool:
        headers = {"x-amz-acl": "public-read"}
        call = S3Request(
            "PUT", self._bucket, key, headers=headers, body=b"p", what="try an ACL"
        )
        try:
            await narrowed.transport.ask(call)
        except StorageError:
            return True
        anonymous = self._client.signed_by(None)
        return await _refused(anonymous.get(self._bucket, key))

    async def _refused_soon(self, narrowed: S3Client, key: str) -> bool:
        """Once refused is enough: some stores take a moment to know."""
        deadline = time.monotonic() + _REVOKED_WITHIN_SECONDS
        pause = 0.01
        while not await _refused(narrowed.get(self._bucket, key)):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(pause)
            pause *= 2
        return True

    async def _drop(self, key: str) -> None:
        try:
            await self._client.delete(self._bucket, key)
        except StorageError as error:
            log.debug("Cannot delete the trial %r: %s", key, error)


async def _refused(request: Awaitable[object]) -> bool:
    try:
        await request
    except AccessDenied:
        return True
    return False
