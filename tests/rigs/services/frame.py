"""A service of the frame, served in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from jupyterhub.httpclient import JupyterHubHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from services.common.app import make_application
from services.common.listening import NamedRequests
from services.common.testing.hub import HubStub
from services.common.web.auth import KeyVerifier, PatientAuth
from services.common.web.handlers import BaseHandler, RunningService
from services.common.web.metrics import MetricsToken
from services.common.web.routes import ServiceSpec

SCOPE = "custom:toy:use"
ACCESS = "access:services!service=toy"

Pages = Sequence[tuple[str, type[BaseHandler], Mapping[str, object]]]


@dataclass
class Served:
    """A service that runs here.

    Attributes:
        hub: knows its people.
        serving: what its handlers share.
        socket: where it listens.
        prefix: its path.
    """

    hub: HubStub
    serving: RunningService[Any]
    socket: Path
    prefix: str
    server: HTTPServer

    def client(self, name: str = "alice", *, token: str = "") -> httpx.AsyncClient:
        """Return a client of somebody, whose paths are below ``api/v1/``."""
        token = token or self.hub.token(name, [ACCESS, SCOPE])
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self.socket)),
            base_url=f"http://toy{self.prefix}api/v1/",
            headers={"Authorization": f"token {token}"},
            timeout=60,
        )


async def _ready() -> tuple[bool, Mapping[str, object]]:
    return True, {}


@asynccontextmanager
async def served(
    spec: ServiceSpec[Any],
    context: Any,
    directory: Path,
    *,
    cache_seconds: int = 1,
    keys: KeyVerifier | None = None,
    pages: Pages = (),
    **shell: Any,
) -> AsyncIterator[Served]:
    """Serve a service in this process.

    Args:
        spec: the service, called ``toy``.
        context: what its functions get first.
        directory: short enough for sockets in it.
        cache_seconds: how long the hub's word is kept.
        keys: its bearer keys.
        pages: the service's own rules.
        shell: of ``RunningService``: what its pages show around themselves.
    """
    hub = HubStub(directory / "hub.sock")
    prefix = f"/services/{spec.name}/"
    auth = PatientAuth(
        api_token="x",
        api_url=hub.url,
        cache_max_age=cache_seconds,
        access_scopes={ACCESS},
        oauth_client_id="service-toy",
        base_url=prefix,
    )
    serving = RunningService(
        spec,
        context,
        auth,
        prefix,
        _ready,
        list,
        MetricsToken(directory / "metrics.token"),
        keys=keys,
        **shell,
    )
    server = NamedRequests(
        make_application(serving, pages=pages, cookie_secret=b"secret of a test")
    )
    socket = directory / "toy.sock"
    server.add_socket(bind_unix_socket(str(socket), mode=0o600))
    try:
        yield Served(hub, serving, socket, prefix, server)
    finally:
        serving.stopping.set()
        server.stop()
        await server.close_all_connections()
        await JupyterHubHTTPClient.loop_instance().close()
        hub.close()
