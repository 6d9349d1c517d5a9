"""What a notebook server does for its kernels from time to time."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from spawners.common.backoff import pause

from .idle import IdleRule
from .kernel import LandbridgeServerKernelManager
from .manager import LandbridgeMappingKernelManager
from .usage import EVERY, UsageReport

log = logging.getLogger(__name__)

_LAST_REPORT_SECONDS = 3.0
_STEP_SECONDS = 10.0


class Chores:
    """Looks for idle kernels, and tells the hub what kernels use.

    Args:
        kernels: the server's.
        usage: tells the hub.
    """

    def __init__(
        self, kernels: LandbridgeMappingKernelManager, usage: UsageReport
    ) -> None:
        self._kernels = kernels
        self._usage = usage
        self._idle = IdleRule(kernels.kernel_settings)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """Begin, on the server's loop."""
        self._task = asyncio.ensure_future(self._run())
        # A server that is stopped may not tell any more: its token ends first.
        self._kernels.at_a_start = self._wake.set

    async def close(self) -> None:
        """Report once more, and stop."""
        if self._task is not None:
            self._task.cancel()
        self._usage.note(self._jobs())
        try:
            async with asyncio.timeout(_LAST_REPORT_SECONDS):
                await self._usage.send()
        except TimeoutError:
            log.info("The hub did not hear the last word on kernels")

    def _jobs(self) -> list[LandbridgeServerKernelManager]:
        return [
            kernel
            for kernel_id in self._kernels.list_kernel_ids()
            if (kernel := self._kernels.job(kernel_id)) is not None
        ]

    async def _run(self) -> None:
        report_at = look_at = monotonic()
        every = self._idle.every
        period = min(_STEP_SECONDS, every.total_seconds() if every else _STEP_SECONDS)
        while True:
            await pause(period, self._wake)
            try:
                if every is not None and monotonic() >= look_at:
                    look_at = monotonic() + every.total_seconds()
                    await self._idle.look(self._jobs())
                # A start and an end are told at once.
                if self._usage.note(self._jobs()) or monotonic() >= report_at:
                    report_at = monotonic() + EVERY.total_seconds()
                    await self._usage.send()
            except Exception:
                log.exception("The kernels could not be looked after")
