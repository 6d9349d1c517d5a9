"""The kernels' part of the list "My jobs"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any  # JSON

from spawners.common.text import clean_line

from ..errors import KernelJobError
from .kernel import KernelPhase, LandbridgeServerKernelManager
from .manager import LandbridgeMappingKernelManager
from .views import Json, kernel_state, kernel_view


class KernelJobs:
    """Lists and ends kernels that are jobs.

    Args:
        kernels: the server's.
        sessions: the server's, which know a kernel's document.
    """

    kind = "kernel"

    def __init__(self, kernels: LandbridgeMappingKernelManager, sessions: Any) -> None:
        self._kernels = kernels
        self._sessions = sessions

    async def list(self) -> list[Json]:
        """Return one entry per kernel that is a job."""
        jobs = [
            kernel
            for kernel_id in list(self._kernels.list_kernel_ids())
            if (kernel := self._kernels.job(kernel_id)) is not None
        ]
        titles = await self._titles() if jobs else {}
        now = datetime.now(UTC)
        return [await _entry(kernel, titles, now) for kernel in jobs]

    async def end(self, kernel_id: str) -> bool:
        """End a kernel; False if there is none of that id."""
        if self._kernels.job(kernel_id) is None:
            return False
        await self._kernels.shutdown_kernel(kernel_id)
        return True

    async def _titles(self) -> Mapping[str, str]:
        sessions = await self._sessions.list_sessions()
        return {
            session["kernel"]["id"]: clean_line(str(session["path"] or ""), 200)
            for session in sessions
        }


async def _entry(
    kernel: LandbridgeServerKernelManager, titles: Mapping[str, str], now: datetime
) -> Json:
    view, status = kernel_view(kernel, now), kernel.status
    left = None if status is None else status.reading.time_left(now)
    spec = kernel.kernel_name
    resources = view["resources"]
    return {
        "kind": KernelJobs.kind,
        "id": kernel.kernel_id,
        "title": titles.get(str(kernel.kernel_id)) or spec,
        "state": view["state"],
        "message": view["message"],
        "node": view["node"],
        "job_id": view["job_id"],
        "time_left": None if left is None else round(left.total_seconds()),
        "resources": "" if resources is None else resources["summary"],
        "gpu_use": await gpu_use(kernel),
        "can_end": True,
        "keep_until": view["keep_until"],
        "keep_hours": view["keep_hours"] if view["state"] == "running" else None,
    }


async def gpu_use(
    kernel: LandbridgeServerKernelManager,
) -> Sequence[Mapping[str, int]] | None:
    """Return the use of a kernel's GPUs, ``None`` where that is not known."""
    status, batch = kernel.status, kernel.batch
    if (
        batch is None
        or status is None
        or not status.resources.gpus
        or kernel.phase is not KernelPhase.RUNNING
        or kernel_state(kernel) != "running"
    ):
        return None
    try:
        return await batch.gpu_use()
    except KernelJobError:
        return None
