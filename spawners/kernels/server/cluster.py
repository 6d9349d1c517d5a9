"""What this server's user may have now: profiles, the cluster, and limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from spawners.batch.scheduler import ClusterSnapshot, UserLimits
from spawners.common.errors import GatewayError
from spawners.profiles.profiles import Profile, Resolved

from ..context import KernelContext
from ..tunnel import on_near_loop

log = logging.getLogger(__name__)

_LIMITS_AGE = timedelta(minutes=5)
_ASK_SECONDS = 10.0


class SiteOffer:
    """Answers at once from what was last read.

    Args:
        context: the kernels'.
    """

    def __init__(self, context: KernelContext) -> None:
        self._context = context
        self._limits: UserLimits | None = None
        self._limits_read: datetime | None = None
        self.snapshot: ClusterSnapshot | None = None

    def profiles(self) -> Sequence[Profile]:
        """Return what this user is offered, as far as the cluster is known."""
        settings = self._context.settings
        return self._context.profiles.for_user(
            settings.groups, admin=settings.admin, snapshot=self.snapshot
        )

    def dialog(self) -> Profile | None:
        """Return the profile in which most may be chosen, the first of equals."""
        offered = self.profiles()
        if not offered:
            return None
        return max(offered, key=lambda profile: len(profile.choices.to_json()))

    def resolve(self, options: object) -> Resolved:
        """Return what a choice comes to.

        Raises:
            InvalidSpec: naming the field, and what is allowed.
        """
        settings = self._context.settings
        if isinstance(options, dict) and "profile" not in options:
            dialog = self.dialog()
            options = {**options, "profile": None if dialog is None else dialog.key}
        return self._context.profiles.resolve(
            options,
            groups=settings.groups,
            admin=settings.admin,
            snapshot=self.snapshot,
        )

    async def refresh(self) -> None:
        """Read the cluster anew if what is known is old; keep it if that fails."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                self.snapshot = await on_near_loop(self._context.snapshot())
        except (GatewayError, TimeoutError) as error:
            log.warning("The cluster cannot be read: %s", error)

    async def limits(self) -> UserLimits | None:
        """Return the user's limits as last read, ``None`` if never."""
        now = datetime.now(UTC)
        if self._limits_read is None or now - self._limits_read > _LIMITS_AGE:
            self._limits_read = now
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    self._limits = await on_near_loop(self._context.limits())
            except (GatewayError, TimeoutError) as error:
                log.warning("The limits cannot be read: %s", error)
        return self._limits
