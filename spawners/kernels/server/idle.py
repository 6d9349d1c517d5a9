"""Ends kernels that hold resources and use them for nothing.

A kernel is idle while it executes nothing and, where its node tells, no GPU of its
job computes anything. Its user is warned first, and may keep it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spawners.batch.explain.failure import Failure
from spawners.common.text import clean_line, duration_in_words

from ..settings import KernelSettings
from .jobs import gpu_use
from .kernel import KernelPhase, LandbridgeServerKernelManager

log = logging.getLogger(__name__)

GpuUse = Sequence[Mapping[str, int]] | None
AskGpus = Callable[[LandbridgeServerKernelManager], Awaitable[GpuUse]]


@dataclass(slots=True)
class _Seen:
    active: datetime
    executed: datetime
    warned: datetime | None = None


class IdleRule:
    """Looks at the kernels from time to time.

    Args:
        settings: the limits.
        ask_gpus: tells what a kernel's GPUs do.
        clock: aware UTC, for the tests.
    """

    def __init__(
        self,
        settings: KernelSettings,
        ask_gpus: AskGpus = gpu_use,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._ask_gpus = ask_gpus
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    @property
    def every(self) -> timedelta | None:
        """Time between two looks; ``None`` if there is nothing to look for."""
        limits = [
            limit
            for limit in (self._settings.idle_after, self._settings.idle_after_cpu)
            if limit is not None
        ]
        if not limits:
            return None
        return min(timedelta(minutes=1), min(limits) / 10, self._warning(min(limits)))

    async def look(self, kernels: Sequence[LandbridgeServerKernelManager]) -> None:
        """Warn and end what is idle.

        Args:
            kernels: all that are jobs; what is not among them is forgotten.
        """
        ids = {str(kernel.kernel_id) for kernel in kernels}
        self._seen = {key: seen for key, seen in self._seen.items() if key in ids}
        for kernel in kernels:
            await self._look_at(kernel)

    async def _look_at(self, kernel: LandbridgeServerKernelManager) -> None:
        status, now = kernel.status, self._clock()
        limit = None
        if status is not None:
            has_gpus = bool(status.resources.gpus)
            settings = self._settings
            limit = settings.idle_after if has_gpus else settings.idle_after_cpu
        seen = self._seen.setdefault(str(kernel.kernel_id), _Seen(now, now))
        if limit is None or await self._is_active(kernel, seen):
            seen.active, seen.warned = now, None
            kernel.idle_warning = None
            return
        idle, warning = now - seen.active, self._warning(limit)
        if idle < limit - warning:
            return
        if seen.warned is None:
            seen.warned = now
            kernel.idle_warning = (
                f"This kernel has computed nothing for {_words(idle)}. It will be "
                f"ended in {_words(warning)} unless it is used or kept."
            )
            log.info("Kernel %s is idle and will be ended", kernel.kernel_id)
        elif now - seen.warned >= warning:
            await self._end(kernel, idle)

    def _warning(self, limit: timedelta) -> timedelta:
        return min(self._settings.idle_warning, limit / 2)

    async def _is_active(
        self, kernel: LandbridgeServerKernelManager, seen: _Seen
    ) -> bool:
        status = kernel.status
        if kernel.phase is not KernelPhase.RUNNING or kernel.kept:
            return True
        if status is None or status.phase != "running":
            return True  # nothing is heard of it: nothing is known
        last, seen.executed = seen.executed, kernel.last_activity
        if kernel.execution_state != "idle" or kernel.last_activity > last:
            return True
        use = await self._ask_gpus(kernel) if status.resources.gpus else None
        busy = self._settings.idle_gpu_percent
        return any(gpu["utilization"] > busy for gpu in use or ())

    async def _end(
        self, kernel: LandbridgeServerKernelManager, idle: timedelta
    ) -> None:
        title = clean_line(str(kernel.kernel_name))
        log.info("Kernel %s (%s) is ended as idle", kernel.kernel_id, title)
        why = Failure(
            "Ended because it was idle",
            f"The kernel computed nothing for {_words(idle)}, and others wait for "
            "what it held.",
            "Restart the kernel to get it again; choose Keep if it shall stay.",
        )
        await kernel.end_job(why)


def _words(span: timedelta) -> str:
    return duration_in_words(timedelta(seconds=max(1, round(span.total_seconds()))))
