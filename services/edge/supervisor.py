"""Keep one HAProxy running: start it, adopt it, reload it, start it again.

HAProxy runs in the foreground mode (``-db``) in a session of its own, so its pid
is the process that serves. It survives us; the next hub finds it by the file
``process.json`` and by its run-time socket, and goes on with it. A reload is a
second process that takes over the listening sockets (``-x``) and tells the first
to finish what it has begun (``-sf``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from spawners.common.backoff import Restarts
from spawners.common.daemon import daemon_environment, end, spawn, wait_ended
from spawners.common.files import write_whole
from spawners.common.process_log import begin_log, lines_since
from spawners.common.processes import ProcessId

from .config import ROUTES, SESSIONS
from .errors import ConfigRefused, ProxyFault, RuntimeFault, StartFailed
from .runtime import RuntimeSocket

_START_SECONDS = 15.0
_PATIENCE_SECONDS = 5.0
_STEP_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 5.0
_BREATH_SECONDS = 0.2


class Supervisor:
    """Owner of the one HAProxy process of a configuration.

    Args:
        command: HAProxy's argv without files, e.g. ``["/usr/sbin/haproxy"]``.
        config_file: its configuration; it and the log lie in one directory.
        runtime: the socket that the configuration opens.
        before_start: called before each start; makes the files on disk whole.
        after_start: called after each start and adoption; makes the map whole.
        changing: held from ``before_start`` to ``after_start``, so that a change
            of a route is either in the files or comes after.
        log: where the life of the process is told.
    """

    def __init__(
        self,
        command: Sequence[str],
        config_file: Path,
        runtime: RuntimeSocket,
        *,
        before_start: Callable[[], Awaitable[None]],
        after_start: Callable[[], Awaitable[None]],
        changing: asyncio.Lock,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._command = list(command)
        self._config_file = config_file
        self._runtime = runtime
        self._before_start = before_start
        self._after_start = after_start
        self._changing = changing
        self._log = log
        self._process: ProcessId | None = None
        self._signature = ""
        self._retired: list[ProcessId] = []
        self._watch: asyncio.Task[None] | None = None
        self._reapers: set[asyncio.Task[None]] = set()
        self.up = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The pid of the HAProxy that serves now."""
        return self._process.pid if self._process else None

    @property
    def signature(self) -> str:
        """Of the configuration that HAProxy runs with."""
        return self._signature

    @property
    def log_file(self) -> Path:
        """What HAProxy itself wrote."""
        return self._config_file.parent / "haproxy.log"

    @property
    def _state_file(self) -> Path:
        return self._config_file.parent / "process.json"

    async def start(self, files: Mapping[str, bytes], signature: str) -> None:
        """Adopt the HAProxy that runs, reload it if need be, or start one.

        Args:
            files: what the configuration is made of.
            signature: changes exactly when a reload is needed.

        Raises:
            ConfigRefused: the configuration is wrong.
            StartFailed: HAProxy ended or was silent; e.g. the port is taken.
        """
        found, old_signature = await self._find()
        if found is None:
            await self._install(files)
            await self._launch(signature)
        else:
            self._process, self._signature = found, old_signature
            self._log.info("Adopted HAProxy, pid %s", found.pid)
            self.up.set()
            if signature != old_signature:
                await self.reload(files, signature)
            else:
                async with self._changing:
                    await self._after_start()
        self._watch = asyncio.create_task(self._keep_running())

    async def reload(self, files: Mapping[str, bytes], signature: str) -> None:
        """Go over to a new configuration without refusing a connection.

        Raises:
            ConfigRefused, StartFailed: the old process goes on.
        """
        old = self._process
        directory = self._config_file.parent
        before = await asyncio.to_thread(_read, directory, files)
        await self._install(files)
        if old is None or not old.alive:
            self._signature = signature
            return  # the watch starts it again, from the new files
        try:
            await self._launch(signature, takes_over=old)
        except StartFailed:
            await asyncio.to_thread(_write, directory, before)
            raise
        self._log.info("Reloaded HAProxy, pid %s after %s", self.pid, old.pid)

    async def stop(self) -> None:
        """End HAProxy and what is left of its reloads."""
        await self.close()
        for process in [self._process, *self._retired]:
            if process is not None and process.alive:
                self._log.info("Stopping HAProxy, pid %s", process.pid)
                await end(process, patience_seconds=_PATIENCE_SECONDS)
        self._process = None
        self._retired.clear()
        self._state_file.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop supervising; HAProxy goes on."""
        self.up.clear()
        tasks = [task for task in (self._watch, *self._reapers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watch = None

    async def _keep_running(self) -> None:
        """Start HAProxy again whenever it ends.

        One that had served is back at once, or after a breath if it did not live
        long. Only starts that fail come more and more slowly.
        """
        restarts = Restarts(
            _BREATH_SECONDS, _LONGEST_PAUSE_SECONDS, well_seconds=_LONGEST_PAUSE_SECONDS
        )
        pause = 0.0
        while True:
            process = self._process
            if process is not None:
                began = time.monotonic()
                await wait_ended(process)
                async with self._changing:
                    pass  # an idle one ends before a reload's new one is known
                if process != self._process:
                    continue  # a reload took its place
                self.up.clear()
                self._process = None
                self._log.warning("HAProxy, pid %s, ended: starting it", process.pid)
                pause = restarts.ended(time.monotonic() - began)
            await asyncio.sleep(pause)
            try:
                await self._launch(self._signature)
            except (ProxyFault, OSError) as error:
                self._log.error("HAProxy does not start: %s", error)
                pause = restarts.failed()

    async def _launch(
        self, signature: str, *, takes_over: ProcessId | None = None
    ) -> None:
        """Start a process and wait until it serves and its map is whole."""
        async with self._changing:
            await self._before_start()
            await self._start_process(signature, takes_over)

    async def _start_process(
        self, signature: str, takes_over: ProcessId | None
    ) -> None:
        arguments = [*self._command, "-db", "-f", str(self._config_file)]
        if takes_over is not None:
            arguments += ["-x", self._runtime.address, "-sf", str(takes_over.pid)]
        size = begin_log(self.log_file)
        try:
            process = spawn(arguments, self.log_file)
        except OSError as error:
            raise StartFailed(self._command, str(error)) from error
        try:
            await self._wait_serving(process, size)
        except BaseException:
            await end(process, patience_seconds=_PATIENCE_SECONDS)
            raise
        self._process, self._signature = process, signature
        if takes_over is not None:
            self._retired.append(takes_over)
            self._reap_later(takes_over)
        self._save()
        await self._after_start()
        self.up.set()
        self._log.info("HAProxy serves, pid %s", process.pid)

    async def _wait_serving(self, process: ProcessId, log_offset: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if not process.alive:
                await wait_ended(process)
                raise StartFailed(self._command, self._last_words(log_offset))
            try:
                if (await self._runtime.info()).get("Pid") == str(process.pid):
                    return
            except RuntimeFault:
                self._log.debug("HAProxy, pid %s, is not up yet", process.pid)
            await asyncio.sleep(_STEP_SECONDS)
        raise StartFailed(self._command, self._last_words(log_offset))

    async def _install(self, files: Mapping[str, bytes]) -> None:
        """Let HAProxy check copies of the new files, then put them in place."""
        directory = self._config_file.parent
        with tempfile.TemporaryDirectory(dir=directory, prefix=".check-") as name:
            copies = Path(name)
            await asyncio.to_thread(
                _write, copies, {**files, ROUTES: b"", SESSIONS: b""}
            )
            await self._check(copies / self._config_file.name)
        await asyncio.to_thread(_write, directory, files)

    async def _check(self, config_file: Path) -> None:
        checker = await asyncio.create_subprocess_exec(
            *self._command,
            "-c",
            "-f",
            str(config_file),
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

    async def _find(self) -> tuple[ProcessId | None, str]:
        """The HAProxy of an earlier hub, if it is ours and can be spoken to."""
        recorded, signature = self._load()
        try:
            pid = (await self._runtime.info()).get("Pid", "")
        except RuntimeFault:
            pid = ""
        if pid.isdecimal():
            process = ProcessId.of(int(pid))
            if process is not None and str(self._config_file) in process.command:
                return process, signature if process == recorded else ""
            raise StartFailed(
                self._command,
                f"pid {pid} answers at {self._runtime.address} and is not ours",
            )
        if recorded is not None and str(self._config_file) in recorded.command:
            self._log.warning("HAProxy, pid %s, does not answer: ending it", recorded)
            await end(recorded, patience_seconds=_PATIENCE_SECONDS)
        return None, ""

    def _load(self) -> tuple[ProcessId | None, str]:
        try:
            state = json.loads(self._state_file.read_text())
            process = ProcessId(int(state["pid"]), int(state["started"]))
            retired = [ProcessId(int(p), int(s)) for p, s in state["retired"]]
            signature = str(state["signature"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, ""
        self._retired = [one for one in retired if one.alive]
        return (process if process.alive else None), signature

    def _save(self) -> None:
        if self._process is None:
            return
        self._retired = [one for one in self._retired if one.alive]
        state = {
            "pid": self._process.pid,
            "started": self._process.started,
            "signature": self._signature,
            "retired": [[one.pid, one.started] for one in self._retired],
        }
        write_whole(self._state_file, json.dumps(state))

    def _reap_later(self, process: ProcessId) -> None:
        task = asyncio.create_task(wait_ended(process))
        self._reapers.add(task)
        task.add_done_callback(self._reapers.discard)

    def _last_words(self, offset: int) -> str:
        return "\n".join(lines_since(self.log_file, offset)[-8:])


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_whole(directory / name, content)


def _read(directory: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Those of the files that are there."""
    found = (directory / name for name in names)
    return {path.name: path.read_bytes() for path in found if path.exists()}
