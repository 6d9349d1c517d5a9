"""What of a profile's choices makes sense on the cluster as it is. Pure.

A choice that is left out of a page is not forbidden: what is asked for is checked
against the profile, and by the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any  # JSON

from spawners.batch.scheduler import ClusterSnapshot, Partition, UserLimits

from .profiles import Profile

Json = dict[str, Any]


def offered_choices(
    profile: Profile, snapshot: ClusterSnapshot | None, limits: UserLimits | None
) -> Json:
    """Return ``profile.choices.to_json()`` without what there is no choice of.

    Args:
        profile: says what may be chosen.
        snapshot: the cluster, if known.
        limits: the user's, if known.
    """
    choices = profile.choices.to_json()
    partitions = [one for one in snapshot.partitions if one.up] if snapshot else []
    if partitions:
        _bound(choices, "gpus", partitions, _gpus)
        _bound(choices, "cpus", partitions, lambda one: one.max_cpus_per_node)
        _bound(choices, "memory", partitions, lambda one: one.max_memory_per_node)
        times = [one.max_time for one in partitions if one.max_time is not None]
        if len(times) == len(partitions):
            longest = round(max(times).total_seconds())
            _bound(choices, "time_limit", partitions, lambda _: longest)
        _name(choices, "partition", [one.name for one in partitions])
        if not any(_gpus(one) for one in partitions):
            choices.pop("gpus", None)
            choices.pop("gpu_model", None)
    if limits is not None:
        _name(choices, "account", limits.accounts)
        _name(choices, "qos", frozenset().union(*limits.accounts.values()))
    return choices


def _gpus(partition: Partition) -> int:
    return max((pool.per_node for pool in partition.gpus if pool.total), default=0)


def _bound(
    choices: Json,
    name: str,
    partitions: Iterable[Partition],
    most: Callable[[Partition], int],
) -> None:
    """Offer no more of a thing than one node has."""
    bounds, found = choices.get(name), max(map(most, partitions))
    if bounds is not None and bounds["min"] <= found < bounds["max"]:
        choices[name] = {**bounds, "max": found}


def _name(choices: Json, name: str, known: Iterable[str]) -> None:
    """Offer the names that there are, where these are more than one."""
    names = sorted(known)
    if choices.get(name) == {"any": True}:
        if len(names) > 1:
            choices[name] = {"values": names}
        else:
            del choices[name]
