"""``landbridge up``: the whole gateway in the foreground, from nothing to ready.

One process watches over all others of the table (:mod:`.processes`). It starts each
again that ends (the others go on meanwhile), and on Ctrl-C or SIGTERM asks the hub to
stop every server, and ends the processes, before it ends itself.
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
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TextIO
from urllib.parse import quote

from hub.config.paths import check_certificate, prepare_state, site_profiles
from hub.config.ports import forget_ports, jobs_port, port_problem
from hub.config.secrets import ensure_password
from hub.config.settings import Settings
from hub.config.site import check_accounts, detect
from hub.edge import make_edge
from services.edge.errors import ProxyFault
from services.jobs.settings import Site
from spawners.common.backoff import Restarts
from spawners.common.daemon import ManagedProcess, NotStarted, wait_ended
from spawners.common.processes import ProcessId
from spawners.common.settings import ConfigError
from spawners.common.text import size_in_words

from .cleanup import edge_runs, end_leftovers
from .client import HubUnreachable, all_users, ask_hub
from .processes import EDGE, ProcessSpec, environment_of, process_specs
from .program import GatewayProgram, Say

_STOP_SECONDS = 60.0
_SERVERS_SECONDS = 20.0
_STEP_SECONDS = 0.2
_LEAST_FREE = 100 * 1000**2
_LONGEST_PAUSE_SECONDS = 60.0


class CannotStart(Exception):
    """The gateway cannot run here now; the text is one line for a person."""


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
            f"The disk is full: {settings.state} has {size_in_words(free, 'down')} "
            f"free and {size_in_words(_LEAST_FREE)} are needed. Free some, or set "
            "LANDBRIDGE_STATE to another disk."
        )
    if edge_runs(settings):
        return  # its ports are taken by a HAProxy of earlier, which is adopted
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


async def wait_for_hub_of_earlier(settings: Settings, say: Say) -> None:
    """Wait until a hub has ended that was the child of an ``up`` which was killed.

    Before there was a table of processes the hub had the jobs and all services, and
    ended with its parent, soon after that.

    Raises:
        CannotStart: a hub runs with this state that nobody of us has started.
    """
    file = settings.state / "run" / "hub.pid"
    ours = settings.state / "run" / "hub.process.json"
    deadline = time.monotonic() + _STOP_SECONDS
    told = False
    while not ours.exists():
        try:
            pid = int(file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return
        process = ProcessId.of(pid)
        if process is None or "hub.app" not in process.command:
            return
        if time.monotonic() > deadline:
            raise CannotStart(
                f"A hub runs with {settings.state}, pid {pid}. Stop it first."
            )
        if not told:
            say(f"Waiting for the hub of an earlier start, pid {pid}, to end ...")
            told = True
        await asyncio.sleep(_STEP_SECONDS)


class Supervisor:
    """The running gateway: its processes, and what is known about them.

    They outlive us: of a gateway whose ``up`` was killed all goes on, and the next one
    adopts it.

    Args:
        settings: checked.
        site: what ``auto`` came to.
        environment: for each process, by its name.
        say: tells the person at the terminal one line.
    """

    def __init__(
        self,
        settings: Settings,
        site: Site,
        environment: Mapping[str, Mapping[str, str]],
        say: Say,
    ) -> None:
        self._settings = settings
        self._say = say
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        # HAProxy itself is the edge's process; its owner is small, and lives in ours.
        self._edge = make_edge(settings, site)
        self._programs: dict[str, GatewayProgram] = {}
        self._managed: dict[str, ManagedProcess] = {}
        self._specs = process_specs(settings)
        self._serves = {spec.name: asyncio.Event() for spec in self._specs}
        self._changing = {spec.name: asyncio.Lock() for spec in self._specs}
        for spec in self._specs:
            if spec.name == EDGE:
                continue
            program = GatewayProgram(
                spec, settings, environment[spec.name], say, self._stopping
            )
            self._programs[spec.name] = program
            # Servers, jobs and their users do not depend on one that keeps ending, so
            # that is no reason to stop them: it only comes back more slowly.
            self._managed[spec.name] = ManagedProcess(
                program,
                program.state_file,
                log_file=program.log_file,
                restarts=Restarts(longest_seconds=_LONGEST_PAUSE_SECONDS),
                changing=self._changing[spec.name],
            )

    def stop_asked(self) -> None:
        """Stop in good order; asked a second time, stop at once."""
        if self._stopping.is_set():
            self._forced.set()
        else:
            self._say("Stopping: servers, services, HAProxy, hub (again: at once) ...")
        self._stopping.set()

    async def run(self, greeting: str) -> int:
        """Start all, say ``greeting`` once they answer, and watch until stopped.

        Returns the exit code: 0 after being asked to stop.

        Raises:
            CannotStart: one ended before it was ever ready.
        """
        try:
            await self._start()
            if not self._stopping.is_set():
                self._say(greeting)
                await self._stopping.wait()
        finally:
            await self._stop()
        return 0

    async def _start(self) -> None:
        """Start each as soon as those serve that it needs.

        Raises:
            CannotStart: the first that did not come to serve; none is waited for then.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for spec in self._specs:
                    group.create_task(self._start_one(spec))
        except ExceptionGroup as errors:
            causes, rest = errors.split(CannotStart)
            if rest is not None or causes is None:
                raise
            raise _first(causes) from None

    async def _start_one(self, spec: ProcessSpec) -> None:
        for name in spec.needs:
            await self._serves[name].wait()
        try:
            if spec.name == EDGE:
                await self._edge.start()
            else:
                await self._managed[spec.name].start()
        except ProxyFault as error:
            raise CannotStart(f"The edge cannot be started: {error}") from None
        except NotStarted as error:
            raise CannotStart(self._programs[spec.name].why(error)) from None
        self._serves[spec.name].set()

    async def _stop(self) -> None:
        """Stop everything that was started; whatever does not end is ended here."""
        await self._close_all()
        hub = self._managed["hub"].process
        if hub is not None and hub.alive:
            await self._stop_hub(hub)
        elif self._stopping.is_set():
            self._say("There was no hub to stop servers. The next takes up what runs.")
        # Jobs' last reports come through these two: they go last.
        for name in reversed([name for name in self._managed if name != "jobs"]):
            await self._managed[name].stop()
        await self._managed["jobs"].stop()
        await self._edge.stop()
        await end_leftovers(self._settings)

    async def _close_all(self) -> None:
        """Have none started again; one that is being started is up, or has ended."""
        for name, managed in self._managed.items():
            async with self._changing[name]:
                await managed.close()

    async def _stop_hub(self, hub: ProcessId) -> None:
        """Have the hub stop all servers and end; kill it if it takes too long."""
        await self._or_forced(
            asyncio.to_thread(stop_servers, self._settings), _SERVERS_SECONDS * 2
        )
        try:
            wish = {"servers": True, "proxy": True}
            await asyncio.to_thread(ask_hub, self._settings, "POST", "shutdown", wish)
        except HubUnreachable:
            hub.send(signal.SIGTERM)  # it may have ended meanwhile
        if not await self._or_forced(wait_ended(hub), _STOP_SECONDS):
            self._say("The hub is killed; the next start takes up what still runs.")
            hub.send(signal.SIGKILL)
            await wait_ended(hub)

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


def _first(errors: ExceptionGroup[CannotStart]) -> CannotStart:
    """Return the first error of a group, however deep it lies."""
    error: CannotStart | ExceptionGroup[CannotStart] = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


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
        "local": "processes of this machine (no Slurm here)"
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
    """Run the gateway until it is asked to stop; see :class:`Supervisor`."""
    site = await asyncio.to_thread(detect, settings)
    check_accounts(settings, site)
    await wait_for_hub_of_earlier(settings, say)
    await asyncio.to_thread(preflight, settings, site)
    password = settings.password or ensure_password(settings)
    environments = {
        spec.name: environment_of(spec, settings, site, environment, password=password)
        for spec in process_specs(settings)
    }
    supervisor = Supervisor(settings, site, environments, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop_asked)
    given = bool(settings.password)
    return await supervisor.run(greeting(settings, site, password, given=given))


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
