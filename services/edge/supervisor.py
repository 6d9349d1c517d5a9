"""Keep one HAProxy running: start it, adopt it, reload it, start it again.

HAProxy runs in the foreground mode (``-db``) in a session of its own, so its pid
is the process that serves. It survives us; the next of us finds it by the file
``process.json`` and by its run-time socket, and goes on with it. A reload is a
second process that takes over the listening sockets (``-x``) and tells the first
to finish what it has begun (``-sf``); it gets the maps as the first has them in
memory. A HAProxy that had ended begins with the maps' files, and whoever owns a map
brings it what those lack (:mod:`hub.proxy`).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

from spawners.common.backoff import Restarts
from spawners.common.daemon import (
    Launch,
    Log,
    ManagedProcess,
    NotStarted,
    Program,
    daemon_environment,
)
from spawners.common.files import write_whole
from spawners.common.processes import ProcessId

from .config import MAPS
from .errors import CommandRefused, ConfigRefused, RuntimeFault, StartFailed
from .runtime import RuntimeSocket

_START_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 5.0
_BREATH_SECONDS = 0.2


class _Haproxy(Program):
    """HAProxy, and of which configuration it runs with and will be started with.

    Attributes:
        signature: of what the process that serves has read.
        wanted: of the files that are there for the next one.
    """

    name = "HAProxy"
    start_seconds = _START_SECONDS
    step_seconds = 0.02
    patience_seconds = 5.0

    def __init__(
        self,
        command: Sequence[str],
        config_file: Path,
        runtime: RuntimeSocket,
        maps: Sequence[str],
        parts: Mapping[str, bytes],
        log: Log,
    ) -> None:
        self._command = list(command)
        self._map_names = tuple(maps)
        self._parts = dict(parts)
        self._config_file = config_file
        self._runtime = runtime
        self.log = log
        self.signature = self.wanted = self._starting = ""
        # What the one that is replaced has in memory, by map.
        self._maps: dict[str, dict[str, str]] = {}

    async def prepare(self, replaced: ProcessId | None) -> Launch:
        for name, content in {
            **dict.fromkeys(self._map_names, b""),
            **self._parts,
        }.items():
            file = self._config_file.with_name(name)
            if not file.exists():
                await asyncio.to_thread(write_whole, file, content)
        self._maps = {}
        for name in self._map_names if replaced is not None else ():
            # An earlier release had fewer maps.
            with suppress(CommandRefused):
                self._maps[name] = await self._runtime.read_map(name)
        self._starting = self.wanted
        command = [*self._command, "-db", "-f", str(self._config_file)]
        for name in self._parts:
            command += ["-f", str(self._config_file.with_name(name))]
        if replaced is not None:
            command += ["-x", self._runtime.address, "-sf", str(replaced.pid)]
        return Launch(command)

    async def serves(self, process: ProcessId) -> bool:
        if await self._pid() != str(process.pid):
            return False
        self.signature = self._starting
        return True

    async def find(
        self, recorded: ProcessId | None, facts: Mapping[str, Any]
    ) -> ProcessId | None:
        """The HAProxy of an earlier one of us, if it is ours and can be spoken to."""
        pid = await self._pid()
        if not pid.isdecimal():
            return None
        process = ProcessId.of(int(pid))
        if process is None or not self.owns(process):
            raise StartFailed(
                self._command,
                f"pid {pid} answers at {self._runtime.address} and is not ours",
            )
        # Where it is not the one that was written down, nobody knows what it runs with.
        known = process == recorded
        self.signature = self.wanted = str(facts.get("signature", "")) if known else ""
        return process

    def owns(self, process: ProcessId) -> bool:
        return str(self._config_file) in process.command

    def facts(self) -> Mapping[str, Any]:
        return {"signature": self.signature}

    async def started(self, process: ProcessId) -> None:
        for name, entries in self._maps.items():
            if await self._runtime.read_map(name) != entries:
                await self._runtime.replace_map(name, entries)
        await super().started(process)

    async def _pid(self) -> str:
        """Who answers at the run-time socket; nobody, if that is empty."""
        try:
            return (await self._runtime.info()).get("Pid", "")
        except RuntimeFault:
            return ""


class Supervisor:
    """Owner of the one HAProxy process of a configuration.

    Args:
        command: HAProxy's argv without files, e.g. ``["/usr/sbin/haproxy"]``.
        config_file: its configuration; it and the log lie in one directory.
        runtime: the socket that the configuration opens.
        maps: names of the files of maps that it names.
        parts: more files of configuration beside it, kept by others; with the content
            of one that is not there, or that HAProxy does not accept.
        changing: held while one starts, so that a change of a map comes before or
            after.
        log: where the life of the process is told.
    """

    def __init__(
        self,
        command: Sequence[str],
        config_file: Path,
        runtime: RuntimeSocket,
        *,
        changing: AbstractAsyncContextManager[object],
        log: Log,
        maps: Sequence[str] = MAPS,
        parts: Mapping[str, bytes] | None = None,
    ) -> None:
        self._command = list(command)
        self._config_file = config_file
        self._log = log
        self._maps = tuple(maps)
        self._parts = dict(parts or {})
        self._haproxy = _Haproxy(
            command, config_file, runtime, self._maps, self._parts, log
        )
        self._managed = ManagedProcess(
            self._haproxy,
            config_file.with_name("process.json"),
            log_file=config_file.with_name("haproxy.log"),
            # One that had served is back at once, so that nobody waits for it.
            restarts=Restarts(
                _BREATH_SECONDS,
                _LONGEST_PAUSE_SECONDS,
                well_seconds=_LONGEST_PAUSE_SECONDS,
                patient=True,
            ),
            changing=changing,
        )

    @property
    def pid(self) -> int | None:
        """The pid of the HAProxy that serves now."""
        return self._managed.pid

    @property
    def signature(self) -> str:
        """Of the configuration that HAProxy runs with."""
        return self._haproxy.signature

    async def start(self, files: Mapping[str, bytes], signature: str) -> None:
        """Adopt the HAProxy that runs, reload it if need be, or start one.

        Args:
            files: what the configuration is made of.
            signature: changes exactly when a reload is needed.

        Raises:
            ConfigRefused: the configuration is wrong.
            StartFailed: HAProxy ended or was silent; e.g. the port is taken.
        """
        try:
            if not await self._managed.adopt():
                await self._install(files)
                self._haproxy.wanted = signature
            elif signature != self._haproxy.signature:
                await self.reload(files, signature)
            await self._managed.start()
        except NotStarted as error:
            await self._managed.close()
            raise StartFailed(self._command, error.message) from error
        except BaseException:
            await self._managed.close()
            raise

    async def reload(self, files: Mapping[str, bytes], signature: str) -> None:
        """Go over to a new configuration without refusing a connection.

        Raises:
            ConfigRefused, StartFailed: the old process goes on.
        """
        old, old_signature = self._managed.process, self._haproxy.wanted
        directory = self._config_file.parent
        before = await asyncio.to_thread(_read, directory, files)
        await self._install(files)
        self._haproxy.wanted = signature
        if old is None or not old.alive:
            self._haproxy.signature = signature
            return  # it is being started again, from the new files
        try:
            await self._managed.replace()
        except NotStarted as error:
            self._haproxy.wanted = old_signature
            await asyncio.to_thread(_write, directory, before)
            raise StartFailed(self._command, error.message) from error
        self._log.info("Reloaded HAProxy, pid %s after %s", self.pid, old.pid)

    async def stop(self) -> None:
        """End HAProxy and what is left of its reloads."""
        await self._managed.stop()

    async def close(self) -> None:
        """Stop supervising; HAProxy goes on."""
        await self._managed.close()

    async def _install(self, files: Mapping[str, bytes]) -> None:
        """Let HAProxy check copies of the new files, then put them in place."""
        directory = self._config_file.parent
        parts = await asyncio.to_thread(_read, directory, self._parts)
        try:
            await self._try_out(files, {**self._parts, **parts})
        except ConfigRefused:
            if not parts:
                raise
            # What others wrote must not keep everybody out. If it is that, it is set
            # aside; who wrote it brings it to the HAProxy that starts.
            await self._try_out(files, self._parts)
            for name in parts:
                aside = f"{name}.refused"
                self._log.error("HAProxy refuses %s; it is now %s", name, aside)
                (directory / name).replace(directory / aside)
        await asyncio.to_thread(_write, directory, files)

    async def _try_out(
        self, files: Mapping[str, bytes], parts: Mapping[str, bytes]
    ) -> None:
        directory = self._config_file.parent
        with tempfile.TemporaryDirectory(dir=directory, prefix=".check-") as name:
            copies = Path(name)
            content = {**files, **parts, **dict.fromkeys(self._maps, b"")}
            await _whole(_write, copies, content)
            await self._check(copies / self._config_file.name)

    async def _check(self, config_file: Path) -> None:
        names = [config_file, *(config_file.with_name(name) for name in self._parts)]
        checker = await asyncio.create_subprocess_exec(
            *self._command,
            "-c",
            *(word for name in names for word in ("-f", str(name))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=daemon_environment(),
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                output, _ = await checker.communicate()
        except TimeoutError:
            checker.kill()
            await checker.wait()
            raise ConfigRefused(self._config_file, "the check timed out") from None
        if checker.returncode:
            detail = output.decode(errors="replace")
            raise ConfigRefused(
                self._config_file, detail.replace(str(config_file), "line")
            )


async def _whole(work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work`` in a thread; a cancel waits for it.

    What is written on behind a cancel's back would be written into a directory that is
    being removed, and the error of that would take the cancel's place.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_whole(directory / name, content)


def _read(directory: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Those of the files that are there."""
    found = (directory / name for name in names)
    return {path.name: path.read_bytes() for path in found if path.exists()}
