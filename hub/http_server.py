"""The hub's own HTTP server: what it takes from whoever reaches its socket.

HAProxy has the same bounds for what comes through it, and answers in words there. These
hold for everybody else, and for what HAProxy cannot know: how long a body takes that is
too large to be held by it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from tornado.httpserver import HTTPServer

from services.common.listening import NamedRequests

LARGEST_BODY = 1024**2
BODY_SECONDS = 20
_BACKLOG = 1024


class BoundedServer(NamedRequests):
    """Takes small bodies that come in time, and many connections at a moment."""

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on ``sockets``, where a whole class may knock at the same moment.

        HAProxy gives up on a full queue of a unix socket much sooner than on TCP.
        """
        bound = list(sockets)
        for listener in bound:
            listener.listen(_BACKLOG)
        super().add_sockets(bound)


def bound_http_servers() -> None:
    """Have every HTTP server that this process makes from now on be such a one.

    JupyterHub makes its own without asking; ``configure`` is Tornado's way to say so.
    """
    HTTPServer.configure(
        BoundedServer,
        max_body_size=LARGEST_BODY,
        max_buffer_size=2 * LARGEST_BODY,
        body_timeout=BODY_SECONDS,
    )
