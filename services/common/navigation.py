"""The gateway's name and its pages, as every header shows them.

The hub reads the entries from its registry and tells them to each service in one
variable, so that all headers agree. Where nobody tells, as in a service that is started
by hand, there is a name and the way home.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "LANDBRIDGE_NAVIGATION"

TEMPLATES = Path(__file__).parent / "templates"
"""What stands around pages: the hub's take their header from here, too."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A service's page.

    Attributes:
        name: of the service.
        title: for people.
        href: where browsers find it: a path, or a URL where it has a host of its own.
    """

    name: str
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Navigation:
    """What a header shows, whoever looks.

    Attributes:
        gateway: its name.
        entries: pages of services, in order.
    """

    gateway: str = "Landbridge"
    entries: tuple[Entry, ...] = ()

    def to_environment(self) -> dict[str, str]:
        """Return the variable that tells a process all of it."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Navigation:
        """Read it from the variable."""
        told = environment.get(VARIABLE)
        if not told:
            return cls()
        values = json.loads(told)
        entries = tuple(Entry(**entry) for entry in values["entries"])
        return cls(values["gateway"], entries)
