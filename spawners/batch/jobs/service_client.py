"""Asking the jobs service: each request until it is answered, with this client's token.

A request is the same when it comes twice, so what got no answer is sent again, with
growing pauses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from spawners.common.backoff import growing
from spawners.common.metrics import timed_call

from ..errors import InvalidSpec, NotPermitted, SchedulerUnavailable
from .http import HttpClient, NoAnswer, Response, SocketWay, Stream, Way
from .wire import ErrorAnswer, dump, error_from, read

T = TypeVar("T")

_NOT_SIGNED_IN = 401
_FAULT = 500
_TOLD = 503


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a client asks.

    Attributes:
        patience: how long a request is sent again and again before its caller hears
            that the service is away.
        read_patience: the same for a question that changes nothing: who asks it shows
            a page.
        answer_within: how long to wait for one answer before asking again.
        silence: a stream that says nothing for so long is cut off; the service says
            something every 8 s.
        first_pause, longest_pause: between two tries.
    """

    patience: timedelta = timedelta(seconds=60)
    read_patience: timedelta = timedelta(seconds=5)
    answer_within: timedelta = timedelta(seconds=30)
    silence: timedelta = timedelta(seconds=20)
    first_pause: timedelta = timedelta(seconds=0.1)
    longest_pause: timedelta = timedelta(seconds=5)


class ServiceAway(SchedulerUnavailable):
    """The jobs service does not answer."""

    def __init__(
        self, why: str, *, hint: str = "Try again in a minute; running jobs go on."
    ) -> None:
        super().__init__(
            f"The gateway's jobs service does not answer: {why}.", hint=hint
        )


class ServiceClient:
    """A client of the jobs service.

    Args:
        way: how the service is reached; a path is its socket's.
        token: reads this client's token; called again when one was refused.
        settings: see :class:`RemoteSettings`.
    """

    def __init__(
        self,
        way: Path | Way,
        token: Callable[[], str],
        settings: RemoteSettings | None = None,
    ) -> None:
        self._settings = settings or RemoteSettings()
        self._read_token = token
        self._token = ""
        self._http = HttpClient(SocketWay(way) if isinstance(way, Path) else way)

    async def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        *,
        reads: bool = False,
    ) -> T:
        """Send a request until it is answered, and return the answer.

        Args:
            method: HTTP's.
            path: with its query.
            kind: of the value that a good answer holds.
            body: a value of ours, or ``None`` for none.
            reads: it changes nothing, and somebody waits for it: ask less long.

        Raises:
            GatewayError: as the service said.
            ServiceAway: it did not answer for as long as patience lasts.
        """
        content = None if body is None else dump(body)
        settings = self._settings
        patience = settings.read_patience if reads else settings.patience
        deadline = time.monotonic() + patience.total_seconds()
        refused = 0
        for pause in self.pauses():
            try:
                with timed_call("jobs", f"{method} {_noun(path)}"):
                    response = await self._http.request(
                        method,
                        path,
                        token=self._known_token(),
                        body=content,
                        seconds=self._settings.answer_within.total_seconds(),
                    )
                return _answered(response, kind)
            except NotPermitted:
                refused += response.status == _NOT_SIGNED_IN
                if response.status != _NOT_SIGNED_IN or refused > 1:
                    raise
                self._token = ""  # perhaps there is another one by now
                continue
            except (NoAnswer, _Odd) as error:
                why = words_of(error)
            if time.monotonic() + pause > deadline:
                raise ServiceAway(why)
            await asyncio.sleep(pause)
        raise AssertionError("pauses have no end")

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[Stream]:
        """Ask once for an answer that goes on, whatever its status.

        Raises:
            NoAnswer: nobody answers.
        """
        async with self._http.stream(
            path,
            token=self._known_token(),
            seconds=self._settings.answer_within.total_seconds(),
            silence_seconds=self._settings.silence.total_seconds(),
        ) as stream:
            if stream.status == _NOT_SIGNED_IN:
                self._token = ""
            yield stream

    def pauses(self) -> Iterator[float]:
        """Return the seconds between two tries, again and again."""
        return growing(
            self._settings.first_pause.total_seconds(),
            self._settings.longest_pause.total_seconds(),
        )

    def _known_token(self) -> str:
        """Return the token.

        Raises:
            NoAnswer: there is none to read yet: whoever makes it has not run.
        """
        if not self._token:
            try:
                self._token = self._read_token()
            except FileNotFoundError:
                raise NoAnswer("it has made no token for us yet") from None
        return self._token


class _Odd(Exception):
    """An answer that is none of the service's, or tells of a fault in it."""


def _answered(response: Response, kind: type[T]) -> T:
    """Return what a response holds, or raise what it tells of."""
    try:
        if response.good:
            return read(kind, response.body, newer=True)
        answer = read(ErrorAnswer, response.body, newer=True)
    except InvalidSpec as error:
        raise _Odd(f"it answered {response.status}, {error}") from None
    if response.status == _NOT_SIGNED_IN:
        raise NotPermitted(answer.error.message, hint=answer.error.hint)
    if response.status >= _FAULT and response.status != _TOLD:
        raise _Odd(f"it answered {response.status}: {answer.error.message}")
    raise error_from(answer)


def words_of(error: Exception) -> str:
    """Return an error's text for the middle of a sentence."""
    return str(error).rstrip(".") or type(error).__name__


def _noun(path: str) -> str:
    """Return what a path of the service is about, without anybody's names."""
    return path.partition("?")[0].split("/")[2]
