"""What Slurm says about itself, its partitions and nodes, as values. No I/O.

Sources, recorded from Slurm 22.05.8 in ``tests/rigs/slurm/recorded``:
``sinfo --Node`` (one line for each node in each partition) and ``scontrol show
partition``. A line that does not fit hides its node or partition, not the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..errors import SchedulerUnavailable
from ..scheduler import ClusterSnapshot, GpuPool, Partition
from .lines import TEXT, lines_of, odd_answer
from .notation import parse_duration, suffixed

_MIB = 1024**2
_NODE = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]{1,255})\|(?P<address>[A-Za-z0-9_.:-]{1,255})\|"
    r"(?P<state>[a-z_+]{1,60})(?P<flags>[*~#!%$@^-]{0,4})\|"
    r"(?P<cpus>[0-9]{1,9}/[0-9]{1,9}/[0-9]{1,9}/[0-9]{1,9})\|(?P<memory>[0-9]{1,12})\|"
    r"(?P<gres>[^|]*)\|(?P<used>[^|]*)\|(?P<partition>[^|]{1,255})\|"
)
_PAIR = re.compile(r"([A-Za-z]+)=(\S*)")
_GRES = re.compile(
    r"gpu(?::(?P<model>[^:()]+|\(null\)))?:(?P<count>[0-9]{1,6})(?:\(.*\))?"
)

# First words of sinfo's long states whose nodes run jobs; "idle+drain" is none.
_UP = frozenset({"idle", "mixed", "allocated", "completing", "planned", "reserved"})
_TAKES_JOBS = frozenset({"idle", "mixed", "allocated"})
# Suffixes: not responding, powering down, in maintenance, about to reboot.
_NOT_UP = frozenset("*$")
_TAKES_NONE = frozenset("%!@^-")

NODE_FIELDS = (
    "NodeList",
    "NodeAddr",
    "StateLong",
    "CPUsState",
    "Memory",
    "Gres",
    "GresUsed",
    "Partition",
)
_SETTING = re.compile(rf"([A-Za-z_]+(?:\[[0-9]+\])?) *= ?({TEXT})")


@dataclass(frozen=True, slots=True)
class Node:
    """One node in one partition.

    Attributes:
        name, address: the latter answers on the network.
        up: it runs jobs.  takes_jobs: it starts new ones.
        cpus, idle_cpus: cores.
        memory: bytes.
        gpus, used_gpus: by model, ``""`` for no model.
        partition: one that it belongs to.
    """

    name: str
    address: str
    up: bool
    takes_jobs: bool
    cpus: int
    idle_cpus: int
    memory: int
    gpus: Mapping[str, int]
    used_gpus: Mapping[str, int]
    partition: str


def parse_nodes(output: bytes) -> list[Node]:
    """Read ``sinfo --Node --Format`` with ``NODE_FIELDS``.

    Raises:
        SchedulerUnavailable: it is cut off, or no line fits.
    """
    nodes: list[Node] = []
    lines = lines_of(output)
    for line in lines:
        found = _NODE.fullmatch(line)
        if found is None:
            continue
        flags = set(found["flags"])
        up = found["state"] in _UP and not flags & _NOT_UP
        takes_jobs = found["state"] in _TAKES_JOBS and up and not flags & _TAKES_NONE
        _, idle, _, total = (int(count) for count in found["cpus"].split("/"))
        nodes.append(
            Node(
                name=found["name"],
                address=found["address"],
                up=up,
                takes_jobs=takes_jobs,
                cpus=total,
                idle_cpus=idle,
                memory=int(found["memory"]) * _MIB,
                gpus=parse_gres(found["gres"]),
                used_gpus=parse_gres(found["used"]),
                partition=found["partition"].removesuffix("*"),
            )
        )
    if lines and not nodes:
        raise SchedulerUnavailable("sinfo's answer does not fit.")
    return nodes


def parse_gres(text: str) -> dict[str, int]:
    """Return GPUs by model of ``gpu:a100:4(S:0-1),gpu:2,shard:8``; others are left out.

    The model is whatever stands there (``1g.5gb`` for a MIG slice), ``""`` if
    nothing does.
    """
    gpus: dict[str, int] = {}
    for item in re.split(r",(?![^(]*\))", text):
        if found := _GRES.fullmatch(item.strip()):
            model = (found["model"] or "").removeprefix("(null)")
            gpus[model] = gpus.get(model, 0) + int(found["count"])
    return gpus


def parse_partitions(output: bytes) -> list[dict[str, str]]:
    """Read ``scontrol --oneliner show partition`` into its words.

    Raises:
        SchedulerUnavailable: it is cut off, or no line has name, state and limit.
    """
    described = [dict(_PAIR.findall(line)) for line in lines_of(output)]
    needed = {"PartitionName", "State", "MaxTime"}
    partitions = [words for words in described if needed <= words.keys()]
    if not partitions:
        raise SchedulerUnavailable("scontrol names no partition.")
    return partitions


def snapshot(partitions: bytes, nodes: bytes, taken_at: datetime) -> ClusterSnapshot:
    """Put the two answers together.

    Raises:
        SchedulerUnavailable: one of them cannot be read.
    """
    members: dict[str, list[Node]] = {}
    addresses: dict[str, str] = {}
    read, found = parse_nodes(nodes), parse_partitions(partitions)
    for node in read:
        members.setdefault(node.partition, []).append(node)
        addresses[node.name] = node.address
    described = [
        _partition(words, members.get(words["PartitionName"], [])) for words in found
    ]
    described.sort(key=lambda partition: not partition.default)
    lines = len(lines_of(nodes)) + len(lines_of(partitions))
    left_out = lines - len(read) - len(found)
    return ClusterSnapshot(taken_at, tuple(described), addresses, left_out)


def _partition(words: Mapping[str, str], nodes: list[Node]) -> Partition:
    up = [node for node in nodes if node.up]
    ready = [node for node in up if node.takes_jobs]
    cores = max((node.cpus for node in nodes), default=0)
    memory = max((node.memory for node in nodes), default=0)
    max_memory = number_of(words.get("MaxMemPerNode"))
    # A partition without a limit gives one job as many nodes as it has.
    members = number_of(words.get("TotalNodes"))
    max_nodes = number_of(words.get("MaxNodes")) or members
    if max_nodes and members:
        max_nodes = min(max_nodes, members)
    return Partition(
        name=words["PartitionName"],
        up=words["State"] == "UP",
        default=words.get("Default") == "YES",
        max_time=parse_duration(words["MaxTime"]),
        default_time=parse_duration(words.get("DefaultTime", "")),
        nodes=len(up),
        idle_nodes=sum(node.idle_cpus == node.cpus for node in ready),
        cpus=sum(node.cpus for node in up),
        idle_cpus=sum(node.idle_cpus for node in ready),
        max_cpus_per_node=min(cores, number_of(words.get("MaxCPUsPerNode")) or cores),
        max_memory_per_node=min(memory, (max_memory or memory) * _MIB),
        max_nodes=max_nodes,
        gpus=tuple(_pools(nodes)),
        allow_accounts=_names(words.get("AllowAccounts")),
        deny_accounts=_names(words.get("DenyAccounts")) or frozenset(),
        allow_qos=_names(words.get("AllowQos")),
        allow_groups=_names(words.get("AllowGroups")),
    )


@dataclass(slots=True)
class _Count:
    total: int = 0
    idle: int = 0
    per_node: int = 0


def _pools(nodes: Iterable[Node]) -> list[GpuPool]:
    counts: dict[str, _Count] = {}
    for node in nodes:
        for model, number in node.gpus.items():
            count = counts.setdefault(model, _Count())
            count.per_node = max(count.per_node, number)
            if node.up:
                count.total += number
            if node.takes_jobs:
                count.idle += max(0, number - node.used_gpus.get(model, 0))
    return [
        GpuPool(model, count.total, count.idle, count.per_node)
        for model, count in sorted(counts.items())
    ]


def number_of(text: str | None) -> int | None:
    """Return a whole number; ``None`` for ``UNLIMITED``, nothing and all else."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


def _names(text: str | None) -> frozenset[str] | None:
    if text in (None, "", "ALL", "(null)", "N/A"):
        return None
    return frozenset(str(text).split(","))


def config_argv() -> list[str]:
    """Return the command that prints the controller's configuration."""
    return ["scontrol", "show", "config"]


def partitions_argv() -> list[str]:
    """Return the command that prints one line for each partition."""
    return ["scontrol", "--all", "--oneliner", "show", "partition"]


def nodes_argv() -> list[str]:
    """Return the command that prints one line for each node in each partition."""
    fields = suffixed(NODE_FIELDS)
    return ["sinfo", "--noheader", "--Node", "--all", f"--Format={fields}"]


@dataclass(frozen=True, slots=True)
class SlurmConfig:
    """What matters here of ``scontrol show config``.

    Attributes:
        version, cluster: of the controller.
        hides_jobs: users see their own jobs only (``PrivateData=jobs``).
        accounting: there is an accounting to ask about the past.
        enforces: words of ``AccountingStorageEnforce``.
    """

    version: str
    cluster: str
    hides_jobs: bool
    accounting: bool
    enforces: frozenset[str]

    @property
    def enforces_accounts(self) -> bool:
        """True if a job without an association is refused."""
        return bool(self.enforces & {"associations", "limits", "qos", "safe", "all"})


def parse_config(output: bytes) -> SlurmConfig:
    """Read ``scontrol show config``."""
    settings: dict[str, str] = {}
    for line in lines_of(output):
        if found := _SETTING.fullmatch(line):
            settings.setdefault(found[1], found[2].strip())
    try:
        cluster, version = settings["ClusterName"], settings["SLURM_VERSION"]
        storage = settings["AccountingStorageType"]
    except KeyError as error:
        raise odd_answer(f"about the configuration lacks {error}") from error
    return SlurmConfig(
        version=version,
        cluster=cluster,
        hides_jobs="jobs" in settings.get("PrivateData", "").split(","),
        accounting=storage not in ("", "(null)", "accounting_storage/none"),
        enforces=frozenset(settings.get("AccountingStorageEnforce", "").split(",")),
    )
