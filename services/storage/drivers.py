"""The choice of the one driver that makes keys for users, by the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .credentials import LIFETIME, CredentialDriver
from .drivers_keys import IamUsers, KeysDriver, RgwUsers
from .drivers_pasted import PastedDriver, SealedKeys, Vault
from .drivers_sts import StsDriver, StsSettings, WebIdentityDriver
from .errors import AccessDenied, GrantRefused
from .objects import Grant, Session
from .s3 import S3Client
from .settings import StorageSettings


@dataclass(frozen=True, slots=True)
class Means:
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
    settings: StorageSettings, client: S3Client, means: Means
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
            return IdentityDriver(driver, client, means.identity_token)
        case "keys" if settings.admin_api == "rgw":
            return KeysDriver(client, RgwUsers(client))
        case "keys":
            return KeysDriver(client, IamUsers(client))
        case "pasted":
            return PastedDriver(client, Vault(means.vault_file), means.sealed)
        case "none":
            return None


class IdentityDriver:
    """Sessions by each user's own token, which the hub keeps.

    The probe has no such token, so the first session is tried before any is given
    out: it must not reach a bucket beside its grants, nor assume the role anew.

    Args:
        driver: asks the store.
        client: signs as the broker.
        identity_token: returns the newest token of a user.
    """

    name = "web-identity"

    def __init__(
        self,
        driver: WebIdentityDriver,
        client: S3Client,
        identity_token: Callable[[str], Awaitable[str]],
    ) -> None:
        self._driver = driver
        self._client = client
        self._identity_token = identity_token
        self._trying = asyncio.Lock()
        self._tried = False

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return a session for ``grants``, at most what the role gives the token.

        Raises:
            KeyNeeded: the user has to sign in at the identity provider anew.
        """
        token = await self._identity_token(user)
        session = await self._driver.issue(user, token, grants, lifetime)
        async with self._trying:
            if not self._tried:
                await self._try(session)
                self._tried = True
        return session

    async def revoke(self, session: Session) -> None:
        """Deny the session in each of its buckets; read back."""
        await self._driver.revoke(session)

    async def escapes(self, session: Session) -> bool:
        """Whether the session may assume its role again, and so be all of it."""
        return await self._driver.escapes(session)

    async def tidy(self) -> int:
        """Drop the denials of sessions that have expired, in all buckets."""
        return await self._driver.tidy()

    async def _try(self, session: Session) -> None:
        narrowed = self._client.signed_by(session.key)
        granted = {grant.bucket for grant in session.grants}
        others = [b.name for b in await self._client.buckets.list()]
        for bucket in [name for name in others if name not in granted][:1]:
            try:
                await narrowed.list(bucket, limit=1)
            except AccessDenied:
                continue
            raise GrantRefused(
                "The store's sessions reach more than they were granted.",
                hint="Tell the gateway's operators: no keys are given out.",
            )
        if await self.escapes(session):
            raise GrantRefused(
                "The store's sessions can get themselves wider keys.",
                hint="An operator must deny the role itself in its trust policy.",
            )
