"""The jobs service over the fake scheduler, at a socket, and a proxy before it.

``Rig`` is the whole service in this process: it can be killed as by ``kill -9`` and
started again over the same state. ``Meddler`` stands between it and a client, and
cuts, delays, doubles or loses what passes, by order.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import ssl
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from services.jobs.clients import CLIENTS, Client, ClientTokens
from services.jobs.core import Parts, open_service
from services.jobs.handlers import LARGEST_BODY
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.http import TlsWay
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.jobs.service_client import RemoteSettings
from spawners.batch.jobs.settings import Policy
from spawners.batch.rendezvous.certificates import HUB_NAME, ensure_hub_pki
from spawners.batch.rendezvous.launch import JobSideSettings
from spawners.batch.scheduler import Scheduler
from spawners.common.sockets import ListeningSocket

AGENT_PATH = "/hub/api/landbridge/jobs"
#: A client without scripts, as the services for endpoints and clusters will be.
CLUSTERS = Client(
    "clusters",
    ("cluster:",),
    reads_all=False,
    sends_scripts=False,
    live=6,
    live_each=4,
)
#: How long an event of a stream is held back.
HELD_SECONDS = 0.4
QUICK = RemoteSettings(
    patience=timedelta(seconds=15),
    answer_within=timedelta(seconds=1),
    silence=timedelta(seconds=20),
    first_pause=timedelta(milliseconds=10),
    longest_pause=timedelta(milliseconds=50),
)


class Rig:
    """See the module. Attributes: scheduler, state, socket, service, tokens."""

    def __init__(self, watch: Policy, scheduler: Scheduler | None = None) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="lb-jobs-"))
        self.socket = self.state / "jobs.sock"
        self.scheduler = scheduler or FakeScheduler()
        pki = ensure_hub_pki(self.state / "pki")
        self.tokens = ClientTokens(self.state, (*CLIENTS, CLUSTERS))
        self.parts = Parts(
            scheduler=self.scheduler,
            database=f"sqlite:///{self.state}/jobs.sqlite",
            side=JobSideSettings(
                f"https://127.0.0.1:1{AGENT_PATH}",
                pki.hub_ca.certificate,
                proof="token",
            ),
            jobs_ca=pki.jobs_ca,
            launch_secrets=[b"a secret of this test, at least 32 bytes"],
            tokens=self.tokens,
            agent_paths=(AGENT_PATH,),
            lock=self.state / "jobs.lock",
            watch=watch,
            prologues={"gpu": "module load cuda\nulimit -c 0"},
        )
        self._pki = pki
        self._stack = AsyncExitStack()
        self._clients: list[RemoteJobs] = []
        self._listener: ListeningSocket | None = None

    async def start(self) -> None:
        """Serve, over what an earlier start left."""
        self._stack = AsyncExitStack()
        self.service, application, _ = await open_service(self.parts, self._stack)
        self._server = HTTPServer(
            application, xheaders=True, max_buffer_size=2 * LARGEST_BODY
        )
        self._application = application
        self._listener = await ListeningSocket(self.socket).__aenter__()
        self._server.add_socket(self._listener.socket)

    async def stop(self) -> None:
        """End in good order."""
        await self._end()
        await self._stack.aclose()

    async def kill(self) -> None:
        """Be gone at once, with nothing written down any more."""
        await self.service.jobs.abandon()
        await self._end()
        await self._stack.aclose()

    @asynccontextmanager
    async def dies_in(self, method: str) -> AsyncIterator[None]:
        """Be killed in a call of the scheduler that the block causes, and start again.

        The scheduler has done what it was asked; its answer reaches nobody.
        """
        reached, go_on = asyncio.Event(), asyncio.Event()
        original = getattr(self.scheduler, method)

        async def held(*args: object, **kwargs: object) -> object:
            reached.set()
            result = await original(*args, **kwargs)
            await go_on.wait()
            return result

        setattr(self.scheduler, method, held)
        try:
            yield
            await reached.wait()
            await self.kill()
        finally:
            setattr(self.scheduler, method, original)
            go_on.set()
        await self.start()

    async def _end(self) -> None:
        if self._listener is None:
            return
        self._server.stop()
        self._listener.close()
        self._listener = None
        self.service.feed.close()
        for connection in list(self._server._connections):
            connection.stream.close()

    async def client(
        self,
        name: str = "hub",
        *,
        socket: Path | None = None,
        prefix: str = "",
        settings: RemoteSettings = QUICK,
    ) -> RemoteJobs:
        """Return a client of the service that mirrors already."""
        file = self.tokens.file_of(name)
        return await self.client_with(
            lambda: file.read_text().strip(), socket, prefix, settings
        )

    async def client_with(
        self, token, socket=None, prefix="", settings=QUICK, *, starts=True
    ) -> RemoteJobs:
        remote = RemoteJobs(
            socket or self.socket, token, prefix=prefix, settings=settings
        )
        self._clients.append(remote)
        if starts:
            await remote.start()
        return remote

    async def listen_for_jobs(self) -> TlsWay:
        """Serve by TLS as well, as the edge's frontend for jobs; return the way."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._pki.edge_pem)
        server = HTTPServer(self._application, ssl_options=context)
        (listener,) = bind_sockets(0, "127.0.0.1")
        server.add_sockets([listener])
        self._stack.callback(server.stop)
        port = listener.getsockname()[1]
        url = f"https://127.0.0.1:{port}{AGENT_PATH}"
        return TlsWay(url, self._pki.hub_ca_file, HUB_NAME)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        with suppress(Exception):
            await self.stop()
        shutil.rmtree(self.state)


class Meddler:
    """A proxy at a socket of its own, which does to the next connections as told.

    ``orders`` are taken one by one, by each connection that sends something, and then
    those of ``habit``:

    * ``"pass"``: nothing is done.
    * ``"refuse"``: the connection is cut before the request arrives.
    * ``"lose"``: the request arrives, and its answer does not.
    * ``"half"``: half of the answer arrives.
    * ``"double"``: the request arrives twice, at the same time.
    * ``"late"``: the client hears nothing, and the request arrives when
      :meth:`deliver` is called.

    Attributes:
        first: an order for each request of a client's that was not seen before.
        stream: what is done to each event of a stream: ``"cut"`` behind it,
            ``"delay"``, ``"double"``, ``"reorder"``, or nothing.
        away: nobody gets through.
        harmed: how often something was done by these three.
    """

    def __init__(self, target: Path, path: Path | None = None) -> None:
        self.path = path or target.with_name("meddler.sock")
        self.orders: deque[str] = deque()
        self.habit = itertools.repeat("pass")
        self.seen: list[str] = []
        self.first = self.stream = ""
        self.away = False
        self.harmed = 0
        self._known: set[bytes] = set()
        self._target = target
        self._late: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections now."""
        for writer in self._writers:
            writer.transport.abort()

    async def deliver(self) -> None:
        """Let what was held back arrive, the last first; answers go nowhere."""
        while self._late:
            await self._exchange(self._late.pop())

    async def _serve(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader, writer) -> bool:
        """Pass one request on; False when the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await reader.readexactly(length)
        line = head.split(b"\r\n", 1)[0].decode()
        self.seen.append(line)
        if self.away:
            self.harmed += 1
            return False
        if " /v1/watch" in line:
            await self._stream(request, writer)
            return False
        order = self._order(request)
        if order == "refuse":
            return False
        if order == "late":
            self._late.append(request)
            await reader.read()
            return False
        if order == "double":
            answer, _ = await asyncio.gather(
                self._exchange(request), self._exchange(request)
            )
        else:
            answer = await self._exchange(request)
        if order == "lose":
            return False
        writer.write(answer[: len(answer) // 2] if order == "half" else answer)
        await writer.drain()
        return order != "half"

    def _order(self, request: bytes) -> str:
        if self.orders:
            return self.orders.popleft()
        is_new = b" /v1/" in request and request not in self._known
        if not self.first or not is_new:
            return next(self.habit)
        self._known.add(request)
        self.harmed += 1
        return self.first

    async def _exchange(self, request: bytes) -> bytes:
        """Send a request over a connection of its own; return the whole answer."""
        reader, writer = await asyncio.open_unix_connection(self._target)
        writer.write(request)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            return head + await reader.readexactly(length)
        finally:
            writer.close()

    async def _stream(self, request: bytes, writer) -> None:
        """Pass a stream on, with what is ordered done to each event."""
        reader, upstream = await asyncio.open_unix_connection(self._target)
        self._writers.add(upstream)
        held = b""
        try:
            upstream.write(request)
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while True:
                try:
                    async with asyncio.timeout(HELD_SECONDS if held else None):
                        event = await reader.readuntil(b"\n\n")
                except TimeoutError:
                    event = b""  # nothing came that could have overtaken it
                is_news = event.startswith(b"id:")
                if self.stream == "reorder" and is_news and not held:
                    held = event
                    continue
                self.harmed += bool(held and event)
                writer.write(await self._altered(event) if is_news else event)
                writer.write(held)
                held = b""
                await writer.drain()
                if self.stream == "cut" and is_news:
                    self.harmed += 1
                    return
        finally:
            self._writers.discard(upstream)
            upstream.close()

    async def _altered(self, event: bytes) -> bytes:
        if self.stream not in ("delay", "double"):
            return event
        self.harmed += 1
        if self.stream == "double":
            return event + event
        await asyncio.sleep(HELD_SECONDS)
        return event


@contextmanager
def between(service: Path) -> Iterator[Meddler]:
    """Put a meddler at the socket of a jobs service that runs, in a thread of its own.

    For who connects from now on; in the end the service has its socket back.
    """
    target = service.with_name("behind.sock")
    service.rename(target)
    meddler, loop = Meddler(target, service), asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="meddler")
    thread.start()

    def do(work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(20)

    try:
        do(meddler.start())
        yield meddler
        do(meddler.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        target.rename(service)
