"""The plainest service: a page, and a route of each kind that the frame has to bear."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from services.common.app import Environment, OpenService
from services.common.service import HubRights, Service, ServiceSection
from services.common.web.errors import NotThere
from services.common.web.metrics import gauge
from services.common.web.pages import PageHandler
from services.common.web.routes import Call, Model, Nothing, Route, ServiceSpec

READ, WRITE = "custom:plain:read", "custom:plain:write"


class PlainSettings(ServiceSection):
    """What its section has."""

    most: int = 3


@dataclass
class Shelf:
    """What the service has, and how it is doing."""

    settings: PlainSettings
    things: dict[str, int] = field(default_factory=dict)
    ready: bool = True
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    async def health(self) -> tuple[bool, dict[str, object]]:
        return self.ready, {"things": len(self.things)}


class Full(Exception):
    """The shelf is full."""

    hint = "Take something away."


class Filter(Model):
    """What to show."""

    least: int = 0
    """The smallest."""


class Thing(Model):
    """A thing."""

    name: str
    """Its name."""
    size: int
    """How large."""


class Things(Model):
    """Things."""

    things: list[Thing]
    """All of them."""


async def list_things(shelf: Shelf, call: Call, query: Filter) -> Things:
    """Show the things."""
    return Things(
        things=[
            Thing(name=name, size=size)
            for name, size in shelf.things.items()
            if size >= query.least
        ]
    )


async def add_thing(shelf: Shelf, call: Call, body: Thing) -> Thing:
    """Add a thing."""
    if len(shelf.things) >= shelf.settings.most:
        raise Full("The shelf is full.")
    shelf.things[body.name] = body.size
    return body


async def remove_thing(shelf: Shelf, call: Call) -> Nothing:
    """Remove a thing."""
    if shelf.things.pop(call.path["thing"], None) is None:
        raise NotThere("There is no such thing.")
    return Nothing()


async def fall_down(shelf: Shelf, call: Call) -> Nothing:
    """Fail as no service should."""
    raise RuntimeError("the secret reason")


async def wait_long(shelf: Shelf, call: Call) -> Nothing:
    """Answer when it is let go."""
    await shelf.let_go.wait()
    return Nothing()


class Page(PageHandler):
    """Says whose it is."""

    async def get(self) -> None:
        caller = await self.signed_in()
        if caller is not None:
            self.set_header("Content-Security-Policy", self.page_policy())
            self.finish(f"<title>{caller.name}</title>{len(self.xsrf_token)}")


SPEC: ServiceSpec[Shelf] = ServiceSpec(
    "plain",
    "Things",
    "Keeps things.",
    (
        Route("GET", "things", list_things, READ),
        Route("POST", "things", add_thing, WRITE, status=201),
        Route("DELETE", "things/{thing}", remove_thing, WRITE),
        Route("POST", "fall", fall_down, READ),
        Route("POST", "wait", wait_long, READ),
    ),
    {Full: (409, "full")},
    largest_body=4096,
)

SERVICE = Service(
    name="plain",
    title="The plain service",
    why="Keeps things.",
    running="It runs.",
    settings=PlainSettings,
    hub_rights=lambda section: HubRights((), ""),
    scopes={
        READ: {"description": "See things"},
        WRITE: {"description": "Change things", "subscopes": [READ]},
    },
)


async def open_plain(
    environment: Environment, stack: AsyncExitStack
) -> OpenService[Shelf]:
    """Open it; its things are gone when it ends."""
    shelf = Shelf(PlainSettings())
    stack.callback(setattr, shelf, "closed", True)
    return OpenService(
        shelf,
        shelf.health,
        lambda: [gauge("plain_things", "Things.", {"": len(shelf.things)})],
        [("", Page, {})],
    )
