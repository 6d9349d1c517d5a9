"""What a notebook server does for its kernels from time to time."""

from __future__ import annotations

import asyncio
import logging

from .idle import IdleRule
from .kernel import LandbridgeServerKernelManager
from .manager import LandbridgeMappingKernelManager

log = logging.getLogger(__name__)

_FIRST_LOOK_SECONDS = 10.0


class Chores:
    """Looks for idle kernels.

    Args:
        kernels: the server's.
    """

    def __init__(self, kernels: LandbridgeMappingKernelManager) -> None:
        self._kernels = kernels
        self._idle = IdleRule(kernels.kernel_settings)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin, on the server's loop."""
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()

    def _jobs(self) -> list[LandbridgeServerKernelManager]:
        return [
            kernel
            for kernel_id in self._kernels.list_kernel_ids()
            if (kernel := self._kernels.job(kernel_id)) is not None
        ]

    async def _run(self) -> None:
        every = self._idle.every
        if every is None:
            return
        seconds = min(_FIRST_LOOK_SECONDS, every.total_seconds())
        while True:
            await asyncio.sleep(seconds)
            seconds = every.total_seconds()
            try:
                await self._idle.look(self._jobs())
            except Exception:
                log.exception("The kernels could not be looked after")
