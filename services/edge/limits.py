"""How much one client, one server and one body may take of the edge.

The numbers are for a classroom: 200 people behind one address, each with a browser that
holds 20 connections (six for requests, the rest websockets of kernels and terminals),
must be able to sign in, mistype once, and work.
"""

from __future__ import annotations

from dataclasses import dataclass

_CLASSROOM = 200
CLASSROOM_CONNECTIONS = 20 * _CLASSROOM
_LEAST_FOR_SERVER = 200
DEFAULT_SIGN_INS = _CLASSROOM
"""Failed sign-ins of one address in ten minutes: one for each of a classroom."""


@dataclass(frozen=True)
class Limits:
    """What is too much; 0 is no limit, but where it says otherwise.

    Attributes:
        source: connections at a time from one address (IPv6: one /64).
        server: requests and websockets at a time to one user's server.
        sign_ins: failed sign-ins from one address within ten minutes.
        hub_body: bytes of a request's body to the hub; always limited.
        body_seconds: how long such a body may take to arrive; always limited.
    """

    source: int = 0
    server: int = 0
    sign_ins: int = 0
    hub_body: int = 1024**2
    body_seconds: int = 20


def default_source(max_connections: int) -> int:
    """Return the connections of one address: a classroom's, or a quarter of all.

    Whichever is more, but never over a half: no address alone can shut out the others.
    """
    wanted = max(CLASSROOM_CONNECTIONS, max_connections // 4)
    return max(1, min(max_connections // 2, wanted))


def default_server(max_connections: int) -> int:
    """Return the requests at a time to one server: a tenth of what the edge can do."""
    return max(_LEAST_FOR_SERVER, max_connections // 10)
