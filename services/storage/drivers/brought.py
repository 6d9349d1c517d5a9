"""Keys that users bring: kept encrypted, lent whole.

For stores where only a portal gives out keys. Whatever the service does for a user it
then does by her own key. Such a key cannot be narrowed, so what is lent to programs is
all that it may do, and only the portal can end it; the service says so.

At rest a key is AES-256-GCM under a key file of mode 0600, and bound to its user: a
row that is moved to another user does not open.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spawners.common.files import write_private
from spawners.common.ownership import read_own

from ..s3.client import S3Client
from ..s3.errors import (
    AccessDenied,
    KeyNeeded,
    KeyNotValid,
    NotFound,
    NotSupported,
    StorageError,
)
from ..s3.values import AccessKey, Grant, Session
from .driver import LIFETIME, new_tag
from .policies import session_name

_NONCE_BYTES = 12
_KEY_BYTES = 32
_FORMAT = b"\x01"


class SealedKeys(Protocol):
    """Where the encrypted keys lie, by user; the service's database."""

    async def get(self, user: str) -> bytes | None:
        """Return what :meth:`set` kept."""

    async def set(self, user: str, sealed: bytes) -> None:
        """Keep it in place of an earlier one."""

    async def remove(self, user: str) -> None:
        """Forget it."""


class Vault:
    """Encrypts keys for one user each.

    Args:
        key_file: made with mode 0600 if it is not there.

    Raises:
        PermissionError: others may read the file.
        ValueError: it is no key file.
    """

    def __init__(self, key_file: Path) -> None:
        self._cipher = AESGCM(_read_key(key_file))

    def seal(self, user: str, key: AccessKey) -> bytes:
        """Return ``key``, encrypted for ``user``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = json.dumps([key.access_key, key.secret_key, key.token]).encode()
        return (
            _FORMAT
            + nonce
            + self._cipher.encrypt(nonce, plain, _FORMAT + user.encode())
        )

    def open(self, user: str, sealed: bytes) -> AccessKey:
        """Return the key that was sealed for ``user``.

        Raises:
            StorageError: sealed for somebody else, by another file, or damaged.
        """
        nonce, text = sealed[1 : _NONCE_BYTES + 1], sealed[_NONCE_BYTES + 1 :]
        try:
            plain = self._cipher.decrypt(nonce, text, sealed[:1] + user.encode())
        except (InvalidTag, ValueError):
            raise StorageError(
                "The stored key cannot be opened.", hint="Enter your key again."
            ) from None
        access_key, secret_key, token = json.loads(plain)
        return AccessKey(access_key, secret_key, token)


class BroughtKeyDriver:
    """Lends users the keys that they brought.

    Args:
        client: any client of the store, for its connections.
        vault: opens the keys.
        sealed: where they are.
    """

    name = "pasted"
    by_bucket = False

    def __init__(self, client: S3Client, vault: Vault, sealed: SealedKeys) -> None:
        self._client = client
        self._vault = vault
        self._sealed = sealed

    async def accept(self, user: str, key: AccessKey, buckets: Sequence[str]) -> None:
        """Keep ``key`` for ``user``, once the store has taken it.

        Args:
            user: whose it is.
            key: the key.
            buckets: what it may list, where it may not list buckets.

        Raises:
            KeyNotValid: the store does not know it, or it may do nothing here.
        """
        if not await self._taken(key, buckets):
            raise KeyNotValid(
                "The store does not take this key.",
                hint="Look in the store's portal whether it is right and still good.",
            )
        await self._sealed.set(user, self._vault.seal(user, key))

    async def _taken(self, key: AccessKey, buckets: Sequence[str]) -> bool:
        # Ceph RGW 16.2 says AccessDenied for wrong secrets and unknown keys, too.
        client = self._client.signed_by(key)
        try:
            await client.buckets.list()
        except AccessDenied:
            for bucket in buckets:
                try:
                    await client.list(bucket, limit=1)
                except (AccessDenied, NotFound):
                    continue
                return True
            return False
        return True

    async def forget(self, user: str) -> None:
        """Keep no key of ``user`` any more; it goes on to work elsewhere."""
        await self._sealed.remove(user)

    async def key_of(self, user: str) -> AccessKey:
        """Return the key that ``user`` entered.

        Raises:
            KeyNeeded: there is none.
            StorageError: it cannot be opened any more.
        """
        sealed = await self._sealed.get(user)
        if sealed is None:
            raise KeyNeeded("You have not entered a key for this store.")
        return self._vault.open(user, sealed)

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return the user's own key; neither grants nor lifetime narrow it.

        Its ``expires`` is only when a program should ask again.
        """
        key = await self.key_of(user)
        name = session_name(user, new_tag())
        again = datetime.now(UTC) + lifetime
        return Session(name, self.name, key, tuple(grants), key.access_key, again)

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Refuse: what was lent is the user's own key.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "These are your own keys, which only the store's portal can end.",
            hint="Remove your key here, and no program is given it any more.",
        )

    async def escapes(self, session: Session) -> bool:
        """It is the user's whole key: there is nothing to escape from."""
        return False

    async def tidy(self) -> int:
        """Nothing expires here."""
        return 0


def _read_key(path: Path) -> bytes:
    with suppress(FileExistsError):
        write_private(path, secrets.token_bytes(_KEY_BYTES))
    key = read_own(path)
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} is no key file: {len(key)} bytes")
    return key
