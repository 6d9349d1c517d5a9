"""A process of a service: it listens at a socket, and ends in good order.

It listens on a Unix socket and on no port: :mod:`spawners.common.sockets` says why.
Nothing in here knows JupyterHub, so that a service which has no use for it is small.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from spawners.common.request_id import HEADER, begin_request, log_requests
from spawners.common.sockets import ListeningSocket

from .endless import ENDLESS
from .web.metrics import REQUESTS
from .web.short_lines import keep_lines_short

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_HEADER_BYTES = 32_768


class NamedRequests(HTTPServer):
    """Has each request served under its id (:mod:`spawners.common.request_id`).

    It knows on which connections something is being answered.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Begin with no request."""
        self._busy: set[object] = set()
        self._rests = asyncio.Event()
        super().initialize(*args, **kwargs)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return what takes a request in, once the last of its connection is over."""
        self._answered(server_conn)
        delegate = super().start_request(server_conn, request_conn)
        return _Named(delegate, partial(self._busy.add, server_conn))

    def on_close(self, server_conn: object) -> None:
        """Forget a connection, and what was being answered there."""
        self._answered(server_conn)
        super().on_close(server_conn)

    async def drain(self, seconds: float) -> None:
        """Return when all that has an end is answered, or after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while self._busy - set(ENDLESS):
                    self._rests.clear()
                    await self._rests.wait()
        except TimeoutError:
            log.warning("Requests were still being answered after %g s", seconds)

    def _answered(self, server_conn: object) -> None:
        self._busy.discard(server_conn)
        ENDLESS.discard(server_conn)
        self._rests.set()


class _Named(HTTPMessageDelegate):
    """Begins a request when its headers are there: in the task that serves it."""

    def __init__(
        self, delegate: HTTPMessageDelegate, begun: Callable[[], None]
    ) -> None:
        self._delegate = delegate
        self._begun = begun

    def headers_received(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
    ) -> Awaitable[None] | None:
        self._begun()
        begin_request(headers.get(HEADER, ""))
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds by whoever watches.
_SELDOM_OF_INTEREST = ("/health", "/metrics")


def log_request(handler: Any) -> None:
    """Log one line for a request: no query, which may hold names and rights."""
    request: HTTPServerRequest = handler.request
    status = handler.get_status()
    # An address that is a right by itself is not written down.
    path = getattr(handler, "shown_path", request.path)
    route = getattr(handler, "route", "") or type(handler).__name__
    method = request.method if request.method in _METHODS else "other"
    if not getattr(handler, "is_stream", False):  # its time is how long it was read
        REQUESTS.labels(method, route, status).observe(request.request_time())
    quiet = status < 400 and path.endswith(_SELDOM_OF_INTEREST)
    log.log(
        logging.DEBUG if quiet else logging.INFO,
        "%d %s %s %s (%.0f ms)",
        status,
        request.method,
        path,
        getattr(handler, "asked_by", "") or "-",
        1000 * request.request_time(),
    )


async def listen(
    name: str,
    application: Application,
    socket: Path,
    stop: asyncio.Event,
    *,
    largest_body: int,
    listens: asyncio.Event | None = None,
) -> None:
    """Serve at ``socket`` until ``stop``; then finish what is being answered.

    Args:
        name: the service's, for the log.
        application: what answers.
        socket: where; made for this account alone.
        stop: when to end.
        largest_body: bytes that a request may have.
        listens: set once requests are taken.

    Raises:
        SocketTaken: another process listens there.
    """
    server = NamedRequests(
        application,
        xheaders=True,
        max_body_size=largest_body,
        max_buffer_size=largest_body + _HEADER_BYTES,
        max_header_size=_HEADER_BYTES,
        idle_connection_timeout=75,
        body_timeout=60,
    )
    async with ListeningSocket(socket) as listener:
        server.add_socket(listener.socket)
        log.info("Service %s listens on %s", name, socket)
        if listens is not None:
            listens.set()
        await stop.wait()
        log.info("Service %s stops", name)
        server.stop()
    # The next process may listen by now; we finish what is begun.
    await server.drain(_DRAIN_SECONDS)
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await server.close_all_connections()
    except TimeoutError:
        log.warning("Connections were not closed after %g s", _CLOSE_SECONDS)


def run_until_stopped(
    name: str, serve: Callable[[asyncio.Event], Awaitable[None]]
) -> None:
    """Run a service in the foreground; SIGTERM and SIGINT set the event it is given."""
    logging.basicConfig(
        level=logging.INFO,
        format=f"[%(levelname).1s %(asctime)s {name} %(name)s] %(message)s",
    )
    handlers = logging.getLogger().handlers
    keep_lines_short(handlers)
    log_requests(handlers)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    asyncio.run(main())
