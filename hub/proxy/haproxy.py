"""JupyterHub's ``Proxy`` over HAProxy's maps. HAProxy is no child of ours.

Who runs it (:mod:`services.edge.process`, or the site) knows no routes: we follow it,
and bring all of them to each HAProxy that comes after another.

A route is one entry of a map that HAProxy holds in memory: adding, changing and
deleting it is one command on the run-time socket and counts from the next request
on. The same routes are kept in two files, which are written off the event loop: a
map, from which an HAProxy that starts anew serves at once, and ``routes.json``,
from which a hub that starts anew knows what it had asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

import traitlets as t
from jupyterhub.proxy import Proxy

from services.edge.admissions import Admissions
from services.edge.config import CHANGING, ROUTES, SESSIONS, runtime_path
from services.edge.errors import (
    BadRoute,
    CommandRefused,
    ProxyFault,
    RuntimeFault,
    StartFailed,
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
from services.edge.resolve import resolve
from services.edge.runtime import RuntimeSocket
from services.edge.table import RouteTable
from spawners.common.daemon import wait_ended
from spawners.common.file_lock import FileLock
from spawners.common.ownership import own_directory
from spawners.common.processes import ProcessId

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

    directory = t.Unicode(
        "haproxy",
        help="Directory of HAProxy's configuration, where its maps are kept.",
    ).tag(config=True)

    runtime_socket = t.Unicode(
        help="HAProxy's run-time socket, a path or host:port; default: in `directory`.",
    ).tag(config=True)

    services = t.List(
        t.Unicode(),
        help="Names of the gateway's own services, which HAProxy reaches by sockets.",
    ).tag(config=True)

    guard_users = t.Bool(
        default_value=False,
        help="Keep the map of sessions, by which HAProxy passes only those browsers on "
        "to users' servers that `admissions` names. Landbridge's hub keeps it.",
    ).tag(config=True)

    start_timeout = t.Float(
        60.0, help="Seconds to wait for HAProxy when the hub starts."
    ).tag(config=True)

    change_timeout = t.Float(
        10.0, help="Seconds to wait for a HAProxy that is being started again."
    ).tag(config=True)

    check_interval = t.Float(
        2.0, help="Seconds between looks at our files and at HAProxy."
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
        self._changing: FileLock
        self.admissions = Admissions(self.log)
        self._served: set[str] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._pid = ""
        self._starting = asyncio.Lock()
        self._looks: list[asyncio.Task[None]] = []

    # -- what JupyterHub calls ---------------------------------------------------

    async def start(self) -> None:
        """Have HAProxy serve with every route that is known. May be called twice.

        Raises:
            StartFailed: HAProxy did not answer in time.
        """
        async with self._starting:
            if self._state is _State.SERVING:
                return
            self._prepare()
            await self._table.open()
            self._lead_to_sockets()
            self._drop_misfits()
            try:
                if self._table.loaded:
                    await self._table.flush()
                if self.guard_users:
                    await self.admissions.flush()
                await self._wait_for_haproxy()
            except BaseException:
                await self._table.close()
                self._changing.close()
                raise
            self._looks = [
                asyncio.create_task(self._follow_haproxy()),
                asyncio.create_task(self._guard_files()),
            ]
            self._state = _State.SERVING

    async def stop(self) -> None:
        """Let HAProxy alone; it goes on, and the routes stay remembered."""
        for task in (*self._looks, *self._late):
            task.cancel()
        await asyncio.gather(*self._looks, *self._late, return_exceptions=True)
        self._looks = []
        if self._state is _State.SERVING:
            await self._table.close()
            self._changing.close()
            self._state = _State.CLOSED

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
    def runtime(self) -> RuntimeSocket:
        """HAProxy's run-time socket, for those who keep maps of their own in it."""
        return self._runtime

    async def flush(self) -> None:
        """Have the files say now what the routes are."""
        await self._table.flush()

    # -- inside ------------------------------------------------------------------

    def _prepare(self) -> None:
        directory = Path(self.directory).absolute()
        own_directory(directory, readable=True)
        self._runtime = RuntimeSocket(
            self.runtime_socket or str(runtime_path(directory))
        )
        self._changing = FileLock(directory / CHANGING)
        self._table = RouteTable(directory, directory / ROUTES, self.log)
        if self.guard_users:
            self.admissions.attach(directory / SESSIONS, self._changing)

    async def _wait_for_haproxy(self) -> None:
        """Bring all routes to HAProxy as soon as it answers."""
        try:
            async with asyncio.timeout(self.start_timeout):
                while not await self._caught_up():  # noqa: ASYNC110 - it acts
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            raise StartFailed(
                "HAProxy",
                f"nobody answers at {self._runtime.address} after "
                f"{self.start_timeout:g} s; start it before the hub, or with it: "
                "landbridge edge",
            ) from None

    async def _caught_up(self) -> bool:
        """Look which HAProxy answers, and bring all routes to one that is new."""
        try:
            pid = (await self._runtime.info()).get("Pid", "")
            if pid != self._pid:
                async with self._changing:
                    await self._reconcile()
        except CommandRefused:
            raise
        except RuntimeFault as error:
            self.log.debug("HAProxy is not there: %s", error)
            return False
        self._pid = pid
        return True

    async def _follow_haproxy(self) -> None:
        """Bring all routes to each HAProxy that comes after the one before."""
        while True:
            await self._while_it_serves()
            try:
                while not await self._caught_up():  # noqa: ASYNC110 - it acts
                    await asyncio.sleep(_RETRY_SECONDS)
            except (OSError, ProxyFault) as error:
                self.log.error("Looking after HAProxy: %s", error)  # noqa: TRY400
                await asyncio.sleep(self.check_interval)
            except Exception:
                self.log.exception("Looking after HAProxy")
                await asyncio.sleep(self.check_interval)

    async def _while_it_serves(self) -> None:
        """Return when the HAProxy that we know has ended, or after a while."""
        process = ProcessId.of(int(self._pid)) if self._pid.isdecimal() else None
        if process is None:
            # It has ended, or runs where we cannot see it.
            await asyncio.sleep(_LATE_SECONDS)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.check_interval):
                await wait_ended(process)

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
                    await self._runtime.delete_entry(ROUTES, key)
                    self._served.discard(key)
                elif key in self._served:
                    await self._runtime.set_entry(ROUTES, key, route.value)
                else:
                    await self._runtime.add_entry(ROUTES, key, route.value)
                    self._served.add(key)
            except CommandRefused:
                raise
            except RuntimeFault as error:
                self.log.debug("HAProxy is not there yet: %s", error)
                return False
        return True

    async def _reconcile(self) -> None:
        """Make HAProxy's map in memory equal to what JupyterHub asked for."""
        actual = await self._runtime.read_map(ROUTES)
        if not self._table.loaded and not self._table.routes and actual:
            self._recover(actual)
        wanted = self._table.entries
        if actual != wanted:
            self.log.info("Bringing %d routes into HAProxy", len(wanted))
            await self._runtime.replace_map(ROUTES, wanted)
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
        """Look after the files from which a HAProxy begins."""
        while True:
            await asyncio.sleep(self.check_interval)
            try:
                await self._table.guard()
                if self.guard_users:
                    await self.admissions.look()
            except (OSError, ProxyFault) as error:
                self.log.error("Looking after routes: %s", error)  # noqa: TRY400
            except Exception:
                self.log.exception("Looking after routes")
