"""The spawn page: profiles as cards, what is free, limits, the last choice.

Everything here comes from the watcher's snapshot and from what JupyterHub stored;
opening the page runs no command. :func:`options_form` is JupyterHub's
``Spawner.options_form``; the posted form is read by
:func:`spawners.profiles.choices.options_from_form`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot, UserLimits
from spawners.common.errors import GatewayError
from spawners.common.text import count_in_words, duration_in_words, size_in_words
from spawners.notebooks.options import Requester
from spawners.profiles.availability import (
    Availability,
    ClusterRow,
    age_in_words,
    availability,
    cluster_rows,
)
from spawners.profiles.profiles import Profile, Profiles

from .fields import Field, SchedulerFacts, fields_of

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
)
# A link may fill in these and nothing else; each is checked again at the start.
_LINKED = frozenset(
    {
        "profile",
        "cpus",
        "memory",
        "gpus",
        "gpu_model",
        "time_limit",
        "partition",
        "account",
        "qos",
        "reservation",
        "constraint",
    }
)


@dataclass(frozen=True, slots=True)
class Card:
    """One profile on the page."""

    key: str
    title: str
    description: str
    chips: tuple[str, ...]
    availability: Availability
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """What is free, and how old that is."""

    age_text: str
    rows: list[ClusterRow]


@dataclass(frozen=True, slots=True)
class Form:
    """Everything that ``spawn_form.html`` draws."""

    profiles: tuple[Card, ...]
    chosen: str
    prefilled: bool
    cluster: ClusterTable
    limits: str


async def options_form(spawner: Any) -> str:
    """Return the spawn page's form for this spawner's user, as HTML."""
    known = SchedulerFacts(spawner.requester.snapshot, await limits_of(spawner))
    form = build_form(
        offered_cards(spawner),
        known,
        stored=spawner.orm_spawner.user_options or {},
        linked=linked_values(getattr(spawner, "handler", None)),
    )
    return _TEMPLATES.get_template("spawn_form.html").render(form=form)


async def limits_of(spawner: Any) -> UserLimits | None:
    """Return what the scheduler allows the user, or ``None`` if it does not tell."""
    try:
        account = spawner.gateway.account_of(spawner.user.name)
        limits: UserLimits = await spawner.gateway.jobs.limits(account)
    except GatewayError as error:
        spawner.log.info("No limits for %s: %s", spawner.user.name, error)
        return None
    return limits


def offered_profiles(spawner: Any) -> list[Profile]:
    """Return the profiles that this spawner's user may pick now."""
    if not isinstance(spawner.profiles, Profiles):
        return []
    requester: Requester = spawner.requester
    return spawner.profiles.for_user(
        requester.groups, admin=requester.admin, snapshot=requester.snapshot
    )


def offered_cards(spawner: Any) -> list[Profile | Card]:
    """Return what may be picked: profiles, or plain cards where a site has none.

    A site may have wrapspawner's list instead, or one offer without a choice.
    """
    if isinstance(spawner.profiles, Profiles):
        return [*offered_profiles(spawner)]
    offers = spawner.offers() or [("", "Notebook server")]
    nothing = Availability("As the centre set it up")
    return [Card(key, title, "", (), nothing, ()) for key, title in offers]


def build_form(
    offered: Sequence[Profile | Card],
    known: SchedulerFacts,
    *,
    stored: Mapping[str, Any],
    linked: Mapping[str, str],
) -> Form:
    """Return the form: offered profiles, with a link's or the last choice filled in.

    Args:
        offered: what may be picked, in order.
        known: what the scheduler told.
        stored: the options of the last start, which were checked then.
        linked: what the page's address fills in; shown, never started.
    """
    keys = [profile.key for profile in offered]
    marked = (p.key for p in offered if isinstance(p, Profile) and p.default)
    default = next(marked, keys[0] if keys else "")
    wished = [linked.get("profile"), stored.get("profile"), default]
    chosen = next((str(key) for key in wished if key in keys), default)
    given = {**stored, **linked} if stored.get("profile") == chosen else linked
    return Form(
        profiles=tuple(
            _card(profile, known, given if profile.key == chosen else {})
            for profile in offered
        ),
        chosen=chosen,
        prefilled=bool(linked),
        cluster=cluster_table(known, datetime.now(UTC)),
        limits=limits_in_words(known.limits),
    )


def _card(
    profile: Profile | Card, known: SchedulerFacts, given: Mapping[str, Any]
) -> Card:
    if isinstance(profile, Card):
        return profile
    resources = profile.resources.to_resources()
    return Card(
        key=profile.key,
        title=profile.title,
        description=profile.description,
        chips=_chips(resources),
        availability=profile_availability(profile, known.snapshot),
        fields=fields_of(profile, known, given),
    )


def profile_availability(
    profile: Profile, snapshot: ClusterSnapshot | None
) -> Availability:
    """Return what the card of a profile says of its default choice."""
    resources = Profiles((profile,)).resolve({}, admin=True, snapshot=snapshot)
    return availability(resources.resources, snapshot)


def _chips(resources: Resources) -> tuple[str, ...]:
    chips = [count_in_words(resources.cpus, "CPU")]
    if resources.memory is not None:
        chips.append(size_in_words(resources.memory))
    if resources.gpus:
        model = f" {resources.gpu_model}" if resources.gpu_model else ""
        chips.append(count_in_words(resources.gpus, f"{model} GPU".strip()))
    if resources.nodes > 1:
        chips.append(count_in_words(resources.nodes, "node"))
    if resources.time_limit is not None:
        chips.append(duration_in_words(resources.time_limit))
    return tuple(chips)


def cluster_table(known: SchedulerFacts, now: datetime) -> ClusterTable:
    """Return the table of what is free where the user may go."""
    if known.snapshot is None:
        return ClusterTable("Not read yet", [])
    age = max(now - known.snapshot.taken_at, timedelta(0)).total_seconds()
    rows = cluster_rows(known.snapshot.partitions, known.accounts)
    return ClusterTable(age_in_words(age), rows)


def limits_in_words(limits: UserLimits | None) -> str:
    """Return one line about accounts and limits, or ``""``."""
    if limits is None:
        return ""
    parts = []
    if limits.accounts:
        names = [
            f"{name} (default)" if name == limits.default_account else name
            for name in sorted(limits.accounts)
        ]
        parts.append(f"Your accounts: {', '.join(names)}")
    if limits.max_jobs is not None:
        parts.append(f"at most {count_in_words(limits.max_jobs, 'job')} at once")
    for account, number in sorted((limits.max_gpus or {}).items()):
        parts.append(f"at most {count_in_words(number, 'GPU')} in {account} together")
    return " · ".join(parts)


def linked_values(handler: Any) -> dict[str, str]:
    """Return what the page's address fills in: known names, short plain values."""
    if handler is None or handler.request.method != "GET":
        return {}
    linked = {}
    for name, values in handler.request.query_arguments.items():
        key = name.removeprefix("opt-")
        text = values[-1].decode("utf-8", "replace")
        plain = text.isascii() and text.isprintable() and len(text) <= 200
        if key in _LINKED and plain:
            linked[key] = text
    return linked
