"""The site's profiles as kernelspecs.

Beside each kernel that is there, ``NAME.lb.PROFILE`` runs the same in a job with the
resources of a profile, and ``NAME.lb.choose`` lets its user choose first. A kernel's
own file says nothing of it; a notebook remembers the name as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

from spawners.common.text import clean_line, duration_in_words
from spawners.profiles.profiles import Profile

PROVISIONER = "landbridge-batch"
MARK = ".lb."
CHOOSE = "choose"
_LOCAL = "local-provisioner"


class Offer(Protocol):
    """Who knows what may be had."""

    def profiles(self) -> Sequence[Profile]:
        """Return what this user is offered now."""


class LandbridgeKernelSpecManager(KernelSpecManager):
    """Lists every kernel once as it is, and once for each profile."""

    #: Set by the extension.
    offer: Offer | None = None

    def find_kernel_specs(self) -> dict[str, str]:
        """Return names and directories, those of profiles included."""
        real: dict[str, str] = super().find_kernel_specs()
        found = dict(real)
        for name, directory in real.items():
            for suffix in self._suffixes(name, directory):
                found[f"{name}{MARK}{suffix}"] = directory
        return found

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec; that of a profile asks for our provisioner.

        Raises:
            NoSuchKernel: there is no such kernel, or no such profile for this user.
        """
        base, mark, suffix = kernel_name.partition(MARK)
        spec = super().get_kernel_spec(base)
        if not mark:
            return spec
        profile = next((p for p in self._profiles() if p.key == suffix), None)
        if not _is_plain(spec) or (profile is None and suffix != CHOOSE):
            raise NoSuchKernel(kernel_name)
        ours: dict[str, Any] = {"choose": True} if suffix == CHOOSE else {}
        config = {}
        label = "choose resources…"
        if profile is not None and suffix != CHOOSE:
            ours, config = {"profile": profile.key}, {"profile": profile.key}
            label = _label(profile)
        spec.display_name = f"{spec.display_name} · {label}"
        spec.metadata = {
            **spec.metadata,
            "landbridge": ours,
            "kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config},
        }
        return spec

    def _suffixes(self, name: str, directory: str) -> list[str]:
        try:
            spec = self._get_kernel_spec_by_name(name, directory)
        except Exception:  # noqa: BLE001 - anybody's file; the base tells of it
            return []
        if not _is_plain(spec):
            return []
        return [*(p.key for p in self._profiles() if p.key != CHOOSE), CHOOSE]

    def _profiles(self) -> Sequence[Profile]:
        return () if self.offer is None else self.offer.profiles()


def _is_plain(spec: KernelSpec) -> bool:
    """Tell a kernel that would run beside the server from one with other plans."""
    asked = spec.metadata.get("kernel_provisioner", {})
    name = asked.get("provisioner_name", _LOCAL) if isinstance(asked, dict) else ""
    return bool(name == _LOCAL)


def is_job(spec: KernelSpec | None) -> bool:
    """Tell whether a kernelspec's kernels run as jobs."""
    asked = {} if spec is None else spec.metadata.get("kernel_provisioner", {})
    return isinstance(asked, dict) and asked.get("provisioner_name") == PROVISIONER


def _label(profile: Profile) -> str:
    limit = profile.resources.time_limit
    words = [clean_line(profile.title)]
    if limit is not None:
        words.append(duration_in_words(limit))
    return " · ".join(words)
