"""A service in the test's own process, at a hub of a few answers.

::

    async with ServiceRig(SERVICE, open_toy, tmp_path) as rig:
        ann = rig.program("ann")
        assert await ann.call("GET", "things") == {"things": []}

All of the frame is real: sockets, sign-in, scopes, XSRF, the database of the service.
Only the hub is a :class:`~.hub.HubStub`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self

import httpx
from jupyterhub.httpclient import JupyterHubHTTPClient
from prometheus_client.parser import text_string_to_metric_families

from spawners.batch.jobs.api import JobsApi
from spawners.common.files import write_private

from ..app import Environment, Open, OpenService, serve
from ..service import Service
from ..web.auth import CACHE_SECONDS, COOKIES, PatientAuth
from ..web.routes import C, ServiceSpec
from .client import ServiceClient
from .hub import HubStub

_METRICS_TOKEN = "token-of-the-collector"  # noqa: S105 -- a rig's
_ORIGIN = "http://gateway.test"


class ServiceRig(Generic[C]):
    """One service, in process.

    Args:
        service: as the hub's registry knows it.
        open_service: opens it, as its ``__main__`` would have it opened.
        directory: for its state; a test's own. A second rig there is the service
            started again.
        settings: its section of ``gateway.toml``.
        hub: whom it asks; one of its own by default, which ends with the rig.
        spec: its REST API; of the service's module by default.
        jobs: makes its client of the jobs service, at each start
            (:meth:`.cluster.FakeCluster.jobs`).

    Attributes:
        hub: whom it asks; its tokens may all that the service has, unless told other.
        spec: its REST API.
        environment: where the service stands.
        opened: what ``open_service`` made, while it runs.
    """

    def __init__(
        self,
        service: Service[Any],
        open_service: Open[C],
        directory: Path,
        *,
        settings: Mapping[str, object] | None = None,
        hub: HubStub | None = None,
        spec: ServiceSpec[C] | None = None,
        jobs: Callable[[], JobsApi] | None = None,
    ) -> None:
        self._service = service
        self._open = open_service
        self._directory = directory
        self._sockets = Path(tempfile.mkdtemp(prefix="lb-"))  # such paths are short
        self._own_hub = hub is None
        access = f"access:services!service={service.name}"
        self.hub = hub or HubStub(
            self._sockets / "hub.sock", scopes=(access, *service.scopes)
        )
        self.spec: ServiceSpec[C] = spec or service.spec()
        prefix = f"/services/{service.name}/"
        self._auth = PatientAuth(
            api_url=self.hub.url,
            api_token=self.hub.service_token,
            base_url=prefix,
            hub_prefix="/hub/",
            oauth_client_id=f"service-{service.name}",
            oauth_redirect_uri=f"{prefix}oauth_callback",
            access_scopes={access},
            cache_max_age=CACHE_SECONDS,
            cookie_options=dict(COOKIES),
        )
        self.environment = Environment(
            socket=self._sockets / "service.sock",
            prefix=prefix,
            base_url="/",
            state=directory / "state",
            config=self._configured(settings or {}),
            auth=self._auth,
            jobs=jobs,
        )
        self._stop = asyncio.Event()
        self._clients: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Self:
        """Start the service; return once it listens."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the service, and clean up all but its state."""
        await self.close()

    async def start(self) -> None:
        """Start the service, anew after :meth:`stop`; return once it listens.

        Raises:
            Exception: whatever kept it from being opened.
        """
        (self.environment.state / "db").mkdir(parents=True, exist_ok=True)
        token = self.environment.metrics_token
        if not token.exists():
            token.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(token, _METRICS_TOKEN)
        self._stop.clear()
        listens = asyncio.Event()

        async def open_and_keep(environment: Environment, stack: Any) -> OpenService[C]:
            self.opened = await self._open(environment, stack)
            return self.opened

        self._serving = asyncio.create_task(
            serve(self.spec, self.environment, open_and_keep, self._stop, listens)
        )
        listening = asyncio.create_task(listens.wait())
        await asyncio.wait(
            (self._serving, listening), return_when=asyncio.FIRST_COMPLETED
        )
        listening.cancel()
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """End the service as a signal would, and wait until all is closed."""
        self._stop.set()
        await self._serving

    async def kill(self) -> None:
        """End the service in the middle of what it does; nothing waits for a turn."""
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def close(self) -> None:
        """End the service, those who ask it, and the hub if it is the rig's own."""
        for client in self._clients:
            await client.aclose()
        if not self._serving.done():
            await self.stop()
        await JupyterHubHTTPClient.loop_instance().close()
        if self._own_hub:
            self.hub.close()
        shutil.rmtree(self._sockets)

    def program(
        self, name: str, scopes: Iterable[str] | None = None, *groups: str
    ) -> ServiceClient:
        """Return a user's program, with a token of its own.

        Args:
            name: whose.
            scopes: of the token; all that the service has by default.
            groups: that the user is in, as well.
        """
        self.hub.add_user(name, *groups)
        return self.bearer(name, self.hub.token(name, scopes))

    def bearer(self, name: str, token: str) -> ServiceClient:
        """Return who shows a token, of the hub's or not; ``""`` for a stranger."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return ServiceClient(name, self.spec, self._http(headers))

    async def browser(
        self, name: str, scopes: Iterable[str] | None = None
    ) -> ServiceClient:
        """Return a user's browser, signed in by the hub, with the service's cookies.

        Raises:
            AssertionError: the service has no page to sign in at.
        """
        session = f"session-of-{name}"
        http = self._http({})
        http.cookies.set("jupyterhub-session-id", session)
        client = ServiceClient(name, self.spec, http, is_browser=True)
        sent = await client.open()
        if not sent.is_redirect:
            raise AssertionError(f"nobody is asked to sign in: {sent.status_code}")
        back = self.hub.sign_in(sent.headers["Location"], name, scopes, session=session)
        done = await client.open(back)
        if not done.is_redirect:
            raise AssertionError(f"signing in: {done.status_code} {done.text}")
        return client

    def forget_answers(self) -> None:
        """Have the service ask the hub anew about everybody who asks."""
        self._auth.cache.values.clear()

    async def metrics(self) -> dict[str, float]:
        """Return the service's numbers, by name and labels as Prometheus has them."""
        headers = {"Authorization": f"Bearer {_METRICS_TOKEN}"}
        answer = await self._http({}).get("metrics", headers=headers)
        answer.raise_for_status()
        return {
            _key(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def _http(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            base_url=f"{_ORIGIN}{self.environment.prefix}",
            transport=httpx.AsyncHTTPTransport(uds=str(self.environment.socket)),
            headers=headers,
            trust_env=False,
        )
        self._clients.append(client)
        return client

    def _configured(self, settings: Mapping[str, object]) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "gateway.toml"
        lines = [f"{name} = {toml_of(value)}" for name, value in settings.items()]
        config.write_text("\n".join([f"[{self._service.name}]", *lines, ""]))
        return config


def toml_of(value: object) -> str:
    """Return a setting as ``gateway.toml`` has it, on one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {toml_of(one)}" for name, one in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_of, value))}]"
    return json.dumps(value)


def _key(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name
