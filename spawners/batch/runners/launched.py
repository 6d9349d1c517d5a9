"""Becoming the user through ``landbridge-launch``: by sudo here, by ssh elsewhere.

Both hand one JSON request to the same program (:mod:`.launcher`) and read one JSON
answer. It has its own deadline, since what sudo started is not ours to kill, and
takes ``SLURM_CONF`` from its own configuration only.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from spawners.common.ownership import own_directory
from spawners.common.sockets import LONGEST_PATH

from ..errors import AnswerTooLong, InvalidSpec, NotPermitted, SchedulerUnavailable
from . import launcher
from .direct import (
    NO_VARIABLES,
    Completed,
    Processes,
    RunnerSettings,
    SelfRunner,
    check_variables,
)

# The launcher answers a time-out itself; we wait this much longer for its word.
_GRACE_SECONDS = 5.0
_CONNECT_SECONDS = 20.0
_TAIL_SECONDS = 10.0
# ssh adds 17 bytes to its socket's path while it makes one, and we "/ssh".
_LONGEST_DIRECTORY = LONGEST_PATH - 22
# sudo(8) 1.9: its own failures, and what the policy says.
_SUDO_SAYS = re.compile(rb"sudo: |not allowed to execute|not in the sudoers file")
_USER = re.compile(rf"{launcher.USER_NAME}\Z")


class _Asking:
    """Sends requests to the launcher; subclasses say how it is started."""

    def __init__(self, settings: RunnerSettings) -> None:
        # What a command wrote comes back as base64 within JSON.
        room = settings.max_output * 4 // 3 + 65_536
        self._processes = Processes(replace(settings, max_output=room))
        self._path = settings.path

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None,
        stdin: bytes = b"",
        env: Mapping[str, str] = NO_VARIABLES,
        timeout: float = 30.0,  # noqa: ASYNC109 - it also kills the command
    ) -> Completed:
        """Run ``argv`` as :meth:`.direct.CommandRunner.run` promises.

        ``SLURM_CONF`` is left out: the launcher's own configuration has it.
        """
        check_variables(env)
        began = monotonic()
        answer = await self._ask(
            user,
            timeout,
            operation="run",
            argv=list(argv),
            environment={k: v for k, v in env.items() if k != "SLURM_CONF"},
            stdin=base64.b64encode(stdin).decode(),
            timeout=min(timeout, launcher.MAX_TIMEOUT),
        )
        try:
            out, err = (base64.b64decode(answer[key]) for key in ("stdout", "stderr"))
            code = int(answer["returncode"])
        except (KeyError, TypeError, ValueError) as error:
            raise _nonsense() from error
        return Completed(code, out, err, timedelta(seconds=monotonic() - began))

    async def read_tail(
        self, path: str, *, user: str | None, max_bytes: int = 16_384
    ) -> bytes:
        """Return a file's end as :meth:`.direct.CommandRunner.read_tail` promises."""
        answer = await self._ask(
            user, _TAIL_SECONDS, operation="read", path=path, max_bytes=max_bytes
        )
        if answer.get("error") == "missing":
            return b""
        try:
            return base64.b64decode(answer["data"])
        except (KeyError, TypeError, binascii.Error) as error:
            raise _nonsense() from error

    async def _start(self, user: str | None) -> list[str]:
        raise NotImplementedError

    def _failure(self, done: Completed, user: str | None) -> Exception:
        raise NotImplementedError

    async def _ask(self, user: str | None, seconds: float, **request: Any) -> Any:
        if user is not None and not _USER.match(user):
            raise NotPermitted(f"{user[:40]!r} is no login name.")
        request |= {"version": launcher.VERSION, "user": user}
        argv = await self._start(user)
        account_environment = {"PATH": ":".join(self._path), "LC_ALL": "C.UTF-8"}
        done = await self._processes.execute(
            argv,
            env=account_environment,
            stdin=json.dumps(request).encode(),
            timeout=seconds + _GRACE_SECONDS,
        )
        # A login script may have printed something before.
        last = done.stdout.strip().rpartition(b"\n")[2]
        try:
            answer = json.loads(last)
        except ValueError:
            raise self._failure(done, user) from None
        if not isinstance(answer, dict) or answer.get("version") != launcher.VERSION:
            raise _nonsense()
        _raise_refusal(answer)
        return answer


def _raise_refusal(answer: Mapping[str, object]) -> None:
    kind, message = answer.get("error"), str(answer.get("message", ""))[:500]
    if kind in ("refused", "denied"):
        raise NotPermitted(message)
    if kind == "malformed":
        raise InvalidSpec("request", message)
    if kind == "too_large":
        raise AnswerTooLong(message)
    if kind is not None and kind != "missing":
        raise SchedulerUnavailable(message)


def _nonsense() -> SchedulerUnavailable:
    return SchedulerUnavailable(
        "landbridge-launch answered something unexpected.",
        hint="Is it of the same version as the hub?",
    )


def _tail(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no message"


class SudoRunner(_Asking):
    """For a hub with an account of its own that sudo lets start the launcher.

    Questions (``user=None``) are asked directly, as the hub's account.

    Args:
        launch: absolute path of the launcher, as the sudo rule names it, and the
            arguments that the rule pins.
        settings: as for all runners; ``environment`` reaches questions only.
        sudo: the sudo program.
    """

    def __init__(
        self,
        launch: Sequence[str] = ("/usr/local/libexec/landbridge-launch",),
        settings: RunnerSettings | None = None,
        *,
        sudo: str = "sudo",
    ) -> None:
        settings = settings or RunnerSettings()
        super().__init__(settings)
        self._self = SelfRunner(settings)
        self._launch, self._sudo = list(launch), sudo

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None,
        stdin: bytes = b"",
        env: Mapping[str, str] = NO_VARIABLES,
        timeout: float = 30.0,  # noqa: ASYNC109 - it also kills the command
    ) -> Completed:
        """Run ``argv`` as :meth:`.direct.CommandRunner.run` promises."""
        run = self._self.run if user is None else super().run
        return await run(argv, user=user, stdin=stdin, env=env, timeout=timeout)

    async def read_tail(
        self, path: str, *, user: str | None, max_bytes: int = 16_384
    ) -> bytes:
        """Return a file's end as :meth:`.direct.CommandRunner.read_tail` promises."""
        read = self._self.read_tail if user is None else super().read_tail
        return await read(path, user=user, max_bytes=max_bytes)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _start(self, user: str | None) -> list[str]:
        if user is None:  # without -u it would be root
            raise NotPermitted("The launcher is started for a user only.")
        return [self._sudo, "-n", "-u", user, "--", *self._launch]

    def _failure(self, done: Completed, user: str | None) -> Exception:
        said = _tail(done.stderr)
        if _SUDO_SAYS.search(done.stderr):
            return NotPermitted(
                f"sudo does not let the hub act as {user}: {said}",
                hint="See config/sudoers.d/landbridge.",
            )
        return SchedulerUnavailable(f"{self._launch[0]} failed: {said}")


class SshRunner(_Asking):
    """For a hub on a machine of its own: the launcher on a login node.

    One authenticated connection is kept open (ssh's ControlMaster), opened when the
    first command needs it and again when it broke. Keys, host keys and ports are
    the business of ssh's own configuration and of ``options``.

    Args:
        host: the login node, as ssh names it.
        directory: for the control socket, made with mode 0700 if missing; its path
            has at most 85 bytes. The same one after a restart finds the connection.
        launch: the launcher's path over there, and its arguments.
        account: the account to connect as, or ``""`` for ssh's own choice.
        sudo: whether that account starts the launcher by sudo (else it is root's,
            or the only user).
        options: further arguments of ssh, such as ``-F FILE``.
        settings: as for all runners; accounts and variables are judged over there.
    """

    def __init__(
        self,
        host: str,
        directory: Path,
        *,
        launch: Sequence[str] = ("/usr/local/libexec/landbridge-launch",),
        account: str = "",
        sudo: bool = False,
        options: Sequence[str] = (),
        settings: RunnerSettings | None = None,
    ) -> None:
        super().__init__(settings or RunnerSettings())
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,250}", host):
            raise InvalidSpec("ssh_host", f"{host[:40]!r} is no host name.")
        if len(str(directory).encode()) > _LONGEST_DIRECTORY:
            raise InvalidSpec("directory", f"{directory} is too long for a socket.")
        self._host, self._launch, self._sudo = host, list(launch), sudo
        self._socket = directory / "ssh"
        self._opening = asyncio.Lock()
        login = ["-l", account] if account else []
        self._ssh = [
            *("ssh", "-T", "-o", "BatchMode=yes", "-o", "ControlMaster=auto"),
            *("-o", f"ControlPath={self._socket}", "-o", "ControlPersist=600"),
            *("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5"),
            *("-o", "ServerAliveCountMax=3", *login, *options),
        ]

    async def close(self) -> None:
        """End the connection that was kept open."""
        if self._socket.exists():
            await self._control([*self._ssh, "-O", "exit", "--", self._host])

    async def _start(self, user: str | None) -> list[str]:
        async with self._opening:
            if not self._socket.exists():
                await self._open()
        become = ["sudo", "-n", "-u", user, "--"] if self._sudo and user else []
        # ssh joins its arguments for a shell over there: one quoted text, then.
        return [*self._ssh, "--", self._host, shlex.join([*become, *self._launch])]

    async def _open(self) -> None:
        own_directory(self._socket.parent)
        done = await self._control([*self._ssh, "-f", "-N", "--", self._host])
        if done.returncode != 0:
            raise self._failure(done, None)

    async def _control(self, argv: Sequence[str]) -> Completed:
        return await self._processes.execute(
            argv,
            env={"PATH": ":".join(self._path), "HOME": str(Path.home())},
            stdin=b"",
            timeout=_CONNECT_SECONDS,
        )

    def _failure(self, done: Completed, user: str | None) -> Exception:
        said = _tail(done.stderr)
        if done.returncode == 255:
            return SchedulerUnavailable(f"No ssh to {self._host}: {said}")
        if _SUDO_SAYS.search(done.stderr):
            return NotPermitted(f"sudo on {self._host} refuses {user}: {said}")
        return SchedulerUnavailable(
            f"{self._launch[0]} on {self._host} failed: {said}",
            hint="Is it installed there?",
        )
