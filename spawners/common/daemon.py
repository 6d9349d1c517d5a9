"""A program that outlives us: started in a session of its own, waited for, ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from .processes import ProcessId

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


def daemon_environment() -> dict[str, str]:
    """Return what a program that is not ours gets of our environment, by name.

    Ours holds the operator's token and the demo's password: nothing is passed on that
    is not in this list.
    """
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


def spawn(command: Sequence[str], log: Path) -> ProcessId:
    """Start ``command`` in a session of its own, its words appended to ``log``.

    It gets no signal from our terminal and goes on when we end. Of our environment it
    gets :func:`daemon_environment`.

    Raises:
        OSError: it cannot be executed.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            command[0],
            list(command),
            daemon_environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE],
        )
    finally:
        os.close(null)
        os.close(output)
    return ProcessId.of_child(pid)


async def wait_ended(process: ProcessId) -> None:
    """Return when ``process`` has ended, child of ours or not; reap it if it is."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if not process.keeps_pid:
            return
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
        _reap(process.pid)
    finally:
        os.close(descriptor)


def _reap(pid: int) -> None:
    """Take the exit status of a child, so that it does not stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # adopted, not a child: its parent is init


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
