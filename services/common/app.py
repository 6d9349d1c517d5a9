"""A service's process: listens where the hub says, and ends in good order.

``run_service`` is a service's whole ``main``. What the service keeps open (database,
store, background work) it opens in an exit stack, and that is closed in the reverse
order once no request is being served any more.

It listens on a Unix socket and on no port: :mod:`spawners.common.sockets` says why.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, StaticFileHandler

from spawners.common.sockets import ListeningSocket

from . import handlers
from .auth import COOKIES, hub_auth, own_url
from .handlers import Serving
from .openapi import document
from .short_lines import keep_lines_short
from .spec import Route, ServiceSpec

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 10.0
_HEADER_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands, as the hub that started it says.

    Attributes:
        socket: where to listen.
        prefix: the service's path, with slashes at both ends.
        base_url: the gateway's own, likewise.
        pages: the service's URL for browsers where its host is not the hub's; ``""``
            where both have one.
        hub: the hub's URL then, else its path. Both end with a slash.
        state: the gateway's state directory.
        config: ``gateway.toml``, if there is one.
    """

    socket: Path
    prefix: str
    base_url: str
    state: Path
    config: Path | None
    pages: str = ""
    hub: str = "/hub/"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Read it from the environment that the hub gives to its services."""
        config = environment.get("LANDBRIDGE_CONFIG")
        base_url = environment.get("JUPYTERHUB_BASE_URL", "/")
        pages = own_url(environment)
        return cls(
            socket=Path(environment["LANDBRIDGE_SOCKET"]),
            prefix=environment["JUPYTERHUB_SERVICE_PREFIX"],
            base_url=base_url,
            state=Path(environment["LANDBRIDGE_STATE"]),
            config=Path(config) if config else None,
            pages=pages,
            hub=environment["JUPYTERHUB_PUBLIC_HUB_URL"]
            if pages
            else f"{base_url}hub/",
        )


Open = Callable[[Place, AsyncExitStack], Awaitable[tuple[Any, list[Any], Any]]]
"""Opens a service: its context, its own URL rules (as Tornado's), its health."""


def log_request(handler: Any) -> None:
    """Log one line for a request: no query, which may hold names and rights."""
    request: HTTPServerRequest = handler.request
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO
    log.log(
        level,
        "%d %s %s (%.0f ms)",
        status,
        request.method,
        # An address that is a right by itself is not written down.
        getattr(handler, "shown_path", request.path),
        1000 * request.request_time(),
    )


def make_application(
    serving: Serving,
    prefix: str,
    *,
    pages: list[Any],
    static: Path | None = None,
    cookie_secret: bytes,
) -> Application:
    """Return the Tornado application of a service.

    Args:
        serving: the service that runs.
        prefix: its path.
        pages: the service's own rules; their paths are below ``prefix``.
        static: directory of files that everybody may read.
        cookie_secret: signs the browser's session.
    """
    spec = serving.spec
    shared = {"serving": serving}
    by_path: dict[str, dict[str, Route]] = {}
    for route in spec.routes:
        by_path.setdefault(route.pattern, {})[route.method] = route
    rules: list[Any] = [
        (f"{prefix}health", handlers.HealthHandler, shared),
        (f"{prefix}oauth_callback", handlers.CallbackHandler, shared),
        (
            f"{prefix}api/v1/openapi.json",
            handlers.OpenApiHandler,
            shared | {"document": document(spec, prefix, version("landbridge-server"))},
        ),
    ]
    rules += [
        (f"{prefix}api/v1/{pattern}", handlers.RouteHandler, shared | {"routes": found})
        for pattern, found in by_path.items()
    ]
    rules += [(f"{prefix}{path}", kind, shared | own) for path, kind, own in pages]
    if static is not None:
        rules.append((f"{prefix}static/(.*)", StaticFileHandler, {"path": static}))
    return Application(
        rules,
        default_handler_class=handlers.NowhereHandler,
        default_handler_args=shared,
        cookie_secret=cookie_secret,
        log_function=log_request,
        # JupyterHub's OAuth checks the token itself, where a cookie is used.
        xsrf_cookies=False,
        # Pages hold it as well; of the cookie any page of this origin could read it.
        xsrf_cookie_kwargs={"httponly": True, **COOKIES},
        hub_auth=serving.auth,
    )


def session_secret(auth: HubOAuth) -> bytes:
    """Return what signs browsers' sessions: new with each token of the service."""
    return hashlib.sha256(b"session:" + auth.api_token.encode()).digest()


async def serve(
    spec: ServiceSpec, place: Place, open_service: Open, stop: asyncio.Event
) -> None:
    """Serve until ``stop``; then finish what is being answered and close all."""
    auth = hub_auth()
    async with AsyncExitStack() as stack:
        context, pages, health = await open_service(place, stack)
        serving = Serving(spec, context, auth, health)
        static = Path(__file__).parent.parent / spec.name / "static"
        application = make_application(
            serving,
            place.prefix,
            pages=pages,
            static=static if static.is_dir() else None,
            cookie_secret=session_secret(auth),
        )
        server = HTTPServer(
            application,
            xheaders=True,
            max_body_size=spec.largest_body,
            max_buffer_size=spec.largest_body + _HEADER_BYTES,
            max_header_size=_HEADER_BYTES,
            idle_connection_timeout=75,
            body_timeout=60,
        )
        async with ListeningSocket(place.socket) as listener:
            server.add_socket(listener.socket)
            log.info("Service %s listens on %s", spec.name, place.socket)
            await stop.wait()
            log.info("Service %s stops", spec.name)
            server.stop()
        # The next process may listen by now; we finish what is begun.
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await server.close_all_connections()
        except TimeoutError:
            log.warning("Requests were still being answered after %g s", _DRAIN_SECONDS)


def run_service(spec: ServiceSpec, open_service: Open) -> None:
    """Run a service in the foreground, as the hub starts it."""
    logging.basicConfig(
        level=logging.INFO,
        format=f"[%(levelname).1s %(asctime)s {spec.name} %(name)s] %(message)s",
    )
    keep_lines_short(logging.getLogger().handlers)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    place = Place.of(os.environ)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(spec, place, open_service, stop)

    asyncio.run(main())
