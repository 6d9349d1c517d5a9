"""``landbridge up``: the whole gateway in the foreground, from nothing to ready.

One process watches over the hub, which starts everything else. It starts the hub
again if it crashes (jobs and HAProxy go on meanwhile), and on Ctrl-C or SIGTERM
asks it to stop every server, the services and HAProxy before it ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pwd
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TextIO
from urllib.parse import quote

from hub.config.paths import check_certificate, prepare_state, site_profiles
from hub.config.ports import forget_ports, host_and_port, jobs_port, port_problem
from hub.config.secrets import ensure_password
from hub.config.settings import Settings
from hub.config.site import check_accounts, detect
from hub.services import service_specs
from services.jobs.settings import Site
from spawners.common.backoff import Restarts
from spawners.common.daemon import ManagedProcess, NotStarted, wait_ended
from spawners.common.held_ports import HeldPorts, PortTaken
from spawners.common.settings import ConfigError

from .cleanup import edge_runs, end_leftovers
from .client import HubUnreachable, all_users, ask_hub, health_path, service_answers
from .hub_process import HubProgram, hub_environment

_STOP_SECONDS = 60.0
_SERVERS_SECONDS = 20.0
_SERVICES_SECONDS = 30.0
_STEP_SECONDS = 0.2
_LEAST_FREE = 100 * 1024**2
_LONGEST_PAUSE_SECONDS = 60.0
_END_SECONDS = 10.0


class CannotStart(Exception):
    """The gateway cannot run here now; the text is one line for a person."""


Say = Callable[[str], None]


def take_lock(settings: Settings) -> TextIO:
    """Return the held lock of the state directory: one gateway per state.

    Raises:
        CannotStart: naming who holds it. A crash leaves no lock behind.
    """
    path = settings.state / "run" / "up.lock"
    lock = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        try:
            holder = json.loads(lock.read())
            who = f"pid {holder['pid']}, {holder['url']}"
        except (ValueError, KeyError, TypeError):
            who = "just starting"
        lock.close()
        raise CannotStart(
            f"Landbridge is already running with {settings.state} ({who}). Stop it, "
            "or set LANDBRIDGE_STATE and LANDBRIDGE_PORT for a second one."
        ) from None
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "url": settings.url}))
    lock.flush()
    return lock


def preflight(settings: Settings, site: Site) -> None:
    """Look at what would make the start fail later and less clearly.

    Raises:
        CannotStart: with what to do.
    """
    free = shutil.disk_usage(settings.state).free
    if free < _LEAST_FREE:
        raise CannotStart(
            f"The disk is full: {settings.state} has {free // 1024**2} MB free and "
            f"{_LEAST_FREE // 1024**2} MB are needed. Free some, or set "
            "LANDBRIDGE_STATE to another disk."
        )
    if edge_runs(settings):
        return  # its ports are taken by HAProxy of an earlier hub, which is adopted
    problem = port_problem(settings.hub.bind_address, settings.hub.port)
    if problem:
        raise CannotStart(f"Cannot start: {problem}. Set LANDBRIDGE_PORT to another.")
    problem = port_problem(site.jobs_bind, site.jobs_port)
    if problem and not settings.jobs.port:
        if not forget_ports(settings):
            raise CannotStart(
                f"Cannot start: {problem}, and jobs that run report to it, so it is "
                "not left for another. End what listens there and start again."
            )
        problem = port_problem(site.jobs_bind, jobs_port(settings, site.jobs_bind))
    if problem:
        raise CannotStart(f"Cannot start: {problem}. Set jobs.port to another.")


def hold_ports(settings: Settings, site: Site) -> HeldPorts:
    """Hold the ports of the edge while we live, whatever becomes of hub and HAProxy.

    Raises:
        CannotStart: one is somebody else's by now.
    """
    held = HeldPorts()
    if not settings.proxy.managed:
        return held  # the site's own HAProxy runs as it likes
    jobs = settings.jobs.port or jobs_port(settings, site.jobs_bind)
    try:
        held.hold(host_and_port(settings.hub.bind_address, settings.hub.port))
        held.hold(host_and_port(site.jobs_bind, jobs))
    except PortTaken as error:
        held.close()
        raise CannotStart(
            f"Cannot start: {error}. End what listens there, or set another port."
        ) from None
    return held


class Gateway:
    """The running hub and what is known about it.

    Args:
        settings: checked.
        environment: for the hub, see :func:`hub_environment`.
        say: tells the person at the terminal one line.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], say: Say
    ) -> None:
        self._settings = settings
        self._say = say
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._changing = asyncio.Lock()
        self._hub_program = HubProgram(settings, environment, say, self._stopping)
        # HAProxy, running servers and their users do not depend on the hub, so one that
        # keeps ending is no reason to stop them: it only comes back more slowly.
        self._hub = ManagedProcess(
            self._hub_program,
            restarts=Restarts(longest_seconds=_LONGEST_PAUSE_SECONDS),
            changing=self._changing,
        )

    def stop_asked(self) -> None:
        """Stop in good order; asked a second time, stop at once."""
        if self._stopping.is_set():
            self._forced.set()
        else:
            self._say("Stopping: servers, services, HAProxy, hub (again: at once) ...")
        self._stopping.set()

    async def run(self, greeting: str) -> int:
        """Start the hub, say ``greeting`` once it answers, and watch until stopped.

        Returns the exit code: 0 after being asked to stop.

        Raises:
            CannotStart: the hub ended before it was ever ready.
        """
        try:
            await self._start()
            if not self._stopping.is_set():
                await self._wait_services()
                self._say(greeting)
                await self._stopping.wait()
        finally:
            await self._stop()
        return 0

    async def _start(self) -> None:
        try:
            await self._hub.start()
        except NotStarted as error:
            raise CannotStart(await self._hub_program.why(error)) from None

    async def _wait_services(self) -> None:
        """Wait until the services answer; say which does not, and go on without it."""
        deadline = time.monotonic() + _SERVICES_SECONDS
        for spec in service_specs(self._settings, ""):
            if spec.socket is None:
                continue
            path = health_path(self._settings, spec.name)
            while not await asyncio.to_thread(service_answers, spec.socket, path):
                if self._stopping.is_set():
                    return
                if time.monotonic() > deadline:
                    log = self._hub_program.log_path
                    self._say(f"The service {spec.name} does not answer: {log}")
                    break
                await asyncio.sleep(_STEP_SECONDS)

    async def _stop(self) -> None:
        """Stop everything that was started; whatever the hub did not is ended here."""
        async with self._changing:  # one that is being started is up, or has ended
            await self._hub.close()
        hub = self._hub.process
        if hub is not None and hub.alive:
            await self._or_forced(
                asyncio.to_thread(stop_servers, self._settings), _SERVERS_SECONDS * 2
            )
            try:
                # HAProxy goes last: the jobs' last reports come through it.
                wish = {"servers": True, "proxy": False}
                await asyncio.to_thread(
                    ask_hub, self._settings, "POST", "shutdown", wish
                )
            except HubUnreachable:
                hub.send(signal.SIGTERM)  # it may have ended meanwhile
            if not await self._or_forced(wait_ended(hub), _STOP_SECONDS):
                self._say("The hub is killed; the next start takes up what still runs.")
                hub.send(signal.SIGKILL)
                await wait_ended(hub)
        elif self._stopping.is_set():
            self._say("There was no hub to stop servers. The next takes up what runs.")
        await end_leftovers(self._settings)
        # The services of a hub that was killed end by themselves, and then the pipe.
        await self._hub_program.close(_END_SECONDS)

    async def _or_forced(
        self, work: Coroutine[Any, Any, object], seconds: float
    ) -> bool:
        """Wait for ``work``; False if it took too long or we were asked to hurry."""
        if self._forced.is_set():
            work.close()
            return False
        done = asyncio.create_task(work)
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait(
            {done, forced}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        forced.cancel()
        if not done.done():
            done.cancel()
            return False
        return True


def stop_servers(settings: Settings) -> None:
    """Stop every server while the hub still takes the jobs' last reports. Blocks.

    What does not end in time is left to the hub's own end, which cancels it.
    """
    deadline = time.monotonic() + _SERVERS_SECONDS
    asked: set[str] = set()
    with suppress(HubUnreachable):
        while time.monotonic() < deadline:
            servers = [
                f"users/{quote(user['name'])}/servers/{quote(name)}"
                for user in all_users(settings)
                for name in user.get("servers") or {}
            ]
            if not servers:
                return
            for path in servers:
                if path not in asked:
                    asked.add(path)
                    # A server that is starting just now cannot be stopped yet.
                    with suppress(HubUnreachable):
                        ask_hub(settings, "DELETE", path)
            time.sleep(_STEP_SECONDS)


def greeting(settings: Settings, site: Site, password: str, *, given: bool) -> str:
    """Return what a person reads when the gateway is ready."""
    lines = [f"Landbridge is ready at {settings.url}"]
    if settings.auth.kind == "demo":
        who = "any name, such as ada"
        if site.own_accounts:
            who = f"an account of this machine, such as {_some_account(settings)}"
        shown = "the one in LANDBRIDGE_PASSWORD" if given else password
        lines.append(f"  Sign in as   {who}")
        lines.append(f"  Password     {shown}")
    elif settings.auth.kind == "pam":
        lines.append("  Sign in with your account and password on this machine.")
    else:
        lines.append(f"  Sign in through {settings.auth.oidc.label}.")
    jobs = {
        "slurm": "Slurm",
        "local": "processes of this machine (no Slurm answered)"
        if settings.scheduler.kind == "auto"
        else "processes of this machine",
    }[site.scheduler]
    lines.append(f"  Servers run  as jobs: {jobs}")
    lines.append(f"  Log          {settings.state / 'logs' / 'hub.log'}")
    lines.append("  Ctrl-C stops everything.")
    return "\n".join(lines)


def _some_account(settings: Settings) -> str:
    for account in sorted(pwd.getpwall(), key=lambda entry: entry.pw_uid):
        if settings.auth.lowest_uid <= account.pw_uid < 60_000:
            return account.pw_name
    return "alice (none exists yet: useradd -m alice)"


async def serve(settings: Settings, environment: Mapping[str, str], say: Say) -> int:
    """Run the gateway until it is asked to stop; see :class:`Gateway`."""
    site = await asyncio.to_thread(detect, settings)
    check_accounts(settings, site)
    await asyncio.to_thread(preflight, settings, site)
    held = hold_ports(settings, site)
    password = settings.password or ensure_password(settings)
    child = hub_environment(settings, site, password, environment)
    gateway = Gateway(settings, child, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, gateway.stop_asked)
    given = bool(settings.password)
    try:
        return await gateway.run(greeting(settings, site, password, given=given))
    finally:
        held.close()


def up(settings: Settings, environment: Mapping[str, str], say: Say) -> int:
    """Run the gateway in the foreground; return the exit code.

    Raises:
        CannotStart, ConfigError: in one line, what to do.
    """
    try:
        check_certificate(settings)
        site_profiles(settings)
        prepare_state(settings)
        lock = take_lock(settings)
    except OSError as error:
        raise ConfigError(
            settings.state, [f"cannot be used as state directory: {error.strerror}."]
        ) from None
    with lock:
        return asyncio.run(serve(settings, environment, say))
