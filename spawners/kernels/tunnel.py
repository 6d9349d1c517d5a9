"""The near end of a kernel's tunnel: sockets for jupyter_client, TLS to the job.

All of it runs in one thread with an event loop of its own (:func:`near_loop`): a
synchronous ``KernelManager`` runs its own loop only inside calls, and a hundred
megabytes of output must not hold up a server's pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import shutil
import ssl
import stat
import tempfile
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar  # Any: what a coroutine is sent

from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.wire import Credential
from spawners.common.files import write_private
from spawners.common.sockets import LONGEST_PATH
from spawners.node.kernel.names import CHANNELS, CONTROL, Json
from spawners.node.kernel.tunnel import (
    PING_SECONDS,
    SILENCE_SECONDS,
    Lines,
    Pipe,
    join,
    mutual_context,
)

from .errors import KernelUnreachable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Made = TypeVar("Made", bound=asyncio.Protocol)

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_LONGEST_PATH = LONGEST_PATH - 27  # the rest for a socket's own name

_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def near_loop() -> asyncio.AbstractEventLoop:
    """Return this process's loop for tunnels; a fork gets one of its own."""
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            _loops.clear()  # those of a parent do not run here
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(_log_quietly)
            threading.Thread(
                target=_run, args=(loop,), name="landbridge-kernels", daemon=True
            ).start()
            _loops[os.getpid()] = loop
        return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _log_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Handshakes of strangers end here, among others.
    log.debug("%s: %s", context.get("message"), context.get("exception"))


def begin(work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
    """Run ``work`` on the tunnels' loop; the future may be waited for anywhere."""
    return asyncio.run_coroutine_threadsafe(work, near_loop())


async def on_near_loop(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run ``work`` on the tunnels' loop and wait; cancelling cancels it."""
    return await asyncio.wrap_future(begin(work))


def private_directory(wanted: str = "") -> str:
    """Make a directory that only we may enter, short enough for sockets in it.

    Args:
        wanted: the one to make or to take again, if it can be had.
    """
    if wanted and len(wanted) <= _LONGEST_PATH:
        with contextlib.suppress(OSError):
            Path(wanted).mkdir(mode=0o700, exist_ok=True)
            facts = os.lstat(wanted)
            private = stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o077
            if private and facts.st_uid == os.getuid():
                return wanted
    # Not XDG_RUNTIME_DIR: it goes when its user logs out.
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if len(parent) < _LONGEST_PATH - 20:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="lbk-", dir=parent)
    return tempfile.mkdtemp(prefix="lbk-")


class _Local(Pipe):
    """A zmq socket of the server that connected to one of our sockets."""

    def __init__(self, tunnel: Tunnel, channel: str) -> None:
        super().__init__()
        self._tunnel = tunnel
        self._channel = channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._tunnel.pipes.add(self)
        self._tunnel.spawn(self._tunnel.reach(self, self._channel))

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._tunnel.pipes.discard(self)


class Tunnel:
    """One kernel's sockets here and its connections to the job's launcher.

    Its methods are for the tunnels' loop, except :meth:`link_sockets`.

    Args:
        directory: a private directory (:func:`private_directory`).
        heard: called with each event of the launcher.
        lost: called when an attached launcher is not heard any more.
    """

    def __init__(
        self, directory: str, heard: Callable[[Json], None], lost: Callable[[], None]
    ) -> None:
        self.directory = directory
        self.pipes: set[Pipe] = set()
        self._heard, self._lost = heard, lost
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._far: tuple[str, int] | None = None
        self._tls: ssl.SSLContext | None = None
        self._host = ""
        self._open = asyncio.Event()
        self._control: Lines | None = None
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._ids = itertools.count(1)
        self._hello: asyncio.Future[Json] | None = None

    @property
    def prefix(self) -> str:
        """What jupyter_client takes for the kernel's "ip"."""
        return f"{self.directory}/s"

    @property
    def attached(self) -> bool:
        """Whether the launcher is being heard."""
        return self._control is not None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Keep a task until it is done or the tunnel closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def open(self) -> None:
        """Listen for jupyter_client's sockets; their connections wait."""
        loop = asyncio.get_running_loop()
        for number, channel in enumerate(CHANNELS, 1):
            path = Path(self.directory) / f"r-{number}"
            path.unlink(missing_ok=True)
            make = functools.partial(_Local, self, channel)
            self._servers.append(await loop.create_unix_server(make, path=str(path)))
        self.link_sockets()

    def link_sockets(self) -> None:
        """Make the names that jupyter_client knows, and deletes at each restart."""
        for number in range(1, len(CHANNELS) + 1):
            link = Path(f"{self.prefix}-{number}")
            with contextlib.suppress(FileExistsError):
                link.symlink_to(f"r-{number}")

    async def reach(self, pipe: _Local, channel: str) -> None:
        """Join a local connection to the job, once there is one."""
        await self._open.wait()
        if pipe.closed or self._far is None:
            pipe.close()
            return
        try:
            far = await self._connect(Pipe)
        except (OSError, TimeoutError) as error:
            log.debug("%s is not reached: %s", channel, error)
            await asyncio.sleep(0.3)  # zmq tries again at once
            pipe.close()
            return
        self.pipes.add(far)
        assert far.transport is not None  # noqa: S101 -- it is connected
        far.transport.write(channel.encode() + b"\n")
        join(pipe, far)

    async def _connect(self, make: Callable[[], Made]) -> Made:
        if self._far is None or self._tls is None:
            raise OSError("there is no job to connect to")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, protocol = await loop.create_connection(
                make,
                *self._far,
                ssl=self._tls,
                server_hostname=self._host,
            )
        return protocol

    async def attach(self, address: str, port: int, credential: Credential) -> Json:
        """Take the job as its owner; return the launcher's greeting.

        Args:
            address: of its launcher.
            port: likewise.
            credential: opens it, and says who it has to be.

        Raises:
            OSError, TimeoutError: it is not reached, or is not the one.
        """
        self._drop_control()
        identity = Path(self.directory) / "identity.pem"
        identity.unlink(missing_ok=True)
        write_private(identity, credential.key + credential.certificate)
        self._tls = mutual_context(
            server=False, identity=str(identity), authority=credential.authority
        )
        identity.unlink()
        self._host = credential.host
        self._far = (address, port)
        self._hello = asyncio.get_running_loop().create_future()
        control = await self._connect(lambda: Lines(self._on_line, self._on_lost))
        self._control = control
        assert control.transport is not None  # noqa: S101 -- it is connected
        control.transport.write(CONTROL.encode() + b"\n")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                hello = await self._hello
        except BaseException:
            self._drop_control()
            raise
        self._open.set()
        self.spawn(self._ping(control))
        return hello

    def _on_line(self, message: Json) -> None:
        event = message.get("event")
        if event == "hello" and self._hello is not None and not self._hello.done():
            self._hello.set_result(message)
        elif event == "answer":
            answer = self._answers.pop(message.get("id") or 0, None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif event != "pong":
            self._heard(message)

    def _on_lost(self, control: Lines) -> None:
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(OSError("the launcher closed the connection"))
            self._hello.exception()  # looked at, should nobody wait any more
        if self._control is control:
            self._drop_control()
            self._lost()

    def _drop_control(self) -> None:
        control, self._control = self._control, None
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(_unreachable())
                answer.exception()
        if control is not None:
            control.abort()

    async def _ping(self, control: Lines) -> None:
        while self._control is control:
            control.send({"op": "ping"})
            await asyncio.sleep(PING_SECONDS)
            if control.silent_seconds > SILENCE_SECONDS:
                control.abort()

    async def ask(self, message: Json) -> Json:
        """Send a request, return its answer.

        Raises:
            KernelUnreachable: no launcher is attached, or it went, or is silent.
        """
        if self._control is None:
            raise _unreachable()
        number = next(self._ids)
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._control.send({**message, "id": number})
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise _unreachable() from None
        finally:
            self._answers.pop(number, None)

    def tell(self, message: Json) -> None:
        """Send what needs no answer."""
        if self._control is not None:
            self._control.send(message)

    def drop_pipes(self) -> None:
        """Close the channels: what is connected again is a new run's, or waits."""
        for pipe in list(self.pipes):
            pipe.close()
        self.pipes.clear()

    def forget_job(self) -> None:
        """Let go of the far end; connections wait for the next one."""
        self._drop_control()
        self._open.clear()
        self._far = None
        self.drop_pipes()

    async def close(self) -> None:
        """Take everything down here; the job is not told."""
        self.forget_job()
        for task in list(self._tasks):
            task.cancel()
        for server in self._servers:
            server.close()
        self._servers.clear()
        await asyncio.sleep(0)  # transports close on the loop's next turn
        shutil.rmtree(self.directory, ignore_errors=True)


def _unreachable() -> KernelUnreachable:
    return KernelUnreachable(
        Failure(
            "The kernel's node does not answer",
            "Nothing has been heard from the kernel's job.",
            "It is used again as soon as it answers; shut the kernel down to give up.",
        )
    )
