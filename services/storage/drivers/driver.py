"""Short-lived keys for users: what a driver does, and the choice of one.

::

    driver: CredentialDriver = StsDriver(client, StsSettings(role_arn=…))
    session = await driver.issue("alice", [Grant("alice", "in/", Mode.READ_WRITE)])
    await driver.revoke(session)       # effective at once, verified
    await driver.tidy()                # forget what has expired

Drivers: :mod:`.sts` (AssumeRole with a session policy; web identity),
:mod:`.admin_users` (users of an admin API, with expiry and a reaper) and
:mod:`.brought` (a key that the user brought). ``issue`` is called by the
service after it has checked that the user may have the grants: a driver narrows, it
does not decide.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from ..s3.values import Grant, Session

LIFETIME = timedelta(hours=1)
"""Of a session. With 15 minutes or less botocore fetches keys at every request."""
SHORTEST = timedelta(seconds=900)
LONGEST = timedelta(hours=12)


class CredentialDriver(Protocol):
    """One way of getting keys that end."""

    @property
    def name(self) -> str:
        """``sts``, ``web-identity``, ``keys`` or ``pasted``."""

    @property
    def by_bucket(self) -> bool:
        """Whether :meth:`revoke` ends a session in the buckets of its grants only."""

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return new keys for exactly ``grants``.

        Raises:
            GrantRefused: the store cannot express them.
            StorageError: the store refuses, or cannot be reached.
        """

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Make keys useless now; returns when the store was seen to hold it.

        Args:
            session: the keys, or what is remembered of them.
            own: their user's own wish, which leaves room for the ends of shares where
                a store can hold only so many.

        Raises:
            StorageError: they may still work.
        """

    async def escapes(self, session: Session) -> bool:
        """Try whether a session can make itself more than it was granted.

        Called by the probe. On Ceph RGW 16.2 a session may assume the role again,
        without a policy, unless the role's trust denies the role itself.
        """

    async def tidy(self) -> int:
        """Remove from the store what has expired; return how many."""


def new_tag() -> str:
    """Return what tells one session from all others: 16 hex digits."""
    return secrets.token_hex(8)


def check_lifetime(lifetime: timedelta) -> int:
    """Return ``lifetime`` in seconds.

    Raises:
        ValueError: not between :data:`SHORTEST` and :data:`LONGEST`.
    """
    if not SHORTEST <= lifetime <= LONGEST:
        raise ValueError(f"a session lives {SHORTEST} to {LONGEST}, not {lifetime}")
    return int(lifetime.total_seconds())
