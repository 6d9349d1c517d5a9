"""What the package of kernels in jobs adds to a notebook server, where it is installed.

It is found by its entry points, and nothing of it is imported by name: this extension
works without it, and either can be rebuilt without the other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, cast  # what jupyter_server passes untyped

log = logging.getLogger(__name__)

GROUP = "landbridge.notebook"
"""The entry points that a package gives its parts for notebook servers by."""

_SWITCH = "LANDBRIDGE_KERNEL_CONFIG"


class JobSource(Protocol):
    """One kind of what "My jobs" lists."""

    kind: str

    async def list(self) -> list[dict[str, Any]]:
        """Return its entries, newest last."""

    async def end(self, job_id: str) -> bool:
        """End one; False if there is none of that id."""


class KernelJobs(Protocol):
    """``kernel-jobs``: kernels as batch jobs, a module."""

    def link(self, server_app: Any) -> bool:
        """Choose classes before the server makes its parts."""

    def load(self, server_app: Any) -> list[JobSource]:
        """Add routes; return what "My jobs" lists."""


class KernelKeys(Protocol):
    """``kernel-keys``: storage keys for kernels in jobs, a module."""

    KeyOffer: Callable[..., Any]
    """Takes ``here``, ``elsewhere``, ``ours``, ``process``, ``answer``, ``ended``."""

    def offer(self, keys: Any) -> None:
        """Give the keys of a ``KeyOffer`` to kernels that start from now on."""


def kernel_jobs(environment: Mapping[str, str] = os.environ) -> KernelJobs | None:
    """Return what makes kernels batch jobs; ``None`` where they are none.

    The server is told by a variable that they may be, and its environment has the
    package.
    """
    if not environment.get(_SWITCH):
        return None
    part = _part("kernel-jobs")
    if part is None:
        log.warning("%s is set, and nothing here makes kernels batch jobs", _SWITCH)
    return cast("KernelJobs | None", part)


def kernel_keys() -> KernelKeys | None:
    """Return what hands keys on to kernels in jobs; ``None`` without the package."""
    return cast("KernelKeys | None", _part("kernel-keys"))


def _part(name: str) -> Any:
    parts = tuple(entry_points(group=GROUP, name=name))
    return parts[0].load() if parts else None
