"""A process of a service: it listens at a socket, and ends in good order.

It listens on a Unix socket and on no port: :mod:`spawners.common.sockets` says why.
Nothing in here knows JupyterHub, so that a service which has no use for it is small.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from spawners.common.sockets import ListeningSocket

from .short_lines import keep_lines_short

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 10.0
_HEADER_BYTES = 32_768


def log_request(handler: Any) -> None:
    """Log one line for a request: no query, which may hold names and rights."""
    request: HTTPServerRequest = handler.request
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO
    log.log(
        level,
        "%d %s %s (%.0f ms)",
        status,
        request.method,
        # An address that is a right by itself is not written down.
        getattr(handler, "shown_path", request.path),
        1000 * request.request_time(),
    )


async def listen(
    name: str,
    application: Application,
    socket: Path,
    stop: asyncio.Event,
    *,
    largest_body: int,
) -> None:
    """Serve at ``socket`` until ``stop``; then finish what is being answered.

    Args:
        name: the service's, for the log.
        application: what answers.
        socket: where; made for this account alone.
        stop: when to end.
        largest_body: bytes that a request may have.

    Raises:
        SocketTaken: another process listens there.
    """
    server = HTTPServer(
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
        await stop.wait()
        log.info("Service %s stops", name)
        server.stop()
    # The next process may listen by now; we finish what is begun.
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await server.close_all_connections()
    except TimeoutError:
        log.warning("Requests were still being answered after %g s", _DRAIN_SECONDS)


def run_until_stopped(
    name: str, serve: Callable[[asyncio.Event], Awaitable[None]]
) -> None:
    """Run a service in the foreground; SIGTERM and SIGINT set the event it is given."""
    logging.basicConfig(
        level=logging.INFO,
        format=f"[%(levelname).1s %(asctime)s {name} %(name)s] %(message)s",
    )
    keep_lines_short(logging.getLogger().handlers)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    asyncio.run(main())
