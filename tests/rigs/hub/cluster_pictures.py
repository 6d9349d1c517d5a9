"""Clusters as the watcher would have read them, for the tests of pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition, UserLimits

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GIB = 1024**3

CPU = Partition(
    "cpu",
    default=True,
    max_time=timedelta(days=1),
    nodes=2,
    idle_nodes=1,
    cpus=128,
    idle_cpus=64,
    max_cpus_per_node=64,
    max_memory_per_node=256 * GIB,
)
GPU = Partition(
    "gpu",
    max_time=timedelta(hours=4),
    nodes=2,
    idle_nodes=0,
    cpus=64,
    idle_cpus=8,
    max_cpus_per_node=32,
    max_memory_per_node=512 * GIB,
    gpus=(GpuPool("a100", 8, 3, 4), GpuPool("l40", 2, 0, 2)),
)
STAFF = Partition(
    "staff", nodes=1, idle_nodes=1, cpus=8, allow_accounts=frozenset({"staff"})
)
CLOSED = Partition("closed", up=False, nodes=1, cpus=8)
LIMITS = UserLimits(
    accounts={"proj": frozenset({"normal", "long"}), "other": frozenset({"normal"})},
    default_account="proj",
    max_jobs=3,
    max_gpus={"proj": 6},
)


def picture(*partitions: Partition) -> ClusterSnapshot:
    """A cluster of these partitions."""
    return ClusterSnapshot(NOW, partitions, {})
