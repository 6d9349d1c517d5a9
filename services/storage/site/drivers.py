"""The choice of the one driver that makes keys for users, by the settings."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from ..drivers.admin_users import AdminUsersDriver, IamUsers, RgwUsers
from ..drivers.brought import BroughtKeyDriver, SealedKeys, Vault
from ..drivers.driver import LIFETIME, CredentialDriver
from ..drivers.identity import forgeries
from ..drivers.sts import StsDriver, StsSettings, WebIdentityDriver
from ..s3.client import S3Client
from ..s3.errors import AccessDenied, GrantRefused, RequestRefused
from ..s3.values import Grant, Mode, Session
from ..settings import StorageSettings
from .probe import doubts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DriverDeps:
    """What drivers need besides the store.

    Attributes:
        vault_file: the key under which users' own keys are kept.
        sealed: where those lie.
        identity_token: returns the identity provider's newest token of a user.
    """

    vault_file: Path
    sealed: SealedKeys
    identity_token: Callable[[str], Awaitable[str]]


def choose_driver(
    settings: StorageSettings, client: S3Client, deps: DriverDeps
) -> CredentialDriver | None:
    """Return the driver of a site's store; ``None`` if programs get no keys.

    Raises:
        PermissionError, ValueError: the vault's file is open to others, or none.
    """
    role = StsSettings(settings.role_arn, settings.session_lifetime)
    match settings.kind:
        case "sts":
            return StsDriver(client, role)
        case "web-identity":
            driver = WebIdentityDriver(client, role)
            tokens, bucket = deps.identity_token, settings.probe_bucket
            return IdentityDriver(driver, client, tokens, bucket)
        case "keys" if settings.admin_api == "rgw":
            return AdminUsersDriver(client, RgwUsers(client))
        case "keys":
            return AdminUsersDriver(client, IamUsers(client))
        case "pasted":
            return BroughtKeyDriver(client, Vault(deps.vault_file), deps.sealed)
        case "none":
            return None


class IdentityDriver:
    """Sessions by each user's own token, which the hub keeps.

    The probe has no such token, so the first that comes is used to try the store
    before any session is given out: it must refuse forged tokens, and sessions must
    be as narrow as the probe wants them.

    Args:
        driver: asks the store.
        client: signs as the broker.
        identity_token: returns the newest token of a user.
        bucket: in which the store may be tried.
    """

    name = "web-identity"
    by_bucket = True

    def __init__(
        self,
        driver: WebIdentityDriver,
        client: S3Client,
        identity_token: Callable[[str], Awaitable[str]],
        bucket: str,
    ) -> None:
        self._driver = driver
        self._client = client
        self._identity_token = identity_token
        self._bucket = bucket
        self._trying = asyncio.Lock()
        self._tried = False

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return a session for ``grants``, at most what the role gives the token.

        Raises:
            KeyNeeded: the user has to sign in at the identity provider anew.
            GrantRefused: the store's sessions are not safe to hand out.
        """
        token = await self._identity_token(user)
        session = await self._driver.issue(user, token, grants, lifetime)
        async with self._trying:
            if not self._tried:
                await self._try(token)
                self._tried = True
        return session

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Deny the session in each of its buckets; read back."""
        await self._driver.revoke(session, own=own)

    async def escapes(self, session: Session) -> bool:
        """Whether the session may assume its role again, and so be all of it."""
        return await self._driver.escapes(session)

    async def tidy(self) -> int:
        """Drop the denials of sessions that have expired, in all buckets."""
        return await self._driver.tidy()

    async def _try(self, token: str) -> None:
        for forged in forgeries(token):
            if await self._takes(forged):
                self._refuse("It takes tokens that the identity provider never signed.")
        driver = _OneToken(self._driver, token)
        doubt = await doubts(self._client, driver, self._bucket)
        if doubt:
            self._refuse(doubt)
        await self._look_at_owner(driver)

    async def _look_at_owner(self, driver: CredentialDriver) -> None:
        """Warn where objects belong to the session that wrote them, as on Ceph."""
        key = f"probe-{secrets.token_hex(6)}"
        session = await driver.issue(
            "probe", [Grant(self._bucket, key, Mode.READ_WRITE)]
        )
        await self._client.signed_by(session.key).put(self._bucket, key, b"a")
        try:
            await self._client.get(self._bucket, key)
        except AccessDenied:
            log.warning(
                "The store: The gateway's account may not read what users write, so "
                "that copies and looks at objects will fail; the guide on storage "
                "names the policy that it needs."
            )
        finally:
            await self._client.delete(self._bucket, key)

    async def _takes(self, token: str) -> bool:
        try:
            await self._driver.issue("probe", token, [Grant(self._bucket)])
        except (AccessDenied, RequestRefused):
            return False
        return True

    def _refuse(self, why: str) -> NoReturn:
        log.error("The store's sessions are not safe to hand out: %s", why)
        raise GrantRefused(
            f"The store's keys are not safe to hand out, so there are none. {why}",
            hint="Tell the gateway's operators.",
        )


@dataclass(frozen=True, slots=True)
class _OneToken:
    """A driver for the trial alone: everybody's token is the same."""

    driver: WebIdentityDriver
    token: str
    name: str = "web-identity"
    by_bucket: bool = True

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        return await self.driver.issue(user, self.token, grants, lifetime)

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        await self.driver.revoke(session, own=own)

    async def escapes(self, session: Session) -> bool:
        return await self.driver.escapes(session)

    async def tidy(self) -> int:
        return 0
