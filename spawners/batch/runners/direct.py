"""Running a batch system's commands, as ourselves or as the user.

A :class:`CommandRunner` says *how we become the user*; which commands there are is
the scheduler's business. Here are those that need no help: :class:`SelfRunner` and
:class:`RootRunner`. Through sudo or ssh: :mod:`.launched`.

Every command has an argv (no shell), an environment that names each variable (the
hub's own, with its secrets, is never inherited), a session of its own, a deadline
after which all of it is killed, and a bound on what it may write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from types import MappingProxyType
from typing import Any, Protocol

from ..errors import AnswerTooLong, InvalidSpec, NotPermitted, SchedulerUnavailable
from . import launcher

log = logging.getLogger(__name__)

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
# How long a killed process may take to go before we stop looking.
_LAST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command that ran to its end answered.

    Attributes:
        returncode: its exit code; negative: the signal that ended it.
        stdout, stderr: what it wrote, at most 64 MiB together.
        duration: wall-clock time from start to end.
    """

    returncode: int
    stdout: bytes = field(repr=False)
    stderr: bytes
    duration: timedelta


class CommandRunner(Protocol):
    """Runs commands on the event loop without ever blocking it.

    Schedulers call it. At most ``parallel`` commands run at once, the rest wait.
    """

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None,
        stdin: bytes = b"",
        env: Mapping[str, str] = NO_VARIABLES,
        timeout: float = 30.0,  # noqa: ASYNC109 - it also kills the command
    ) -> Completed:
        """Run ``argv`` as ``user``, or as the service's own account for ``None``.

        Args:
            argv: a command found in the runner's search path, and its arguments.
            user: login name; commands that change anything need one.
            stdin: what the command reads; a script for sbatch.
            env: variables beside those of the account (``HOME``, ``PATH``, ...).
            timeout: seconds until the command and all it started are killed.

        Raises:
            NotPermitted: we may not act as ``user``, or not run this command.
            SchedulerUnavailable: no such command, no end within ``timeout``, or
                too much output. Whether it had its effect is not known then.
            InvalidSpec: ``env`` holds a variable that would steer the command.
        """

    async def read_tail(
        self, path: str, *, user: str | None, max_bytes: int = 16_384
    ) -> bytes:
        """Return the last bytes of a file, read as ``user``; empty if it is missing.

        Raises:
            NotPermitted: the user may not read it, or it is no regular file.
            SchedulerUnavailable: no answer in time.
        """

    async def close(self) -> None:
        """Release connections. Commands under way are their callers' to cancel."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What the runners have in common.

    Attributes:
        path: directories in which commands are looked for, in this order.
        environment: variables that every command gets, e.g. ``SLURM_CONF``.
        parallel: how many commands may run at once.
        max_output: most bytes a command may write.
        minimum_uid: accounts below it are the system's and are refused.
        group: only its members may be acted for; ``""`` for everybody.
        umask: for commands; Slurm hands it on to the job.
    """

    path: tuple[str, ...] = launcher.Settings.path
    environment: Mapping[str, str] = field(default_factory=lambda: NO_VARIABLES)
    parallel: int = 8
    max_output: int = launcher.MAX_OUTPUT
    minimum_uid: int = launcher.Settings.minimum_uid
    group: str = launcher.Settings.group
    umask: int = launcher.Settings.umask


@dataclass(frozen=True, slots=True)
class Become:
    """Who a child process shall be, all of it set before the program starts."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class Processes:
    """Starts child processes and hears them out. Shared by all runners."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.parallel)

    async def execute(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes,
        timeout: float,  # noqa: ASYNC109 - it also kills the command
        become: Become | None = None,
    ) -> Completed:
        """Run to the end; the whole session is killed at ``timeout`` or cancellation.

        Raises:
            SchedulerUnavailable: as :meth:`CommandRunner.run` says.
        """
        async with self._turn:
            began = monotonic()
            loop = asyncio.get_running_loop()
            hearing = _Hearing(loop, self._settings.max_output)
            with _as_file(stdin) as source:
                transport = await self._spawn(argv, env, source, become, hearing)
            ends = (hearing.gone, hearing.full)
            try:
                await asyncio.wait(
                    ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                in_time = hearing.gone.done()
            finally:
                await _bury(transport, hearing)
            if hearing.full.done():
                raise AnswerTooLong(f"{argv[0]} wrote too much.")
            if not in_time:
                raise SchedulerUnavailable(
                    f"{argv[0]} did not answer within {timeout:g} s."
                )
            duration = timedelta(seconds=monotonic() - began)
            code = transport.get_returncode()
            log.debug("%s: exit %s after %s", argv[0], code, duration)
            out, err = (bytes(hearing.heard[fd]) for fd in (1, 2))
            return Completed(-1 if code is None else code, out, err, duration)

    async def _spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        source: int,
        become: Become | None,
        hearing: _Hearing,
    ) -> asyncio.SubprocessTransport:
        identity: dict[str, Any] = {}  # keywords of subprocess.Popen
        if become is not None:
            identity = {"user": become.uid, "group": become.gid}
            identity["extra_groups"] = list(become.groups)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: hearing,
                *argv,
                stdin=source,
                env=dict(env),
                cwd="/",
                umask=self._settings.umask,
                start_new_session=True,
                **identity,
            )
        except OSError as error:
            raise SchedulerUnavailable(
                f"{argv[0]} cannot be run: {error.strerror}.",
                hint=f"Is it installed in {env.get('PATH', '')}?",
            ) from error
        except ValueError as error:  # a NUL byte in argv or environment
            raise InvalidSpec("argv", f"{argv[0]} cannot be run: {error}.") from error
        return transport


class _Hearing(asyncio.SubprocessProtocol):
    """Collects both outputs.

    Attributes:
        gone: done once the process and its pipes are.
        heard: what came from descriptors 1 and 2.
        full: done as soon as it wrote more than it may.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, max_output: int) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        self.full: asyncio.Future[None] = loop.create_future()
        self.heard = {1: bytearray(), 2: bytearray()}
        self._left = max_output

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self.heard[fd] += data
        elif not self.full.done():
            self.full.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)


async def _bury(transport: asyncio.SubprocessTransport, hearing: _Hearing) -> None:
    """Kill what is left of a process and close its pipes."""
    if not hearing.gone.done():
        # What sudo started is not ours to kill: it has the same deadline by itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        await asyncio.wait([hearing.gone], timeout=_LAST_SECONDS)
    with contextlib.suppress(PermissionError):
        transport.close()


@contextlib.contextmanager
def _as_file(stdin: bytes) -> Iterator[int]:
    """Yield a descriptor to read ``stdin`` from: no pipe that has to be fed."""
    if not stdin:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("stdin"), "r+b") as file:
        file.write(stdin)
        file.flush()
        file.seek(0)
        yield file.fileno()


def check_variables(env: Mapping[str, str]) -> None:
    """Refuse variables that steer a command instead of informing it.

    Raises:
        InvalidSpec: naming the variable.
    """
    for name in env:
        if launcher.STEERING_VARIABLE.match(name) and name != "SLURM_CONF":
            raise InvalidSpec("environment", f"{name} would steer the command.")


class SelfRunner:
    """Runs everything as the account that this process has, for that account alone.

    For a hub of one person, and for ``LocalScheduler``-like set-ups.
    """

    def __init__(self, settings: RunnerSettings | None = None) -> None:
        self._settings = settings or RunnerSettings()
        self._processes = Processes(self._settings)
        self._account = pwd.getpwuid(os.geteuid())

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None,
        stdin: bytes = b"",
        env: Mapping[str, str] = NO_VARIABLES,
        timeout: float = 30.0,  # noqa: ASYNC109 - it also kills the command
    ) -> Completed:
        """Run ``argv`` as :meth:`CommandRunner.run` promises."""
        check_variables(env)
        account, become = await self._find(user)
        named = launcher.environment_of(account, self._settings.path)
        if path := launcher.output_of(argv):
            await self._check_output(path, account, named, become)
        return await self._processes.execute(
            argv,
            env={**named, **self._settings.environment, **env},
            stdin=stdin,
            timeout=timeout,
            become=become,
        )

    async def _check_output(
        self,
        path: str,
        account: pwd.struct_passwd,
        env: Mapping[str, str],
        become: Become | None,
    ) -> None:
        """Refuse what no job's output may go to; looked at by a child, as the user."""
        argv = ["stat", "--printf=%f %u", "--", path]
        done = await self._processes.execute(
            argv, env=env, stdin=b"", timeout=10, become=become
        )
        if done.returncode != 0:
            return  # it is not there yet, or the node's to judge
        mode, owner = done.stdout.decode().split()
        fault = launcher.output_fault(path, int(mode, 16), int(owner), account.pw_uid)
        if fault:
            raise NotPermitted(fault)

    async def read_tail(
        self, path: str, *, user: str | None, max_bytes: int = 16_384
    ) -> bytes:
        """Return the end of a file as :meth:`CommandRunner.read_tail` promises."""
        if not path.startswith("/"):
            raise InvalidSpec("path", "must be absolute.")
        argv = ["tail", f"--bytes={max_bytes}", "--", path]
        done = await self.run(argv, user=user, timeout=10)
        if done.returncode == 0:
            return done.stdout
        if b"No such file or directory" in done.stderr:
            return b""
        raise NotPermitted(f"{path} cannot be read as {user or 'the service'}.")

    async def close(self) -> None:
        """Nothing is held open."""

    async def _find(self, user: str | None) -> tuple[pwd.struct_passwd, Become | None]:
        if user not in (None, self._account.pw_name):
            raise NotPermitted(
                f"Jobs here run as {self._account.pw_name} only, not as {user}.",
                hint="Jobs of others need the runner root, sudo or ssh.",
            )
        return self._account, None


class RootRunner(SelfRunner):
    """Runs commands as any person's account, since this process is root.

    The child is the user before the program starts: groups, gid and uid are set in
    it, and it holds none of the hub's memory, variables or descriptors.
    """

    async def _find(self, user: str | None) -> tuple[pwd.struct_passwd, Become | None]:
        if user is None:
            return self._account, None
        settings = launcher.Settings(
            minimum_uid=self._settings.minimum_uid, group=self._settings.group
        )
        return await asyncio.to_thread(_look_up, user, settings)


def _look_up(
    user: str, settings: launcher.Settings
) -> tuple[pwd.struct_passwd, Become]:
    """Ask the name service, which may be a network away."""
    try:
        account = launcher.find_account(user, settings)
    except launcher.Refused as refusal:
        raise NotPermitted(str(refusal)) from None
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return account, Become(account.pw_uid, account.pw_gid, tuple(groups))
