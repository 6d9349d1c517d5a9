"""Asking a notebook server who it is and whether it answers; what follows if not.

Its name (``lb-….landbridge.internal``) is in no DNS: the hub connects to the
address that the job reported from a node of its own, and the certificate must be
the one issued for that name. Whoever else holds the port gets nothing.

At a start, a server that never answers has failed. Later, and above all when the
hub itself starts, an answer that does not come says something about the network or
a busy node, not about the job: the server stays, and is asked again now and then.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jupyterhub.objects import Server
from tornado.httpclient import HTTPError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.record import Address, JobRecord
from spawners.batch.rendezvous.certificates import job_host
from spawners.common.backoff import growing
from spawners.common.text import duration_in_words

from .errors import StartFailed

log = logging.getLogger(__name__)

# How long one question may take; a node answers in milliseconds or is in trouble.
_ASK_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


def peer_url(job_name: str, address: Address) -> str:
    """Return the URL under which JupyterHub and the proxy know the server."""
    return f"https://{job_host(job_name)}:{address.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, in the shape that JupyterHub reads a response in.

    Attributes:
        headers: its response headers; with ``X-JupyterHub-Version`` if it told.
    """

    headers: HTTPHeaders


async def ask(
    job_name: str,
    address: Address,
    path: str,
    *,
    tls: ssl.SSLContext,
    timeout_seconds: float,
) -> Answer:
    """Send one GET to a job's server and return its answer.

    Any HTTP status below 500 counts: a server that refuses us is up.

    Args:
        job_name: the name its certificate must carry.
        address: where it answers.
        path: absolute path on it.
        tls: trusts the jobs CA alone and presents the hub's client certificate.
        timeout_seconds: for the whole exchange.

    Raises:
        OSError: nobody answers there, or not in time.
        ssl.SSLError: somebody answers who is not that job (an ``OSError`` too).
    """
    client = SimpleAsyncHTTPClient(
        force_instance=True,
        hostname_mapping={job_host(job_name): address.address},
    )
    try:
        response = await client.fetch(
            HTTPRequest(
                peer_url(job_name, address) + path,
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


class Reach:
    """Asks one server, remembers whether it answered.

    Attributes:
        answered: whether it did when last asked; ``None`` if it never was.
        version: the JupyterHub version that it told, or ``""``.
    """

    def __init__(self, jobs: JobsApi, tls: ssl.SSLContext) -> None:
        self._jobs = jobs
        self._tls = tls
        self._asking: asyncio.Task[None] | None = None
        self.answered: bool | None = None
        self.version = ""

    async def first_answer(self, name: str, path: str, limit: timedelta) -> Answer:
        """Return the first answer of a server that has just reported itself.

        Raises:
            StartFailed: its job ended, or it did not answer within ``limit``.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit.total_seconds()
        pauses = growing(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            record = self._jobs.get(name)
            if record is None or not record.live:
                raise StartFailed.from_record(record) if record else LookupError(name)
            try:
                return await self._ask(record, path)
            except OSError as error:
                trouble = str(error) or type(error).__name__
            pause = next(pauses)
            if clock() + pause > deadline:
                raise StartFailed.timed_out(
                    "The server cannot be reached",
                    f"It reported itself, but did not answer the gateway within "
                    f"{duration_in_words(limit)}: {trouble}.",
                    "If this happens again, tell the site's operators: a firewall may "
                    "stand between the gateway and the nodes.",
                )
            await asyncio.sleep(pause)

    async def verify(self, name: str, path: str) -> Answer:
        """Ask once; return an empty answer, never an error, if none comes."""
        record = self._jobs.get(name)
        blank = Answer(HTTPHeaders({"X-JupyterHub-Version": self.version}))
        if record is None or record.address is None:
            return blank
        try:
            return await self._ask(record, path)
        except OSError as error:
            log.warning(
                "The server of job %s does not answer; its job goes on: %s", name, error
            )
        except Exception:
            # JupyterHub would stop the server for any error: none may get there.
            log.exception("Cannot ask the server of job %s; its job goes on", name)
        return blank

    def look_again(self, name: str, path: str, done: Callable[[], None]) -> None:
        """Ask in the background if the last question had no answer.

        ``done`` is called once it answers again.
        """
        if self.answered is not False:
            return
        if self._asking is not None and not self._asking.done():
            return

        async def look() -> None:
            await self.verify(name, path)
            if self.answered:
                done()

        self._asking = asyncio.create_task(look())

    def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, record: JobRecord, path: str) -> Answer:
        if record.address is None:
            raise ConnectionError("The server has not reported itself.")
        self.answered = False
        answer = await ask(
            record.name,
            record.address,
            path,
            tls=self._tls,
            timeout_seconds=_ASK_SECONDS,
        )
        self.answered = True
        self.version = answer.headers.get("X-JupyterHub-Version", self.version)
        return answer


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
