"""A program that outlives us: started, adopted by the next of us, kept running, ended.

::

    class Database(Program):
        name = "the database"
        ...
    managed = ManagedProcess(Database(), state_file, log_file=log_file)
    await managed.start()       # adopts the one of earlier, or starts one that serves
    await managed.close()       # lets it go on; or stop(), which ends it
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backoff import Restarts
from .errors import GatewayError
from .file_lock import locked_within
from .files import write_whole
from .process_log import begin_log, cap_log, lines_since
from .processes import ProcessId

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_LOG_SECONDS = 30.0
_LOCK_SECONDS = 5.0
_PASSED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "OPENSSL_CONF",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)


class NotStarted(GatewayError):
    """A program did not come to serve; its process, if there was one, has ended.

    Attributes:
        lines: what it wrote meanwhile.
        ended: it ended by itself; False if it was only silent, and was ended.
    """

    def __init__(
        self, reason: str, *, lines: Sequence[str] = (), ended: bool = False
    ) -> None:
        self.lines = list(lines)
        self.ended = ended
        super().__init__("\n".join(self.lines[-8:]) or reason)


def daemon_environment() -> dict[str, str]:
    """Return what a program that is not ours gets of our environment, by name.

    Ours holds the operator's token and the demo's password: nothing is passed on that
    is not in this list.
    """
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started.

    Attributes:
        command: its argv.
        environment: all of it.
        directory: in which it runs; ours, if none is given.
        umask: with which it runs; -1 for ours.
        before_exec: called in the new process, for what only that can set. Not for a
            process of ours that has threads.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=daemon_environment)
    directory: Path | None = None
    umask: int = -1
    before_exec: Callable[[], None] | None = None


def spawn(launch: Launch, log_file: Path) -> ProcessId:
    """Start a program in a session of its own, its words appended to a log.

    It gets no signal from our terminal and goes on when we end.

    Args:
        launch: what to start.
        log_file: where its words go.

    Raises:
        OSError: it cannot be executed.
    """
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(launch.command),
            cwd=launch.directory,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=launch.umask,
            preexec_fn=launch.before_exec,
        )
    finally:
        os.close(output)
    child.returncode = 0  # wait_ended() takes it, of a child as of an adopted process
    return ProcessId.of_child(child.pid)


async def wait_ended(process: ProcessId) -> int | None:
    """Return when ``process`` has ended, child of ours or not; reap it if it is.

    Returns:
        The exit code of a child, negative for a signal; ``None`` of another process,
        or where somebody else had asked for it before.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if not process.keeps_pid:
            return None
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
        return _reap(process.pid)
    finally:
        os.close(descriptor)


def _reap(pid: int) -> int | None:
    """Take the exit status of a child, so that it does not stay as a zombie."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None  # adopted, not a child: its parent is init
    return os.waitstatus_to_exitcode(status) if ended else None


async def end(process: ProcessId, *, patience_seconds: float) -> None:
    """Ask ``process`` to end, and make it end when it has not after a while."""
    process.send(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience_seconds):
            await wait_ended(process)
    except TimeoutError:
        process.send(signal.SIGKILL)
        async with asyncio.timeout(patience_seconds):
            await wait_ended(process)


class Program(ABC):
    """What :class:`ManagedProcess` has to know of a program.

    Attributes:
        name: for people, as the subject of a sentence.
        start_seconds: it has for coming to serve.
        step_seconds: between two looks whether it does.
        patience_seconds: it has for ending on SIGTERM.
        log: where its life is told.
    """

    name: str
    start_seconds: float = 60.0
    step_seconds: float = 0.1
    patience_seconds: float = 15.0
    log: Log = logging.getLogger(__name__)

    @abstractmethod
    async def prepare(self, replaced: ProcessId | None) -> Launch:
        """Make whole what the program reads, and return how it is started.

        Args:
            replaced: the one that serves and that the new one takes over from, in
                :meth:`ManagedProcess.replace`.
        """

    @abstractmethod
    async def serves(self, process: ProcessId) -> bool:
        """Return whether it serves now; asked again and again, of one that runs.

        Raises:
            Exception: it never will; it is ended.
        """

    async def find(
        self,
        recorded: ProcessId | None,
        facts: Mapping[str, Any],
    ) -> ProcessId | None:
        """Return the process of an earlier one of us to go on with.

        Args:
            recorded: the one that was written down, if it still runs. It is ended if
                it is not what this returns.
            facts: as :meth:`facts` were when it was.
        """
        return recorded

    def owns(self, process: ProcessId) -> bool:
        """Return whether a process that has the pid and start of ours can be ours."""
        return True

    def facts(self) -> Mapping[str, Any]:
        """Return what the next one of us has to know of the process; goes to JSON."""
        return {}

    async def started(self, process: ProcessId) -> None:
        """Called when one serves that we have started, before it counts as up."""
        self.log.info("%s serves, pid %s", self.name, process.pid)

    async def ended(self, process: ProcessId, code: int | None, pause: float) -> None:
        """Called when it ended that should not; after ``pause`` seconds it is back."""
        self.log.warning(
            "%s, pid %s, ended (code %s): starting it in %g s",
            self.name,
            process.pid,
            code,
            pause,
        )

    async def failed(self, error: Exception, pause: float) -> None:
        """Called when one that had ended did not start; it is tried after ``pause``."""
        self.log.error(
            "%s does not start, next try in %g s: %s", self.name, pause, error
        )


class ManagedProcess:
    """Keeps one process of a program running, over our own restarts.

    At any time at most one process of ours serves, and one of us looks after it. It is
    known by pid and start time in ``state_file``, so that whoever got the pid of one
    that is gone is neither adopted nor ended. Nobody is given up: what keeps ending is
    started again, after longer and longer pauses.

    It can be killed at any moment, and so can we: the next start finds what runs.

    Args:
        program: what is run.
        state_file: where the process is written down for the next one of us; in a
            directory of ours.
        log_file: takes the program's words; it does not grow on.
        restarts: makes the pauses.
        changing: held from ``prepare`` to ``started``, for what must not be changed
            while the program reads it; an :class:`asyncio.Lock` or its like.
    """

    def __init__(
        self,
        program: Program,
        state_file: Path,
        *,
        log_file: Path,
        restarts: Restarts | None = None,
        changing: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        self._program = program
        self._state_file = state_file
        self._log_file = log_file
        self._restarts = Restarts() if restarts is None else restarts
        self._changing: AbstractAsyncContextManager[object]
        self._changing = asyncio.Lock() if changing is None else changing
        self._process: ProcessId | None = None
        self._retired: list[ProcessId] = []
        # As written down, by us or an earlier one of us; without what is starting.
        self._written: dict[str, Any] = {}
        self._watch: asyncio.Task[None] | None = None
        self._reapers: set[asyncio.Task[int | None]] = set()
        self._lock: int | None = None
        self.up = asyncio.Event()

    @property
    def process(self) -> ProcessId | None:
        """The one that serves now; for a moment longer if it has just ended."""
        return self._process

    @property
    def pid(self) -> int | None:
        """Its pid."""
        return self._process.pid if self._process else None

    async def adopt(self) -> bool:
        """Go on with the process of an earlier one of us, and end it if that fails.

        For who has to do something between this and :meth:`start`, which does it, too.

        Returns:
            False if there is none that serves; none runs then.

        Raises:
            NotStarted: another one of us looks after it.
        """
        await self._hold()
        recorded, starting = self._load()
        process = await self._program.find(recorded, self._written)
        for earlier in (recorded, starting):
            if earlier is None or earlier == process:
                continue
            self._program.log.warning(
                "%s of earlier, pid %s, is ended", self._program.name, earlier.pid
            )
            await end(earlier, patience_seconds=self._program.patience_seconds)
        if process is None:
            return False
        self._process = process
        self._program.log.info(
            "%s, pid %s, is adopted", self._program.name, process.pid
        )
        self.up.set()
        return True

    async def start(self) -> None:
        """Return when one serves, adopted or new; it is kept running from now on.

        Raises:
            NotStarted: it ended, or did not serve in time; it is not tried again. So
                with all that ``prepare``, ``serves`` and ``started`` raise.
        """
        try:
            if self._process is None and not await self.adopt():
                await self._launch()
        except BaseException:
            self._let_go()
            raise
        self._watch = asyncio.create_task(self._keep_running())

    async def replace(self) -> None:
        """Start another that takes over from the one that serves.

        The old one is left to finish what it has begun, and to end by itself.

        Raises:
            NotStarted: the old one goes on. So with all that ``prepare`` raises.
        """
        await self._launch(self._process)

    async def close(self) -> None:
        """Look after it no longer; the program goes on."""
        self.up.clear()
        tasks = [task for task in (self._watch, *self._reapers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watch = None
        self._let_go()

    async def stop(self) -> None:
        """End it, and what it took over from: SIGTERM, and after a while SIGKILL."""
        await self.close()
        for process in (self._process, *self._retired):
            if process is not None and process.keeps_pid:
                self._program.log.info(
                    "%s, pid %s, is stopped", self._program.name, process.pid
                )
                await end(process, patience_seconds=self._program.patience_seconds)
        self._process = None
        self._retired.clear()
        self._written = {}
        self._state_file.unlink(missing_ok=True)

    async def _keep_running(self) -> None:
        pause = 0.0
        while True:
            process = self._process
            if process is not None:
                began = time.monotonic()
                code = await self._look_after(process)
                async with self._changing:
                    pass  # an idle one ends before the one that replaces it is known
                if process != self._process:
                    continue  # it was replaced
                self.up.clear()
                self._process = None
                pause = self._restarts.ended(time.monotonic() - began)
                await self._program.ended(process, code, pause)
            await asyncio.sleep(pause)
            try:
                await self._launch()
            except Exception as error:  # noqa: BLE001 -- whatever it is, try again
                pause = self._restarts.failed()
                await self._program.failed(error, pause)

    async def _look_after(self, process: ProcessId) -> int | None:
        """Return when it has ended; until then its log does not grow on."""
        ended = asyncio.create_task(wait_ended(process))
        try:
            while not (await asyncio.wait({ended}, timeout=_LOG_SECONDS))[0]:
                await asyncio.to_thread(cap_log, self._log_file)
            return ended.result()
        finally:
            ended.cancel()

    async def _launch(self, replaced: ProcessId | None = None) -> None:
        async with self._changing:
            launch = await self._program.prepare(replaced)
            offset = begin_log(self._log_file)
            try:
                process = spawn(launch, self._log_file)
            except OSError as error:
                raise NotStarted(str(error)) from error
            try:
                # Before it serves: it holds what the next one would need.
                self._save_starting(process)
                await self._wait_serving(process, offset)
            except BaseException:
                await end(process, patience_seconds=self._program.patience_seconds)
                self._forget_starting()
                raise
            self._process = process
            if replaced is not None:
                self._retire(replaced)
            self._save()
            await self._program.started(process)
            self.up.set()

    async def _wait_serving(self, process: ProcessId, offset: int) -> None:
        deadline = time.monotonic() + self._program.start_seconds
        while time.monotonic() < deadline:
            if not process.alive:
                code = await wait_ended(process)
                reason = f"It ended with code {code}."
                raise NotStarted(reason, lines=self._words(offset), ended=True)
            if await self._program.serves(process):
                return
            await asyncio.sleep(self._program.step_seconds)
        reason = f"It did not serve after {self._program.start_seconds:g} s."
        raise NotStarted(reason, lines=self._words(offset))

    def _words(self, offset: int) -> list[str]:
        return lines_since(self._log_file, offset)

    def _retire(self, process: ProcessId) -> None:
        self._retired = [one for one in (*self._retired, process) if one.alive]
        task = asyncio.create_task(wait_ended(process))
        self._reapers.add(task)
        task.add_done_callback(self._reapers.discard)

    def _load(self) -> tuple[ProcessId | None, ProcessId | None]:
        """What was written down and still runs: who served, and who was starting."""
        self._written = {}
        try:
            state = json.loads(self._state_file.read_text())
            starting = state.pop("starting", None)
            young = ProcessId(*map(int, starting)) if starting else None
            process = None
            if "pid" in state:
                process = ProcessId(int(state["pid"]), int(state["started"]))
            retired = [
                ProcessId(int(pid), int(started))
                for pid, started in state.get("retired", [])
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None, None
        self._written = state
        self._retired = [one for one in retired if one.alive]
        return self._if_ours(process), self._if_ours(young)

    def _if_ours(self, process: ProcessId | None) -> ProcessId | None:
        if process is None or not process.alive or not self._program.owns(process):
            return None
        return process

    def _save_starting(self, process: ProcessId) -> None:
        """Write down who starts, for the next one of us to end if we are killed."""
        starting = {**self._written, "starting": [process.pid, process.started]}
        write_whole(self._state_file, json.dumps(starting))

    def _forget_starting(self) -> None:
        if self._written:
            write_whole(self._state_file, json.dumps(self._written))
        else:
            self._state_file.unlink(missing_ok=True)

    def _save(self) -> None:
        if self._process is None:
            return
        self._written = {
            **self._program.facts(),
            "pid": self._process.pid,
            "started": self._process.started,
            "retired": [[one.pid, one.started] for one in self._retired],
        }
        write_whole(self._state_file, json.dumps(self._written))

    async def _hold(self) -> None:
        """Be the only one that looks after it, until we let go or are gone."""
        if self._lock is not None:
            return
        path = self._state_file.with_suffix(".lock")
        lock = await locked_within(path, _LOCK_SECONDS, self._program.step_seconds)
        if lock is None:
            raise NotStarted(f"Another process looks after it ({path}).")
        self._lock = lock

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
