"""Server-sent events: what happens, told to one reader for as long as she may know it.

A route whose function answers an :class:`EventStream` is a stream. The function itself
checks and refuses, as any other; what it returns is then sent event by event. A reader
that was cut off comes again with the id of the last event that it read
(``Last-Event-ID``, ``Call.last_event_id``) and gets what came after; where that cannot
be told any more the function raises :class:`~.errors.Outdated` (410), and the reader
has to list anew. A stream that has begun can only be ended:

- by the service, with an event ``problem`` that holds the error in the shape of every
  other, or with ``reset`` in the place of 410;
- by a right that ended, likewise, within half a minute;
- by a reader that goes, or that takes nothing for half a minute;
- by the end of the process, silently: the reader comes again, to the next one.

Comments keep silent streams alive through whatever is between.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from prometheus_client import Gauge
from pydantic import BaseModel
from tornado.iostream import StreamClosedError

from .answers import AnswerHandler
from .auth import Caller
from .errors import Outdated, TooMany
from .event_writer import KEEPALIVE_SECONDS, LOOK_SECONDS, EventWriter, encode_event

OPEN = Gauge("landbridge_streams", "Streams of events that are read now.", ["route"])

M_co = TypeVar("M_co", bound=BaseModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[M_co]):
    """One thing that happened.

    Attributes:
        data: what is told of it.
        id: names the place in the stream that is reached by it; printable ASCII.
        kind: for listeners; ``""`` is a browser's ``message``.
    """

    data: M_co
    id: str = ""
    kind: str = ""

    def encoded(self) -> bytes:
        """Return it as it is sent; characters that are not ASCII are escaped."""
        return encode_event(
            json.dumps(self.data.model_dump(mode="json")), id=self.id, kind=self.kind
        )


Recheck = Callable[[Caller], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class EventStream(Generic[M_co]):
    """What a route answers with that streams.

    Attributes:
        events: what happens. Closed when the reader is gone, if it can be.
        recheck: asked every few seconds with the caller as the hub knows her by then;
            its :class:`~.errors.Refusal` ends the stream. That she is signed in and
            has the route's scope is checked anyway.
    """

    events: AsyncIterator[Event[M_co]]
    recheck: Recheck | None = None


class OpenStreams:
    """Counts who reads how many streams, and refuses too many.

    Args:
        per_user: how many one user may read at once.
    """

    def __init__(self, per_user: int = 20) -> None:
        self._per_user = per_user
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, user: str, route: str) -> Iterator[None]:
        """Count a stream for as long as it is read.

        Raises:
            TooMany: the user reads enough.
        """
        if self._open[user] >= self._per_user:
            raise TooMany(
                f"You read {self._per_user} streams of events already.",
                hint="Close a page or a program that follows something.",
            )
        self._open[user] += 1
        OPEN.labels(route).inc()
        try:
            yield
        finally:
            OPEN.labels(route).dec()
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]


async def send_events(
    handler: AnswerHandler,
    stream: EventStream[BaseModel],
    *,
    look: Callable[[], Awaitable[None]],
    ended: Sequence[asyncio.Event],
) -> None:
    """Answer a request with a stream, until that or one of ``ended`` ends it.

    Args:
        handler: answers nothing else; finished here.
        stream: what is sent.
        look: asked every few seconds; its refusal ends the stream.
        ended: any of them is set when the reader is gone, or the process is to end.
    """
    writer = EventWriter(handler)
    try:
        await writer.begin()
        try:
            await _follow(writer, stream, look, ended)
        except StreamClosedError:
            raise
        except Exception as error:  # noqa: BLE001 -- told and logged as any other
            handler.log_exception(type(error), error, error.__traceback__)
            kind = "reset" if isinstance(error, Outdated) else "problem"
            problem = handler.problem_of(error)
            shape = json.dumps(handler.error_shape(problem, handler.error_id))
            await writer.write(encode_event(shape, kind=kind))
        handler.finish()
    except StreamClosedError:
        pass  # the reader went away: nobody is to be told anything


async def _follow(
    writer: EventWriter,
    stream: EventStream[BaseModel],
    look: Callable[[], Awaitable[None]],
    ended: Sequence[asyncio.Event],
) -> None:
    over = [asyncio.create_task(event.wait()) for event in ended]
    look_at = monotonic() + LOOK_SECONDS
    async with _Steps(stream.events) as steps:
        try:
            sent_at = monotonic()
            while True:
                step = steps.begin()
                pause = min(look_at, sent_at + KEEPALIVE_SECONDS) - monotonic()
                await asyncio.wait(
                    {step, *over},
                    timeout=max(0.0, pause),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if any(wait.done() for wait in over):
                    return
                if monotonic() >= look_at:
                    await look()
                    look_at = monotonic() + LOOK_SECONDS
                if step.done():
                    event = steps.take()
                    if event is None:
                        return
                    await writer.write(event.encoded())
                    # More may be there at once; it goes with this.
                    follower = steps.begin()
                    await asyncio.sleep(0)
                    if not follower.done():
                        await writer.flush()
                        sent_at = monotonic()
                elif monotonic() >= sent_at + KEEPALIVE_SECONDS:
                    await writer.keep_alive()
                    sent_at = monotonic()
        finally:
            for wait in over:
                wait.cancel()


class _Steps:
    """Waits for the events of an iterator one by one, and can stop waiting."""

    def __init__(self, events: AsyncIterator[Event[BaseModel]]) -> None:
        self._events = events
        self._step: asyncio.Task[Event[BaseModel] | None] | None = None

    async def __aenter__(self) -> _Steps:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    def begin(self) -> asyncio.Task[Event[BaseModel] | None]:
        """Return what waits for the next event; it is there already, or begins now."""
        if self._step is None:
            self._step = asyncio.create_task(self._next())
        return self._step

    def take(self) -> Event[BaseModel] | None:
        """Return the event that was waited for; ``None`` at the end.

        Raises:
            Exception: what the iterator raised.
        """
        step, self._step = self.begin(), None
        return step.result()

    async def _next(self) -> Event[BaseModel] | None:
        return await anext(self._events, None)
