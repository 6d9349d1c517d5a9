"""Would it start now? A judgement from the last snapshot, never from a command.

The snapshot is some seconds old and others submit too, so the words are careful:
"should start now", never "will".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, GpuPool, Partition
from spawners.common.text import count_in_words, duration_in_words


@dataclass(frozen=True, slots=True)
class Availability:
    """What a page says of one choice.

    Attributes:
        text: a few words.
        tone: ``good`` (free now), ``wait``, ``bad`` (cannot run) or ``""`` (unknown).
    """

    text: str
    tone: str = ""

    @property
    def starts_now(self) -> bool:
        """Whether the snapshot has room for it."""
        return self.tone == "good"


def availability(
    resources: Resources, snapshot: ClusterSnapshot | None
) -> Availability:
    """Return whether these resources are free, as far as the snapshot tells."""
    if snapshot is None:
        return Availability("The scheduler has not answered yet")
    partition = snapshot.partition(resources.partition)
    if partition is None:
        if resources.partition is None:
            return Availability("The scheduler chooses the partition")
        return Availability(f"There is no partition {resources.partition}", "bad")
    if not partition.up:
        return Availability(f"Partition {partition.name} is closed now", "bad")
    if not partition.nodes:
        return Availability(f"No node of partition {partition.name} is up", "wait")
    if resources.gpus:
        return _gpus(resources, partition)
    return _cpus(resources, partition)


def _gpus(resources: Resources, partition: Partition) -> Availability:
    pools = [
        pool
        for pool in partition.gpus
        if resources.gpu_model in (None, pool.model) and pool.total
    ]
    model = f"{resources.gpu_model} " if resources.gpu_model else ""
    if not pools:
        return Availability(f"No {model}GPU in partition {partition.name}", "bad")
    wanted = resources.gpus * resources.nodes
    most = max(pool.idle for pool in pools)
    idle = sum(pool.idle for pool in pools)
    if most < wanted:
        idle_gpus = count_in_words(idle, f"{model}GPU") if idle else f"no {model}GPU"
        return Availability(f"Waits: {idle_gpus} idle", "wait")
    if not _has_cpus(resources, partition):
        cores = count_in_words(partition.idle_cpus, "core")
        return Availability(f"Waits: {cores} idle beside the GPUs", "wait")
    return Availability(f"Free now: {count_in_words(idle, f'{model}GPU')} idle", "good")


def _cpus(resources: Resources, partition: Partition) -> Availability:
    if _has_cpus(resources, partition):
        return Availability("Free now", "good")
    cores = count_in_words(partition.idle_cpus, "core")
    return Availability(f"Waits: {cores} idle", "wait")


def _has_cpus(resources: Resources, partition: Partition) -> bool:
    return partition.idle_cpus >= resources.cpus * resources.nodes


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One partition in the table of what is free: texts, and a meter's percentage."""

    name: str
    up: bool
    gpus: str
    cpus: str
    cpu_percent: int
    nodes: str
    max_time: str


def may_use(partition: Partition, accounts: Collection[str]) -> bool:
    """Whether one of these accounts may use a partition; without any, everybody may."""
    if not accounts:
        return True
    mine = set(accounts) - partition.deny_accounts
    allowed = partition.allow_accounts
    return bool(mine if allowed is None else mine & allowed)


def cluster_rows(
    partitions: Iterable[Partition], accounts: Collection[str] = ()
) -> list[ClusterRow]:
    """Return the table's rows: partitions that these accounts may use, open ones first.

    A partition without a live node counts as closed.
    """
    rows = [
        ClusterRow(
            name=partition.name,
            up=partition.up and partition.nodes > 0,
            gpus=", ".join(map(_pool_in_short, partition.gpus)) or "none",
            cpus=f"{partition.idle_cpus:,} of {partition.cpus:,}",
            cpu_percent=round(100 * partition.idle_cpus / partition.cpus)
            if partition.cpus
            else 0,
            nodes=f"{partition.idle_nodes:,} of {partition.nodes:,}",
            max_time=duration_in_words(partition.max_time)
            if partition.max_time
            else "no limit",
        )
        for partition in partitions
        if may_use(partition, accounts)
    ]
    return sorted(rows, key=lambda row: not row.up)


def _pool_in_short(pool: GpuPool) -> str:
    return f"{pool.model or 'GPU'}: {pool.idle} of {pool.total}"


def pool_in_words(pool: GpuPool) -> str:
    """Return ``"a100: 3 of 8 idle"``."""
    return f"{pool.model or 'GPU'}: {pool.idle} of {pool.total} idle"


def age_in_words(seconds: float) -> str:
    """Return how old a reading is: ``"Read just now"``, ``"Read 40 s ago"``."""
    if seconds < 5:
        return "Read just now"
    if seconds < 120:
        return f"Read {int(seconds)} s ago"
    return f"Read {int(seconds // 60)} min ago: the scheduler is slow or away"
