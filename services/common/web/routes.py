"""What a service is, told once: its routes, its errors and its rights.

A :class:`Route` is all there is to say about one call of the REST API, and most of it
is said by the signature of the function that does it. The handlers, the OpenAPI
document, the reference and the tests are made from the table of routes, so that none
of them can say anything else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import (
    Any,
    Concatenate,
    Generic,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict

from .auth import Caller
from .errors import ErrorTable
from .limits import USUAL, Limit
from .shapes import Shape, ours
from .streams import EventStream


class Model(BaseModel):
    """What is sent or answered: a closed shape, no unknown keys, nothing guessed.

    The text below a field says what it means, in the documents as well.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class Nothing(Model):
    """The answer of a call that has nothing to say: ``{}``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as every route's function may want it.

    Attributes:
        caller: who asks.
        origin: scheme and authority by which the caller reached us.
        path: the values in the path.
        id: names this request in the log.
        last_event_id: of a stream's last event that the caller read; ``""`` for none.
    """

    caller: Caller
    origin: str
    path: Mapping[str, str]
    id: str
    last_event_id: str = ""


C = TypeVar("C")
"""What a service's functions get first: the service's own object."""

RouteFunction = Callable[
    Concatenate[C, Call, ...], Awaitable[BaseModel | EventStream[Any]]
]
"""``async def name(service: C, call: Call, query: Q, body: B) -> A``.

``query`` and ``body`` are there if the call takes one; their annotations are the models
that what was sent is read into, and ``A`` is the model of the answer, or
``EventStream[A]`` of a stream of events that tell of ``A`` (:mod:`.streams`).
"""


@dataclass(frozen=True, slots=True)
class Signature:
    """The models of a route's function. ``None``: the call takes none.

    ``streams``: the answer is a stream of events, each with an ``answer``.
    """

    answer: type[BaseModel]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    streams: bool = False


@cache
def signature_of(run: Callable[..., object]) -> Signature:
    """Return the models that the signature of a route's function names.

    Raises:
        TypeError: it is no signature of a route's function.
    """
    parameters = list(inspect.signature(run).parameters)[2:]
    hints = get_type_hints(run)
    streams = get_origin(hints.get("return")) is EventStream
    if streams:
        hints["return"] = get_args(hints["return"])[0]
    models: dict[str, type[BaseModel]] = {}
    for name in ("return", *parameters):
        kind = hints.get(name)
        if name not in ("return", "query", "body") or not (
            isinstance(kind, type) and issubclass(kind, BaseModel)
        ):
            raise TypeError(
                f"{run.__qualname__}: {name} must be a query, a body or an answer, "
                "with its model"
            )
        models[name] = kind
    return Signature(models["return"], models.get("query"), models.get("body"), streams)


@dataclass(frozen=True, slots=True)
class KeyRight:
    """What a bearer key must open to be as good for a route as the hub's word.

    Attributes:
        verb: what the key has to allow.
        resource: of what; ``{name}`` stands for a value of the route's path.
    """

    verb: str
    resource: str


@dataclass(frozen=True, slots=True)
class Route(Generic[C]):
    """One call of the REST API.

    Attributes:
        method: HTTP's.
        path: below ``api/v1/``, with ``{name}`` for values. A value is a name or id
            of ours; what users name freely goes into the query or the body.
        run: does it; its signature says what is sent and answered, its docstring is
            shown to users.
        scope: the custom scope that the caller needs, besides access to the service.
        status: of a good answer.
        key: who has a bearer key to this needs no hub; ``None``: no key will do.
        limit: how often one user, or one key, may call it.
    """

    method: str
    path: str
    run: RouteFunction[C]
    scope: str
    status: int = 200
    key: KeyRight | None = None
    limit: Limit = USUAL

    def __post_init__(self) -> None:
        """Find out now, and not at the first request, that no models are named."""
        signature_of(self.run)

    @property
    def answer(self) -> type[BaseModel]:
        """The model of the answer, or of what each event of it tells."""
        return signature_of(self.run).answer

    @property
    def query(self) -> type[BaseModel] | None:
        """The model of the query; ``None`` where the call takes none."""
        return signature_of(self.run).query

    @property
    def body(self) -> type[BaseModel] | None:
        """The model of the body; ``None`` where the call takes none."""
        return signature_of(self.run).body

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return signature_of(self.run).streams

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the values in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def pattern(self) -> str:
        """The path as Tornado matches it."""
        return re.sub(
            r"\{(\w+)\}", r"(?P<\1>[A-Za-z0-9][A-Za-z0-9._-]{0,127})", self.path
        )

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return inspect.getdoc(self.run).splitlines()[0]  # type: ignore[union-attr]

    @property
    def name(self) -> str:
        """``operationId`` in the OpenAPI document."""
        return self.run.__name__

    @property
    def tag(self) -> str:
        """What the call is about: the file that holds its function, a noun."""
        return self.run.__module__.rpartition(".")[2].replace("_", " ")

    @property
    def subject(self) -> str:
        """The same in one line."""
        module = inspect.getmodule(self.run)
        return (inspect.getdoc(module) or self.tag).splitlines()[0]


@dataclass(frozen=True, slots=True)
class ServiceSpec(Generic[C]):
    """A service, without its settings and without anything that runs.

    Attributes:
        name: as JupyterHub and its address know it.
        title, description: for people.
        routes: its REST API.
        errors: of what it wraps.
        largest_body: bytes that a request may have.
        shapes: how errors look below a path of the service's, such as ``v1/``, that
            speaks another protocol; the first that fits counts.
    """

    name: str
    title: str
    description: str
    routes: tuple[Route[C], ...] = field(repr=False)
    errors: ErrorTable = field(repr=False)
    largest_body: int = 2**20
    shapes: tuple[tuple[str, Shape], ...] = ()

    @property
    def has_streams(self) -> bool:
        """Whether any route answers a stream of events."""
        return any(route.streams for route in self.routes)

    def shape_at(self, path: str) -> Shape:
        """Return how errors look at a path below the service's."""
        for beginning, shape in self.shapes:
            if path.startswith(beginning):
                return shape
        return ours
