"""A service as the gateway has to know it: one object, made by the service itself.

The hub's registry lists these objects and reads from them the section of the settings,
scopes and roles, the process, the address and the reference. So a new service is a
folder and one line. Nothing in here imports what runs; that is found by the names of
the service's modules, which are the same in every service: ``__main__`` is its process
and ``spec.SPEC`` its REST API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import Field

from spawners.common.settings import Section

if TYPE_CHECKING:
    from .web.routes import ServiceSpec


class ServiceSection(Section):
    """What every service's section of ``gateway.toml`` has."""

    enabled: bool = Field(default=True, description="Run the service at all.")


S = TypeVar("S", bound=ServiceSection)


@dataclass(frozen=True, slots=True)
class HubRights:
    """What a service may ask of the hub.

    Attributes:
        scopes: JupyterHub's, the fewest that do.
        why: the reason, for whoever reviews them.
    """

    scopes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class JobsRights:
    """What a service may have of the jobs service: jobs of its own, and no others.

    It runs launches by the site's script and sends none itself.

    Attributes:
        kind: its jobs' owners are ``KIND:USER/…``; no other client's begin so.
        live: how many jobs it may have at a time.
        live_each: of those, how many of one user.
        why: the reason, for whoever reviews the table of clients.
    """

    kind: str
    live: int
    live_each: int
    why: str


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """All that the gateway has to know of a service.

    Attributes:
        name: of its folder, section, process, and of its path below ``/services/``.
        title: for people, as the subject of a sentence.
        why: what it does, for whoever reviews the table of processes.
        running: what an operator should know of its process.
        settings: the model of its section.
        hub_rights: what it may ask of the hub, with these settings.
        scopes: what users' tokens may be cut down to, as JupyterHub's custom scopes.
        session_scopes: of these, what a browser's session and a notebook server may do
            in their user's name, besides reaching the service.
        jobs: what it may have of the jobs service; ``None``: it runs no jobs.
        page: what the entry of its page is called in every header; ``""`` without one.
    """

    name: str
    title: str
    why: str
    running: str = field(repr=False)
    settings: type[S]
    hub_rights: Callable[[S], HubRights] = field(repr=False)
    scopes: Mapping[str, Mapping[str, object]] = field(repr=False)
    session_scopes: tuple[str, ...] = ()
    jobs: JobsRights | None = None
    page: str = ""

    @property
    def user_scopes(self) -> tuple[str, ...]:
        """Scopes of everybody whom the site lets in."""
        return (f"access:services!service={self.name}", *self.session_scopes)

    @property
    def module(self) -> str:
        """What ``python -m`` runs."""
        return f"services.{self.name}.__main__"

    def spec(self) -> ServiceSpec[Any]:
        """Return its REST API; imports all that serves it."""
        spec: ServiceSpec[Any] = import_module(f"services.{self.name}.spec").SPEC
        return spec
