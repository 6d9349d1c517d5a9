"""The fields of a profile on the spawn page: what may be chosen, within what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, Partition, UserLimits
from spawners.common.text import duration_in_words, size_in_words
from spawners.profiles.availability import may_use, pool_in_words
from spawners.profiles.choices import Amount, Count, Span
from spawners.profiles.profiles import Profile


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """What the scheduler has told: the cluster, and the user's accounts."""

    snapshot: ClusterSnapshot | None = None
    limits: UserLimits | None = None

    @property
    def open_partitions(self) -> list[Partition]:
        """Partitions that take jobs and that one of the user's accounts may use."""
        if self.snapshot is None:
            return []
        accounts = self.accounts
        return [p for p in self.snapshot.partitions if p.up and may_use(p, accounts)]

    @property
    def accounts(self) -> frozenset[str]:
        """Names of the user's accounts; empty where none are kept or known."""
        return frozenset(self.limits.accounts if self.limits else ())


@dataclass(frozen=True, slots=True)
class Option:
    """One line of a select."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field: a select where ``options`` is set, else an input of ``type``."""

    name: str
    label: str
    value: str
    hint: str = ""
    type: str = "text"
    min: int | None = None
    max: int | None = None
    options: tuple[Option, ...] | None = None


# In the field stands what was chosen, to the byte, in the largest unit that can say so.
_EXACT_UNITS = {
    "TB": 1000**4,
    "GB": 1000**3,
    "TiB": 1024**4,
    "GiB": 1024**3,
    "MB": 1000**2,
    "MiB": 1024**2,
    "kB": 1000,
    "KiB": 1024,
}
LABELS = {
    "gpus": "GPUs",
    "gpu_model": "GPU model",
    "cpus": "CPU cores",
    "memory": "Memory",
    "time_limit": "Time limit",
    "partition": "Partition",
    "account": "Account",
    "qos": "Quality of service",
    "reservation": "Reservation",
    "constraint": "Node features",
}


def fields_of(
    profile: Profile, known: SchedulerFacts, given: Mapping[str, Any]
) -> tuple[Field, ...]:
    """Return the fields that make sense here, filled in.

    Args:
        profile: says what may be chosen.
        known: bounds the offers by what the cluster has.
        given: a link's or the last start's values, as text or canonical numbers.
    """
    defaults = profile.resources.to_resources()
    fields = []
    for name in LABELS:
        choice = getattr(profile.choices, name)
        if choice is None:
            continue
        field = _field(name, choice, defaults, known)
        if field is not None:
            fields.append(_filled(field, given.get(name)))
    return tuple(fields)


def _field(
    name: str, choice: Any, defaults: Resources, known: SchedulerFacts
) -> Field | None:
    if isinstance(choice, Count):
        return _count(name, choice, defaults, known)
    if isinstance(choice, Amount):
        return Field(
            name,
            LABELS[name],
            _memory(defaults.memory),
            f"Such as 8 GB or 500 MB; {size_in_words(choice.min, 'up')} to "
            f"{size_in_words(_most_memory(choice.max, known), 'down')} per node.",
        )
    if isinstance(choice, Span):
        return Field(
            name,
            LABELS[name],
            _duration(defaults.time_limit),
            f"Such as 90min or 2h; {duration_in_words(choice.min)} to "
            f"{duration_in_words(_longest(choice.max, known))}.",
        )
    return _words(name, choice, getattr(defaults, name), known)


def _count(
    name: str, choice: Count, defaults: Resources, known: SchedulerFacts
) -> Field | None:
    most = choice.max
    if known.open_partitions:
        counts = [
            max((pool.per_node for pool in p.gpus if pool.total), default=0)
            if name == "gpus"
            else p.max_cpus_per_node
            for p in known.open_partitions
        ]
        most = min(most, max(counts))
    if name == "gpus" and most == 0:
        return None
    return Field(
        name,
        LABELS[name],
        str(getattr(defaults, name)),
        f"{choice.min} to {most} per node.",
        "number",
        choice.min,
        most,
    )


def _most_memory(limit: int, known: SchedulerFacts) -> int:
    memories = [p.max_memory_per_node for p in known.open_partitions]
    return min(limit, max(memories, default=0) or limit)


def _longest(limit: timedelta, known: SchedulerFacts) -> timedelta:
    limits = [p.max_time for p in known.open_partitions]
    times = [time for time in limits if time is not None]
    return limit if not times or len(times) < len(limits) else min(limit, max(times))


def _words(
    name: str, choice: Any, default: str | None, known: SchedulerFacts
) -> Field | None:
    offers: dict[str, Callable[[SchedulerFacts], list[Option]]] = {
        "partition": _partitions,
        "gpu_model": _models,
        "account": _accounts,
        "qos": _qualities,
    }
    value = default or ""
    if choice == "any":
        if name not in offers:
            return Field(name, LABELS[name], value, "Leave empty for none.")
        options = offers[name](known)
    else:
        texts = {o.value: o.text for o in offers[name](known)} if name in offers else {}
        options = [Option(word, texts.get(word, word)) for word in choice]
    if not options or (len(options) == 1 and not value):
        return None  # nothing to choose between
    chosen = Option("", "Chosen for me")
    return Field(
        name, LABELS[name], value, options=(chosen, *options), hint=_hint(name)
    )


def _hint(name: str) -> str:
    return {
        "partition": "Where the job runs.",
        "gpu_model": "Any model, or one of these.",
        "account": "Who is charged.",
        "qos": "Priority and limits.",
    }.get(name, "")


def _partitions(known: SchedulerFacts) -> list[Option]:
    options = []
    for partition in known.open_partitions:
        facts = [pool_in_words(pool) for pool in partition.gpus if pool.total]
        if partition.max_time:
            facts.append(f"up to {duration_in_words(partition.max_time)}")
        text = f"{partition.name} ({', '.join(facts)})" if facts else partition.name
        options.append(Option(partition.name, text))
    return options


def _models(known: SchedulerFacts) -> list[Option]:
    best: dict[str, Option] = {}
    for partition in known.open_partitions:
        for pool in partition.gpus:
            if pool.model and pool.total and pool.model not in best:
                best[pool.model] = Option(pool.model, pool_in_words(pool))
    return list(best.values())


def _accounts(known: SchedulerFacts) -> list[Option]:
    if known.limits is None:
        return []
    default = known.limits.default_account
    return [
        Option(name, f"{name} (default)" if name == default else name)
        for name in sorted(known.limits.accounts)
    ]


def _qualities(known: SchedulerFacts) -> list[Option]:
    if known.limits is None:
        return []
    names = set().union(*known.limits.accounts.values())
    return [Option(name, name) for name in sorted(names)]


def _filled(field: Field, value: object) -> Field:
    """Return the field with a remembered or linked value in place of the default."""
    if value is None or isinstance(value, bool) or not isinstance(value, str | int):
        return field
    text = str(value)
    if isinstance(value, int) and field.name == "memory":
        text = _memory(value)
    elif isinstance(value, int) and field.name == "time_limit":
        text = _duration(timedelta(seconds=value))
    if field.options is not None and text not in {o.value for o in field.options}:
        return field
    return Field(
        field.name,
        field.label,
        text,
        field.hint,
        field.type,
        field.min,
        field.max,
        field.options,
    )


def _memory(size: int | None) -> str:
    """Return bytes as the form's fields write them: ``"8 GB"``, ``"4 GiB"``."""
    if size is None:
        return ""
    for unit, factor in _EXACT_UNITS.items():
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


def _duration(span: timedelta | None) -> str:
    """Return a time as the form's fields write it: ``"2h"``, ``"90min"``."""
    if span is None:
        return ""
    minutes = round(span.total_seconds() / 60)
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}min"
