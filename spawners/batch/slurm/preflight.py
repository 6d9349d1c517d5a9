"""Requests that sbatch would accept and Slurm then never start, refused in words.

Seen on Slurm 22.05.8 with its default ``EnforcePartLimits=NO``: a time limit over
the partition's, a closed partition, an account that the partition does not allow
and more cores, GPUs or nodes than there are all sit in the queue for ever. Pure
functions over a snapshot; a fact that the snapshot lacks refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from spawners.common.text import duration_in_words, size_in_words

from ..errors import SubmitRejected
from ..models import Resources
from ..scheduler import ClusterSnapshot, Partition, UserLimits


def check(resources: Resources, cluster: ClusterSnapshot, limits: UserLimits) -> None:
    """Refuse what can never run.

    Raises:
        SubmitRejected: with the field to blame and what is allowed.
    """
    account = _check_account(resources, limits)
    partition = _partition(resources.partition, cluster)
    _check_partition(resources, partition, account, cluster)
    _check_group_limit(resources, account, limits)
    _check_longest(resources, account, limits)


def _partition(name: str | None, cluster: ClusterSnapshot) -> Partition:
    partition = cluster.partition(name)
    if partition is not None:
        return partition
    raise SubmitRejected(
        f"There is no partition {name}." if name else "No partition was chosen.",
        field="partition",
        hint=f"There are: {_list(p.name for p in cluster.partitions)}.",
    )


def _check_account(resources: Resources, limits: UserLimits) -> str | None:
    """Check account and QoS; return the account that will pay, if known."""
    account = resources.account or limits.default_account
    if not limits.accounts:
        return account
    if account is not None and account not in limits.accounts:
        raise SubmitRejected(
            f"You may not use the account {account}.",
            field="account",
            hint=f"You may use: {_list(limits.accounts)}.",
        )
    allowed = limits.accounts.get(account or "", frozenset())
    if resources.qos and allowed and resources.qos not in allowed:
        raise SubmitRejected(
            f"You may not use the QoS {resources.qos} with the account {account}.",
            field="qos",
            hint=f"You may use: {_list(allowed)}.",
        )
    return account


def _check_partition(
    resources: Resources,
    partition: Partition,
    account: str | None,
    cluster: ClusterSnapshot,
) -> None:
    name = partition.name
    if not partition.up:
        open_ones = _list(p.name for p in cluster.partitions if p.up)
        raise SubmitRejected(
            f"The partition {name} is closed.",
            field="partition",
            hint=f"Open now: {open_ones}.",
        )
    allowed = partition.allow_accounts
    if account and (
        (allowed is not None and account not in allowed)
        or account in partition.deny_accounts
    ):
        raise SubmitRejected(
            f"The account {account} may not use the partition {name}.",
            field="account",
            hint=f"It allows: {_list(allowed)}." if allowed else "Choose another one.",
        )
    allowed = partition.allow_qos
    if resources.qos and allowed is not None and resources.qos not in allowed:
        raise SubmitRejected(
            f"The QoS {resources.qos} may not use the partition {name}.",
            field="qos",
            hint=f"It allows: {_list(allowed)}.",
        )
    limit, most = resources.time_limit, partition.max_time
    if limit is not None and most is not None and limit > most:
        raise SubmitRejected(
            f"The partition {name} allows no time limit of {duration_in_words(limit)}.",
            field="time_limit",
            hint=f"Ask for at most {duration_in_words(most)}.",
        )
    _check_size(resources, partition)
    _check_gpus(resources, partition)


def _check_size(resources: Resources, partition: Partition) -> None:
    most = partition.max_cpus_per_node
    if most and resources.cpus > most:
        raise SubmitRejected(
            f"No node of the partition {partition.name} has {resources.cpus} cores.",
            field="cpus",
            hint=f"Ask for at most {most}.",
        )
    most = partition.max_memory_per_node
    if most and resources.memory is not None and resources.memory > most:
        raise SubmitRejected(
            f"No node of the partition {partition.name} has "
            f"{size_in_words(resources.memory)} of memory.",
            field="memory",
            hint=f"Ask for at most {size_in_words(most, 'down')}.",
        )
    most = partition.max_nodes or resources.nodes
    if resources.nodes > most:
        raise SubmitRejected(
            f"The partition {partition.name} gives one job no {resources.nodes} nodes.",
            field="nodes",
            hint=f"Ask for at most {most}.",
        )


def _check_gpus(resources: Resources, partition: Partition) -> None:
    if not resources.gpus:
        return
    pools = partition.gpus
    if not pools:
        raise SubmitRejected(
            f"The partition {partition.name} has no GPUs.",
            field="gpus",
            hint="Choose a partition with GPUs.",
        )
    model = resources.gpu_model
    if model is not None:
        pools = tuple(pool for pool in pools if pool.model in (model, ""))
    if not pools:
        raise SubmitRejected(
            f"The partition {partition.name} has no {model} GPUs.",
            field="gpu_model",
            hint=f"It has: {_list(pool.model for pool in partition.gpus)}.",
        )
    most = max(pool.per_node for pool in pools)
    if resources.gpus > most:
        raise SubmitRejected(
            f"No node of the partition {partition.name} has {resources.gpus} "
            f"{model + ' ' if model else ''}GPUs.",
            field="gpus",
            hint=f"Ask for at most {most} on each node.",
        )


def _check_group_limit(
    resources: Resources, account: str | None, limits: UserLimits
) -> None:
    most = (limits.max_gpus or {}).get(account or "")
    asked = resources.gpus * resources.nodes
    if most is not None and asked > most:
        raise SubmitRejected(
            f"{asked} GPUs are more than the account {account} may ever use at once.",
            field="gpus",
            hint=f"Ask for at most {most}.",
        )


def _check_longest(
    resources: Resources, account: str | None, limits: UserLimits
) -> None:
    """The time limits of account and QoS; the default QoS is not known here."""
    owners = (
        (f"the account {account}", (limits.max_time or {}).get(account or "")),
        (
            f"the QoS {resources.qos}",
            (limits.max_time_qos or {}).get(resources.qos or ""),
        ),
    )
    for owner, most in owners:
        limit = resources.time_limit
        if limit is not None and most is not None and limit > most:
            raise SubmitRejected(
                f"{duration_in_words(limit)} is longer than {owner} may use.",
                field="time_limit",
                hint=f"Ask for at most {duration_in_words(most)}.",
            )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
