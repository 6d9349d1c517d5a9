"""What a service is, told once: its routes, its errors and its rights.

A :class:`Route` is all there is to say about one call of the REST API. The handlers,
the OpenAPI document and the tests are made from the table of routes, so that none
of them can say anything else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from .auth import Caller
from .errors import ErrorTable


class Model(BaseModel):
    """What is sent or answered: a closed shape, no unknown keys, nothing guessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Model):
    """The answer of a call that has nothing to say: ``{}``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: who asks, and what the path, query and body say.

    Attributes:
        caller: who asks.
        origin: scheme and authority by which the caller reached us.
        path: the values in the path.
        query, body: of the route's models; ``None`` where it has none.
        id: names this request in the log.
    """

    caller: Caller
    origin: str
    path: Mapping[str, str]
    query: Any  # each function knows its route's model
    body: Any
    id: str


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the REST API.

    Attributes:
        method: HTTP's.
        path: below ``api/v1/``, with ``{name}`` for values. A value is a name or id
            of ours; what users name freely goes into the query or the body.
        run: does it, and returns an ``answer``; its docstring is shown to users.
        scope: the custom scope that the caller needs, besides access to the service.
        answer: the model of the answer.
        query, body: models of what is sent.
        status: of a good answer.
    """

    method: str
    path: str
    run: Callable[[Any, Call], Awaitable[BaseModel]]
    scope: str
    answer: type[BaseModel]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    status: int = 200

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
        return (self.run.__doc__ or "").strip().splitlines()[0]

    @property
    def name(self) -> str:
        """``operationId`` in the OpenAPI document."""
        return self.run.__name__


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service, without its settings and without anything that runs.

    Attributes:
        name: as JupyterHub and its address know it.
        title, description: for people.
        routes: its REST API.
        errors: of what it wraps.
        largest_body: bytes that a request may have.
    """

    name: str
    title: str
    description: str
    routes: tuple[Route, ...] = field(repr=False)
    errors: ErrorTable = field(repr=False)
    largest_body: int = 2**20
