"""A service's process: listens where it is told, and ends in good order.

``run_service`` is a service's whole ``main``. What the service keeps open (database,
store, background work) it opens in an exit stack, and that is closed in the reverse
order once no request is being served any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic

from jupyterhub.services.auth import HubOAuth
from tornado.web import Application, StaticFileHandler

from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.remote import RemoteJobs
from spawners.common.ownership import read_own

from .listening import listen, log_request, run_until_stopped
from .navigation import Navigation
from .own_token import take_token
from .web import handlers
from .web.auth import COOKIES, KeyVerifier, hub_auth, own_url
from .web.handlers import RunningService
from .web.metrics import MetricsToken, Numbers
from .web.openapi import document
from .web.pages import NowherePage
from .web.routes import C, Route, ServiceSpec


@dataclass(frozen=True, slots=True)
class Environment:
    """Where this process stands, as who started it says.

    Attributes:
        socket: where to listen.
        prefix: the service's path, with slashes at both ends.
        base_url: the gateway's own, likewise.
        pages: the service's URL for browsers where its host is not the hub's; ``""``
            where both have one.
        hub: the hub's URL then, else its path. Both end with a slash.
        jobs: makes a client of the jobs service; ``None``: the service has no jobs.
        navigation: what the header of every page shows.
        state: the gateway's state directory.
        config: ``gateway.toml``, if there is one.
        auth: the hub: its API, our token there, and who asks.
    """

    socket: Path
    prefix: str
    base_url: str
    state: Path
    config: Path | None
    auth: HubOAuth
    pages: str = ""
    hub: str = "/hub/"
    jobs: Callable[[], JobsApi] | None = None
    navigation: Navigation = field(default_factory=Navigation)

    @property
    def metrics_token(self) -> Path:
        """The file with the token of who may read this process's numbers."""
        return self.state / "secrets" / "service-metrics.token"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Environment:
        """Read it from the environment that the table of processes gives."""
        config = environment.get("LANDBRIDGE_CONFIG")
        base_url = environment.get("JUPYTERHUB_BASE_URL", "/")
        pages = own_url(environment)
        return cls(
            socket=Path(environment["LANDBRIDGE_SOCKET"]),
            prefix=environment["JUPYTERHUB_SERVICE_PREFIX"],
            base_url=base_url,
            state=Path(environment["LANDBRIDGE_STATE"]),
            config=Path(config) if config else None,
            auth=hub_auth(),
            pages=pages,
            hub=environment["JUPYTERHUB_PUBLIC_HUB_URL"]
            if pages
            else f"{base_url}hub/",
            jobs=_jobs_client(environment),
            navigation=Navigation.of(environment),
        )


def _jobs_client(environment: Mapping[str, str]) -> Callable[[], JobsApi] | None:
    socket = environment.get("LANDBRIDGE_JOBS_SOCKET")
    if not socket:
        return None
    token = environment["LANDBRIDGE_JOBS_TOKEN_FILE"]

    def read_token() -> str:
        return read_own(token).decode("ascii").strip()

    return lambda: RemoteJobs(Path(socket), read_token, sends_scripts=False)


async def open_jobs(environment: Environment, stack: AsyncExitStack) -> JobsApi:
    """Return this service's client of the jobs service, once it knows of all its jobs.

    It waits for the jobs service; nothing of a service that has jobs works without.

    Raises:
        LookupError: the hub's registry does not say that this service has jobs.
    """
    if environment.jobs is None:
        raise LookupError("Service.jobs does not say what jobs this service may have")
    jobs = environment.jobs()
    stack.push_async_callback(jobs.close)
    await jobs.start()
    return jobs


Health = Callable[[], Awaitable[tuple[bool, Mapping[str, object]]]]


@dataclass(frozen=True, slots=True)
class OpenService(Generic[C]):
    """A service that can serve.

    Attributes:
        context: what its route functions get first.
        health: says whether it can work: (ready, facts to show).
        numbers: what it is busy with, for Prometheus.
        pages: its own URL rules, as Tornado's, below its path.
        keys: its bearer keys, if it has any.
    """

    context: C
    health: Health
    numbers: Numbers
    pages: Sequence[tuple[str, type[handlers.BaseHandler], Mapping[str, object]]] = ()
    keys: KeyVerifier | None = None


Open = Callable[[Environment, AsyncExitStack], Awaitable[OpenService[C]]]
"""Opens a service; what is to be closed goes into the stack."""


def make_application(
    serving: RunningService[C],
    *,
    pages: Sequence[tuple[str, type[handlers.BaseHandler], Mapping[str, object]]],
    cookie_secret: bytes,
) -> Application:
    """Return the Tornado application of a service.

    Args:
        serving: the service that runs.
        pages: the service's own rules; their paths are below its own.
        cookie_secret: signs the browser's session.
    """
    spec, prefix = serving.spec, serving.prefix
    shared = {"serving": serving}
    by_path: dict[str, dict[str, Route[C]]] = {}
    for route in spec.routes:
        by_path.setdefault(route.pattern, {})[route.method] = route
    rules: list[Any] = [
        (f"{prefix}health", handlers.HealthHandler, shared),
        (f"{prefix}metrics", handlers.MetricsHandler, shared),
        (f"{prefix}oauth_callback", handlers.CallbackHandler, shared),
        (
            f"{prefix}api/v1/openapi.json",
            handlers.OpenApiHandler,
            shared | {"document": document(spec, prefix, version("landbridge-server"))},
        ),
    ]
    rules += [
        (
            f"{prefix}api/v1/{pattern}",
            handlers.RouteHandler,
            shared | {"routes": routes},
        )
        for pattern, routes in by_path.items()
    ]
    rules += [(f"{prefix}{path}", kind, {**shared, **own}) for path, kind, own in pages]
    if serving.static is not None:
        files = {"path": serving.static}
        rules.append((f"{prefix}static/(.*)", StaticFileHandler, files))
    return Application(
        rules,
        default_handler_class=NowherePage,
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
    spec: ServiceSpec[C],
    environment: Environment,
    open_service: Open[C],
    stop: asyncio.Event,
    listens: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop``; then finish what is being answered and close all.

    Args:
        spec: the service's REST API.
        environment: where this process stands.
        open_service: opens all that it needs.
        stop: when to end.
        listens: set once requests are taken.
    """
    auth = environment.auth
    static = Path(__file__).parent.parent / spec.name / "static"
    async with AsyncExitStack() as stack:
        opened = await open_service(environment, stack)
        serving = RunningService(
            spec,
            opened.context,
            auth,
            environment.prefix,
            opened.health,
            opened.numbers,
            MetricsToken(environment.metrics_token),
            keys=opened.keys,
            base_url=environment.base_url,
            hub=environment.hub,
            navigation=environment.navigation,
            static=static if static.is_dir() else None,
            stopping=stop,
        )
        application = make_application(
            serving,
            pages=opened.pages,
            cookie_secret=session_secret(auth),
        )
        await listen(
            spec.name,
            application,
            environment.socket,
            stop,
            largest_body=spec.largest_body,
            listens=listens,
        )


def run_service(spec: ServiceSpec[C], open_service: Open[C]) -> None:
    """Run a service in the foreground.

    Raises:
        NotOurs, OSError: the file of its token cannot be used.
    """
    take_token(os.environ)
    place = Environment.of(os.environ)
    run_until_stopped(spec.name, partial(serve, spec, place, open_service))
