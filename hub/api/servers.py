"""The gateway's own API on the hub, under ``/hub/api/landbridge/``.

For people and pages (scope ``read:servers`` of the user, as for JupyterHub's own
progress): ``servers``, ``servers/USER/progress``, ``servers/USER/NAME/progress`` and
``cluster``. What jobs report goes past the hub, from the edge to the jobs service.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from tornado import web
from tornado.iostream import StreamClosedError

from hub.gateway import HubGateway
from services.common.web.event_writer import (
    KEEPALIVE_SECONDS,
    EventWriter,
    encode_event,
)
from spawners.common.errors import GatewayError
from spawners.notebooks.start import owner_key

from .own_scope import require_own
from .usage import UsageHandler
from .views import Json, cluster_view, event_view, server_view

_FINAL = frozenset({"ready", "failed", "stopped"})


class _GatewayHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """What the pages' handlers share: the gateway and a user by name."""

    @property
    def gateway(self) -> HubGateway:
        gateway: HubGateway = self.settings["landbridge"]
        return gateway

    def asking(self) -> Any:
        """Return who asks; 403 for nobody, as nobody types these addresses."""
        if self.current_user is None:
            raise web.HTTPError(403, "Sign in, or send a token.")
        return self.current_user

    def server_of(self, user: Any, server_name: str) -> Json | None:
        """Return the newest start of a server as JSON, or ``None``."""
        record = self.gateway.jobs.current(owner_key(user.name, server_name))
        if record is None:
            return None
        view = server_view(
            record, server_name, user.server_url(server_name), datetime.now(UTC)
        )
        view["user"] = user.name
        spawner = user.spawners.get(server_name)
        view["reachable"] = getattr(spawner, "reachable", None)
        if view["state"] == "ready" and spawner and spawner.pending == "spawn":
            # It has reported itself; the hub still makes sure, and sets its route.
            view["state"] = "starting"
        return view


class ServersHandler(_GatewayHandler):
    """``GET servers``: the signed-in user's servers, newest start of each."""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    async def get(self, user_name: str | None = None) -> None:
        """Answer with the list."""
        user = self.current_user if user_name is None else self.find_user(user_name)
        if user is None or not hasattr(user, "orm_spawners"):
            raise web.HTTPError(404, "There is no such user.")
        views = [self.server_of(user, name) for name in sorted(user.orm_spawners)]
        self.finish(json.dumps({"servers": [view for view in views if view]}))


class OwnServersHandler(_GatewayHandler):
    """``GET servers`` without a name: those of whoever asks."""

    async def get(self) -> None:
        """Answer with the list."""
        await ServersHandler.get(self, self.asking().name)


def is_before(spawner: Any, view: Json) -> bool:
    """Tell whether a view is of an earlier start than the one under way.

    Between a click and its record there are some moments; how the start before ended
    is not what became of this one.
    """
    return (
        view["state"] in _FINAL
        and getattr(spawner, "pending", None) == "spawn"
        and getattr(spawner, "job_name", "") != view["job"]["name"]
    )


class ProgressHandler(_GatewayHandler):
    """``GET …/progress?after=N``: the stored log of the newest start.

    JSON: ``{"server": …, "events": […], "done": bool}`` with the events whose
    ``seq`` is greater than ``after``. With ``Accept: text/event-stream`` the same
    events as a stream (``id`` is the ``seq``, ``Last-Event-ID`` counts as
    ``after``) that ends with an event named ``done`` whose data is the server.
    404 until the first start, or the one under way, is written down.
    """

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]
    async def get(self, user_name: str, server_name: str = "") -> None:
        """Answer with what is new in the log, or stream it."""
        user = self.find_user(user_name)
        if user is None or server_name not in user.orm_spawners:
            raise web.HTTPError(404, "There is no such server.")
        view = self.server_of(user, server_name)
        if view is None:
            raise web.HTTPError(404, "This server was never started.")
        if is_before(user.spawners.get(server_name), view):
            raise web.HTTPError(404, "This start is not written down yet.")
        after = self._after()
        self.set_header("Cache-Control", "no-cache")
        if "text/event-stream" in self.request.headers.get("Accept", ""):
            await self._stream(user, server_name, after)
            return
        owner = owner_key(user.name, server_name)
        try:
            events = await self.gateway.jobs.events(owner, after)
        except GatewayError as error:
            raise web.HTTPError(503, str(error)) from None
        self.finish(
            json.dumps(
                {
                    "server": view,
                    "events": [event_view(event) for event in events],
                    "done": view["state"] in _FINAL,
                }
            )
        )

    def _after(self) -> int:
        text = self.request.headers.get("Last-Event-ID") or self.get_argument(
            "after", "0"
        )
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise web.HTTPError(400, "after: must be a whole number, 0 or more.")
        return int(text)

    async def _stream(self, user: Any, server_name: str, after: int) -> None:
        """Send events as they are stored, until the start has come to an end."""
        jobs = self.gateway.jobs
        owner = owner_key(user.name, server_name)
        writer = EventWriter(self)
        try:
            await writer.begin()
            while await self._still_signed_in():
                view = self.server_of(user, server_name)
                try:
                    events = await jobs.events(owner, after)
                except GatewayError as error:
                    # The reader comes again, with what it has read last.
                    self.log.info("The log of %s cannot be read: %s", owner, error)
                    return
                for event in events:
                    after = event.seq
                    data = json.dumps(event_view(event))
                    await writer.write(encode_event(data, id=str(event.seq)))
                is_over = view is None or view["state"] in _FINAL
                if is_over:
                    await writer.write(encode_event(json.dumps(view), kind="done"))
                await writer.flush()
                if is_over:
                    return
                try:
                    async with asyncio.timeout(KEEPALIVE_SECONDS):
                        await jobs.changed(owner, after)
                except TimeoutError:
                    await writer.keep_alive()
        except StreamClosedError:
            self.log.debug("The reader of %s's progress went away", user.name)

    async def _still_signed_in(self) -> bool:
        """Ask again who reads: a stream outlives tokens and sessions."""
        token = self.get_auth_token()  # get_token() remembers what it found
        if token and orm.APIToken.find(self.db, token) is None:
            return False
        del self._jupyterhub_user
        return await self.get_current_user() is not None


class ClusterHandler(_GatewayHandler):
    """``GET cluster``: what is idle now and what the asking user may have."""

    async def get(self) -> None:
        """Answer with the last reading."""
        user = self.asking()
        limits = None
        if getattr(user, "kind", "") == "user":
            require_own(self, "read:servers")
            try:
                limits = await self.gateway.jobs.limits(
                    self.gateway.account_of(user.name)
                )
            except GatewayError as error:
                self.log.warning("No limits for %s: %s", user.name, error)
        elif "read:servers" not in self.parsed_scopes:
            raise web.HTTPError(403, "This token needs the scope read:servers.")
        self.finish(
            json.dumps(
                cluster_view(self.gateway.jobs.snapshot, limits, datetime.now(UTC))
            )
        )


_USER = r"([^/]+)"
handlers: list[tuple[Any, ...]] = [
    (r"/api/landbridge/servers", OwnServersHandler),
    (rf"/api/landbridge/servers/{_USER}", ServersHandler),
    (rf"/api/landbridge/servers/{_USER}/progress", ProgressHandler),
    (rf"/api/landbridge/servers/{_USER}/([^/]+)/progress", ProgressHandler),
    (r"/api/landbridge/cluster", ClusterHandler),
    (r"/api/landbridge/usage", UsageHandler),
]
"""Routes below the hub's prefix, for ``JupyterHub.extra_handlers``."""
