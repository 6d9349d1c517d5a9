"""Whether a server can be reached, and what follows when it cannot.

At a start, a server that never answers has failed. Later, and above all when the
hub itself starts, an answer that does not come says something about the network or
a busy node, not about the job: the server stays, and is asked again now and then.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import timedelta

from tornado.httputil import HTTPHeaders

from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import JobRecord
from spawners.common.text import duration_in_words

from .errors import ended, too_late
from .peer import Answer, ask

log = logging.getLogger(__name__)

# How long one question may take; a node answers in milliseconds or is in trouble.
_ASK_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class Reach:
    """Asks one server, remembers whether it answered.

    Attributes:
        answered: whether it did when last asked; ``None`` if it never was.
        version: the JupyterHub version that it told, or ``""``.
    """

    def __init__(self, jobs: Jobs, tls: ssl.SSLContext) -> None:
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
        pause = _FIRST_PAUSE_SECONDS
        while True:
            record = self._jobs.get(name)
            if record is None or not record.live:
                raise ended(record) if record else LookupError(name)
            try:
                return await self._ask(record, path)
            except OSError as error:
                trouble = str(error) or type(error).__name__
            if clock() + pause > deadline:
                raise too_late(
                    "The server cannot be reached",
                    f"It reported itself, but did not answer the gateway within "
                    f"{duration_in_words(limit)}: {trouble}.",
                    "If this happens again, tell the site's operators: a firewall may "
                    "stand between the gateway and the nodes.",
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def verify(self, name: str, path: str) -> Answer:
        """Ask once; return an empty answer, never an error, if none comes."""
        record = self._jobs.get(name)
        blank = Answer(HTTPHeaders({"X-JupyterHub-Version": self.version}))
        if record is None or record.endpoint is None:
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
        if record.endpoint is None:
            raise ConnectionError("The server has not reported itself.")
        self.answered = False
        answer = await ask(
            record.name,
            record.endpoint,
            path,
            tls=self._tls,
            timeout_seconds=_ASK_SECONDS,
        )
        self.answered = True
        self.version = answer.headers.get("X-JupyterHub-Version", self.version)
        return answer
