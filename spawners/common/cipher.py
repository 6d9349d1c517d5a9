"""Authenticated encryption of what a database keeps: one cipher for all of ours.

Fernet (AES-128-CBC, HMAC-SHA256), as JupyterHub encrypts with itself. Each purpose has
a key of its own, derived from a secret of 32 random bytes or more: what was encrypted
for one cannot be passed off as another's.

To change the secret, put the new one first and keep the old one behind it until
nothing that it encrypted is needed any more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class CannotDecrypt(Exception):
    """It was not encrypted with any of these secrets for this purpose, or changed."""


class Cipher:
    """Encrypts small values for one purpose.

    Args:
        secrets: the first encrypts, all decrypt.
        purpose: what the values are, e.g. ``"launch"``.
    """

    def __init__(self, secrets: Sequence[bytes], purpose: str) -> None:
        prefix = f"landbridge {purpose}\0".encode()
        keys = [hashlib.sha256(prefix + secret).digest() for secret in secrets]
        self._box = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def encrypt(self, data: bytes) -> str:
        """Return ASCII text that only these secrets open."""
        return self._box.encrypt(data).decode("ascii")

    def decrypt(self, text: str) -> bytes:
        """Return what was encrypted.

        Raises:
            CannotDecrypt: not with these secrets, or it was changed.
        """
        try:
            return self._box.decrypt(text.encode())
        except InvalidToken:
            raise CannotDecrypt("no secret of ours opens it") from None
