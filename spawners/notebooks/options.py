"""From what a user picked to what is started: one closed schema for form and API.

The API hands over any JSON, the form any text: both pass here, in ``start()``, and
nothing of them reaches a script or an argument but what the profile lets be chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from types import MappingProxyType

from spawners.batch.errors import InvalidSpec
from spawners.batch.models import Resources
from spawners.batch.scheduler import ClusterSnapshot
from spawners.profiles.profiles import Profiles


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """A start that passed every check.

    Attributes:
        resources: what the job asks for.
        options: the choice in its canonical form, to be stored and offered again.
        profile, title: key and name of the chosen profile, or ``""``.
        prologue: the profile's own shell lines, run after the site's.
        environment: the profile's variables for the server.
    """

    resources: Resources
    options: Mapping[str, str | int] = field(
        default_factory=lambda: MappingProxyType({})
    )
    profile: str = ""
    title: str = ""
    prologue: str = ""
    environment: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks for a server, and what the cluster has.

    Attributes:
        groups: names of the groups that the user is in.
        admin: True for administrators of the hub.
        snapshot: the cluster as last read, or ``None``.
    """

    groups: Collection[str] = ()
    admin: bool = False
    snapshot: ClusterSnapshot | None = None


def choose(
    profiles: Profiles | None, options: object, base: Resources, requester: Requester
) -> LaunchPlan:
    """Return what to start for these options.

    Args:
        profiles: what users may pick; ``None`` if the site has one offer only.
        options: as the form or the API gave them; anything at all.
        base: what the ``req_`` settings ask for: the one offer, or what a profile
            without a partition, account, … of its own gets.
        requester: who asks.

    Raises:
        InvalidSpec: naming the option and saying what is allowed.
    """
    if profiles is None:
        if options is not None and options != {}:
            raise InvalidSpec(
                "options",
                "this site has nothing to choose.",
                hint="Start the server without options.",
            )
        return LaunchPlan(base)
    resolved = profiles.resolve(
        options,
        groups=requester.groups,
        admin=requester.admin,
        snapshot=requester.snapshot,
    )
    asked = resolved.resources
    return LaunchPlan(
        resources=replace(
            asked,
            partition=asked.partition or base.partition,
            account=asked.account or base.account,
            qos=asked.qos or base.qos,
            reservation=asked.reservation or base.reservation,
            constraint=asked.constraint or base.constraint,
            time_limit=asked.time_limit or base.time_limit,
        ),
        options=resolved.options,
        profile=resolved.profile.key,
        title=resolved.profile.title,
        prologue=resolved.prologue,
        environment=resolved.environment,
    )


def plain_form(offers: Sequence[tuple[str, str]]) -> str:
    """Return a form that works without any page of ours, and is never empty.

    JupyterHub starts a server at a mere link when a spawner has no form.

    Args:
        offers: key and name of each profile; empty if there is nothing to pick.
    """
    button = '<button type="submit" class="btn btn-primary">Start</button>'
    if not offers:
        return f"<p>The server will run as a job on the cluster.</p>{button}"
    choices = "".join(
        f'<option value="{escape(key)}">{escape(title)}</option>'
        for key, title in offers
    )
    return (
        '<label for="profile">Profile</label>'
        f'<select id="profile" name="profile" class="form-control">{choices}</select>'
        f"{button}"
    )
