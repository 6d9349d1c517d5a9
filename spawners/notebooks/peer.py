"""Asking a notebook server who it is, and whether it answers.

Its name (``lb-….landbridge.internal``) is in no DNS: the hub connects to the
address that the job reported from a node of its own, and the certificate must be
the one issued for that name. Whoever else holds the port gets nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from jupyterhub.objects import Server
from tornado.httpclient import HTTPError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from spawners.batch.jobs.record import Endpoint
from spawners.batch.rendezvous.certificates import job_host


def peer_url(job_name: str, endpoint: Endpoint) -> str:
    """Return the URL under which JupyterHub and the proxy know the server."""
    return f"https://{job_host(job_name)}:{endpoint.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, in the shape that JupyterHub reads a response in.

    Attributes:
        headers: its response headers; with ``X-JupyterHub-Version`` if it told.
    """

    headers: HTTPHeaders


async def ask(
    job_name: str,
    endpoint: Endpoint,
    path: str,
    *,
    tls: ssl.SSLContext,
    timeout_seconds: float,
) -> Answer:
    """Send one GET to a job's server and return its answer.

    Any HTTP status below 500 counts: a server that refuses us is up.

    Args:
        job_name: the name its certificate must carry.
        endpoint: where it answers.
        path: absolute path on it.
        tls: trusts the jobs CA alone and presents the hub's client certificate.
        timeout_seconds: for the whole exchange.

    Raises:
        OSError: nobody answers there, or not in time.
        ssl.SSLError: somebody answers who is not that job (an ``OSError`` too).
    """
    client = SimpleAsyncHTTPClient(
        force_instance=True,
        hostname_mapping={job_host(job_name): endpoint.address},
    )
    try:
        response = await client.fetch(
            HTTPRequest(
                peer_url(job_name, endpoint) + path,
                ssl_options=tls,
                connect_timeout=timeout_seconds,
                request_timeout=timeout_seconds,
                follow_redirects=False,
            ),
            raise_error=False,
        )
    except HTTPError as error:
        # Tornado's own time-outs and broken answers: its status 599.
        raise ConnectionError(f"No answer: {error.message or error.code}.") from error
    finally:
        client.close()
    if response.code >= 500:
        raise ConnectionError(f"The server answers with status {response.code}.")
    return Answer(response.headers)


class PeerServer(Server):  # type: ignore[misc]  # it is untyped
    """JupyterHub's view of a server, which asks the spawner before it judges.

    JupyterHub stops a server when ``wait_up`` fails, also at the hub's own start:
    what failing means is therefore the spawner's decision, not a clock's.
    """

    wait_reachable: Callable[[str, float], Awaitable[Answer]] | None = None

    def wait_up(
        self,
        timeout: float = 10,
        http: bool = False,  # noqa: FBT001, FBT002  # JupyterHub's signature
        ssl_context: Any = None,
        extra_path: str = "",
    ) -> Awaitable[Any]:
        """Wait until the server answers, on the spawner's terms."""
        if self.wait_reachable is None:
            answer: Awaitable[Any] = super().wait_up(
                timeout, http, ssl_context, extra_path
            )
            return answer
        return self.wait_reachable(f"{self.base_url}{extra_path}", timeout)

    def follows(self, orm_server: Any) -> bool:
        """Tell whether this still says what the database says of the server."""
        return self.orm_server is orm_server and (self.proto, self.ip, self.port) == (
            orm_server.proto,
            orm_server.ip,
            orm_server.port,
        )
