"""What the routes say about kernels, as JSON. Pure.

Times are ISO 8601 in UTC, durations seconds, memory bytes; ``None`` is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any  # JSON

from spawners.batch.explain.amounts import resources_in_words
from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, UserLimits
from spawners.common.text import iso
from spawners.profiles.bounds import offered_choices
from spawners.profiles.profiles import Profile

from ..status import KernelStatus
from .kernel import KernelPhase, LandbridgeServerKernelManager

Json = dict[str, Any]
GpuUse = Mapping[str, int]

_STATES = {"intent": "submitting", "lost": "running", "ended": "dead"}


def resources_view(resources: Resources) -> Json:
    """Return what a job asked for, and the same in words."""
    limit = resources.time_limit
    return {
        "summary": resources_in_words(resources),
        "cpus": resources.cpus,
        "memory": resources.memory,
        "gpus": resources.gpus,
        "gpu_model": resources.gpu_model,
        "nodes": resources.nodes,
        "time_limit": None if limit is None else round(limit.total_seconds()),
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
    }


def kernel_state(kernel: LandbridgeServerKernelManager) -> str:
    """Return one word of the routes' contract."""
    if not kernel.in_job:
        return "local"
    if kernel.phase is KernelPhase.DEAD:
        return "dead"
    if kernel.phase is KernelPhase.GONE or (
        kernel.shutting_down and not kernel.has_kernel
    ):
        return "ending"
    status = kernel.status
    if status is None:
        return "starting" if kernel.adopted else "submitting"
    if status.phase == "ended" and kernel.phase is KernelPhase.STARTING:
        return "starting"  # dead only once it can be said why
    return _STATES.get(status.phase, status.phase)


def kernel_view(kernel: LandbridgeServerKernelManager, now: datetime) -> Json:
    """Return all that the browser shows of a kernel."""
    status, state = kernel.status, kernel_state(kernel)
    reading = None if status is None else status.reading
    failure = kernel.failure or (None if status is None else status.failure)
    queued = state == "queued" and reading is not None
    resources = kernel.last_resources if status is None else status.resources
    job = None if status is None or status.job is None else status.job.id
    return {
        "state": state,
        "message": _message(kernel, status, state),
        "queue_place": reading.queue_place if queued and reading else None,
        "estimated_start": iso(reading.estimated_start) if queued and reading else None,
        "node": _node(status),
        "job_id": job or kernel.lost_job_id or None,
        "ends_at": iso(reading.ends) if reading and state != "dead" else None,
        "now": iso(now),
        "resources": None if resources is None else resources_view(resources),
        "failure": None if failure is None else asdict(failure),
        "keep": kernel.kept,
        "keep_until": iso(kernel.pinned_until) if kernel.kept else None,
        "keep_hours": kernel.kernel_settings.keep_limit.total_seconds() / 3600,
        "warned": iso(status.warned) if status is not None else None,
        "notes": [] if status is None else list(status.notes),
        "idle": {"warning": kernel.idle_warning},
    }


def _message(
    kernel: LandbridgeServerKernelManager, status: KernelStatus | None, state: str
) -> str:
    if kernel.failure is not None:
        return kernel.failure.title
    if state == "submitting":
        return "Submitting the job"
    if status is None:
        if not kernel.current:
            return "Waiting for the gateway's jobs service to tell of this kernel"
        return "Looking for the kernel" if kernel.adopted else ""
    if status.phase == "lost":
        return "Nothing is heard of the kernel's node at the moment"
    return status.words


def _node(status: KernelStatus | None) -> str | None:
    if status is None:
        return None
    return status.host or (status.reading.nodes[0] if status.reading.nodes else None)


def gpus_view(snapshot: ClusterSnapshot | None) -> list[Json]:
    """Return the cluster's GPUs by model and partition."""
    if snapshot is None:
        return []
    return [
        {
            "model": pool.model,
            "idle": pool.idle,
            "total": pool.total,
            "per_node": pool.per_node,
            "partition": partition.name,
        }
        for partition in snapshot.partitions
        if partition.up
        for pool in partition.gpus
    ]


def options_view(
    snapshot: ClusterSnapshot | None,
    limits: UserLimits | None,
    profiles: Iterable[Profile],
    dialog: Profile | None,
) -> Json:
    """Return what the dialog offers.

    Args:
        snapshot: the cluster, if known.
        limits: the user's, if known.
        profiles: those open to the user.
        dialog: the one in which most may be chosen.
    """
    age = None
    if snapshot is not None:
        age = round((datetime.now(UTC) - snapshot.taken_at).total_seconds(), 1)
    return {
        "age": age,
        "gpus": gpus_view(snapshot),
        "partitions": [
            {
                "name": partition.name,
                "default": partition.default,
                "idle_cpus": partition.idle_cpus,
                "cpus": partition.cpus,
                "max_cpus_per_node": partition.max_cpus_per_node,
                "max_memory_per_node": partition.max_memory_per_node,
                "max_time": None
                if partition.max_time is None
                else round(partition.max_time.total_seconds()),
            }
            for partition in (snapshot.partitions if snapshot is not None else ())
            if partition.up
        ],
        "accounts": [] if limits is None else sorted(limits.accounts),
        "choices": {} if dialog is None else offered_choices(dialog, snapshot, limits),
        "profiles": [
            {
                "key": profile.key,
                "title": profile.title,
                "summary": resources_in_words(profile.resources.to_resources()),
                "choices": profile.choices.to_json(),
            }
            for profile in profiles
        ],
        "defaults": {}
        if dialog is None
        else {
            "profile": dialog.key,
            **resources_view(dialog.resources.to_resources()),
        },
    }
