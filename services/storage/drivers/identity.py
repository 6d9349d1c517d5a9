"""The identity provider's token of a user, as the hub keeps it from the sign-in."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable

from services.common.access.people import HubDirectory

from ..s3.errors import KeyNeeded

_AT_LEAST_SECONDS = 30
_HINT = "Sign out of the gateway and in again."


def identity_tokens(people: HubDirectory) -> Callable[[str], Awaitable[str]]:
    """Return what gives a user's ID token (a JWT) that is still good.

    It raises ``KeyNeeded`` where the hub has none, or only one that has expired.
    """

    async def newest(user: str) -> str:
        state = await people.sign_in_of(user)
        token = (state or {}).get("id_token")
        if not isinstance(token, str) or not token:
            raise KeyNeeded(
                "The gateway has no token of your identity provider.", hint=_HINT
            )
        if expiry(token) - time.time() < _AT_LEAST_SECONDS:
            raise KeyNeeded(
                "Your sign-in at the identity provider has expired.", hint=_HINT
            )
        return token

    return newest


def forgeries(token: str) -> list[str]:
    """Return two tokens that claim the same as a JWT and that its issuer never signed.

    The first says itself that it is not signed, which Ceph RGW was known to accept
    (CVE-2024-48916); the second bears the signature of other bytes.
    """
    _, _, rest = token.partition(".")
    claims, _, signature = rest.partition(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode()
    half = len(signature) // 2
    swapped = signature[half:] + signature[:half]
    return [
        f"{unsigned.rstrip('=')}.{claims}.",
        f"{token.removesuffix(signature)}{swapped}",
    ]


def expiry(token: str) -> float:
    """Return when a JWT expires, in seconds since 1970; 0 if it does not say.

    Only to say so in time: whether it is genuine, the store finds out.
    """
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return float(claims["exp"])
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError):
        return 0.0
