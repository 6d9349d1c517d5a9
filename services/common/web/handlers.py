"""From a request to a route's function and back: Tornado's side of every service.

Nothing in here knows a service. :class:`RouteHandler` serves the table of routes:
it finds out who asks, checks scopes, reads path, query and body into the route's
models, calls the function and answers its model, or the one shape of an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from pydantic import BaseModel, ValidationError

from services.common.navigation import Navigation

from .answers import HEADERS, AnswerHandler
from .auth import KEY_BEGINNING, Caller, KeyVerifier, identify, unknown_caller
from .errors import BadRequest, Forbidden, NotReady
from .fetches import refusal
from .limits import Limiter
from .metrics import CONTENT_TYPE, MetricsToken, Numbers, exposition
from .routes import C, Call, Route, ServiceSpec
from .streams import EventStream, OpenStreams, send_events

_LONGEST_QUERY = 16_384


@dataclass(frozen=True)
class RunningService(Generic[C]):
    """What the handlers of one running service share.

    Attributes:
        spec: the service.
        context: what its route functions get first.
        auth: the hub.
        prefix: the service's path, with slashes at both ends.
        health: says whether the service can work: (ready, facts to show).
        numbers: what it is busy with.
        metrics_token: of who may read its numbers.
        keys: its bearer keys, if it has any.
        limiter: how often who called what.
        base_url: the gateway's path.
        hub: the hub's, or its URL where it has another host.
        navigation: what the header of its pages shows.
        static: directory of files that everybody may read.
        streams: who reads which streams of events.
        stopping: set when the process is to end.
    """

    spec: ServiceSpec[C]
    context: C
    auth: HubOAuth
    prefix: str
    health: Callable[[], Awaitable[tuple[bool, Mapping[str, object]]]]
    numbers: Numbers
    metrics_token: MetricsToken
    keys: KeyVerifier | None = None
    limiter: Limiter = field(default_factory=Limiter)
    base_url: str = "/"
    hub: str = "/hub/"
    navigation: Navigation = field(default_factory=Navigation)
    static: Path | None = None
    streams: OpenStreams = field(default_factory=OpenStreams)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class BaseHandler(AnswerHandler):
    """Who asks, by JupyterHub's word."""

    is_page = False

    def initialize(self, serving: RunningService[Any]) -> None:
        """Take what the application gives to each request, whichever service it is."""
        self.serving = serving
        self.hub_auth = serving.auth
        self.prepare_answer(serving.spec.errors)
        path = self.request.path.removeprefix(serving.prefix)
        self.error_shape = serving.spec.shape_at(path)

    # What JupyterHub's OAuth asks of a handler.

    @property
    def _xsrf_token_id(self) -> Any:
        return self.hub_auth._get_xsrf_token_id(self)

    def check_xsrf_cookie(self) -> None:
        """Refuse a browser's request that does not carry its XSRF token."""
        self.hub_auth.check_xsrf_cookie(self)

    async def caller(self) -> Caller | None:
        """Return who asks; ``None`` for nobody.

        Raises:
            Forbidden: a browser asks in a way that no page of ours does.
        """
        caller = await identify(self.hub_auth, self)
        reason = refusal(
            self.request.method or "",
            self.request.headers,
            page=self.is_page,
            by_token=bool(getattr(self, "_token_authenticated", False)),
        )
        if reason:
            raise Forbidden(reason)
        self.asked_by = caller.name if caller else ""
        return caller

    async def caller_now(self) -> Caller | None:
        """Return who asks by the hub's newest word, for an answer that takes long.

        While the hub cannot be asked it is whoever it was.

        Raises:
            Forbidden: somebody who may not use this service any more.
        """
        before = self.__dict__.pop("_cached_hub_user", None)
        try:
            return await self.caller()
        except NotReady:
            self._cached_hub_user = before
            return await self.caller()


class RouteHandler(BaseHandler):
    """Serves the routes that share one path."""

    def initialize(  # type: ignore[override]  # each kind takes its own
        self, serving: RunningService[Any], routes: Mapping[str, Route[Any]]
    ) -> None:
        """Take the routes of this path, by method."""
        super().initialize(serving)
        self._routes = routes
        self._gone = asyncio.Event()
        self.route = next(iter(routes.values())).path
        self.SUPPORTED_METHODS = tuple(routes)

    async def _serve(self, **path: str) -> None:
        route = self._routes[self.request.method or ""]
        caller = await self._asking(route, path)
        self.serving.limiter.take(route.limit, route.name, caller.key, caller.name)
        sent = {"query": self._query(route), "body": self._body(route)}
        last_event = self.request.headers.get("Last-Event-ID", "")
        call = Call(caller, self.origin, path, self.error_id, last_event)
        models = {name: model for name, model in sent.items() if model is not None}
        with self._counted(route, caller):
            answer = await route.run(self.serving.context, call, **models)
            if isinstance(answer, EventStream):
                await self._stream(route, path, answer)
                return
        self.set_status(route.status)
        self.answer_json(answer.model_dump(mode="json"))

    get = post = put = patch = delete = _serve

    async def _asking(
        self, route: Route[Any], path: Mapping[str, str], *, newest: bool = False
    ) -> Caller:
        """Return who asks, if she may: by a bearer key to this, or by the hub's word.

        Args:
            route: what is asked.
            path: the values in its path.
            newest: the answer takes long already; what was known may have ended.

        Raises:
            NotSignedIn, Forbidden: she may not.
        """
        kind, _, shown = self.request.headers.get("Authorization", "").partition(" ")
        shown = shown.strip()
        keys = self.serving.keys
        if (
            route.key is not None
            and keys is not None
            and kind.lower() in ("bearer", "token")
            and shown.startswith(KEY_BEGINNING)
        ):
            resource = route.key.resource.format_map(path)
            source = self.request.remote_ip or ""
            key = await keys.check(shown, resource, route.key.verb, source=source)
            self.asked_by = f"{key.owner} by key {key.id}"
            scopes = frozenset({route.scope})
            return Caller(key.owner, scopes=scopes, by_token=True, key=key.id)
        caller = await (self.caller_now() if newest else self.caller())
        if caller is None:
            raise unknown_caller(self, self.hub_auth)
        if not caller.may(route.scope):
            raise Forbidden(
                "This token may not do this.", hint=f"It needs the scope {route.scope}."
            )
        return caller

    def _counted(
        self, route: Route[Any], caller: Caller
    ) -> AbstractContextManager[None]:
        """Count a stream for as long as it is read."""
        if not route.streams:
            return nullcontext()
        return self.serving.streams.one_of(caller.name, route.path)

    async def _stream(
        self, route: Route[Any], path: Mapping[str, str], stream: EventStream[Any]
    ) -> None:
        async def look() -> None:
            caller = await self._asking(route, path, newest=True)
            if stream.recheck is not None:
                await stream.recheck(caller)

        self.is_stream = True
        ended = (self._gone, self.serving.stopping)
        await send_events(self, stream, look=look, ended=ended)

    def on_connection_close(self) -> None:
        """Let a stream end whose reader is gone."""
        self._gone.set()

    def _query(self, route: Route[Any]) -> BaseModel | None:
        if len(self.request.query) > _LONGEST_QUERY:
            raise BadRequest("The query is too long.", field="query")
        values: dict[str, object] = {}
        for name, texts in self.request.query_arguments.items():
            if name == "_xsrf":
                continue
            if len(texts) > 1:
                raise BadRequest(
                    "A value is given twice.", field=printable(f"query.{name}")
                )
            values[name] = _text(texts[0], printable(f"query.{name}"))
        if route.query is None:
            if values:
                raise BadRequest("This call takes no query.", field="query")
            return None
        return _checked(route.query, values, "query")

    def _body(self, route: Route[Any]) -> BaseModel | None:
        raw = self.request.body
        if route.body is None:
            if raw.strip() not in (b"", b"{}"):
                raise BadRequest("This call takes no body.", field="body")
            return None
        kind = self.request.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise BadRequest(
                "The body must be JSON.", hint="Send Content-Type: application/json."
            )
        try:
            values = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise BadRequest("The body is not JSON.", field="body") from None
        return _checked(route.body, values, "body")


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _text(raw: bytes, field: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("This is not UTF-8.", field=field) from None


def _checked(model: type[BaseModel], values: object, where: str) -> BaseModel:
    """Return ``values`` as the model that they should be; a number may be a text."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        field = ".".join([where, *(str(part) for part in fault["loc"])])
        text = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
        raise BadRequest(f"{text}.", field=printable(field)) from None


def printable(text: str) -> str:
    """Return ``text`` cut, and without characters that would not show."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200]
    )


class HealthHandler(BaseHandler):
    """Whether the service can work; open to everybody, and says no secrets."""

    async def get(self) -> None:
        """Answer 200 if it can, else 503."""
        ready, facts = await self.serving.health()
        self.set_status(200 if ready else 503)
        self.answer_json({"status": "ready" if ready else "not-ready", **facts})


class MetricsHandler(BaseHandler):
    """Numbers of the process, for who has the metrics token."""

    def get(self) -> None:
        """Answer them in Prometheus' text format."""
        authorization = self.request.headers.get("Authorization", "")
        self.serving.metrics_token.require(authorization)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(exposition(self.serving.numbers))


class OpenApiHandler(BaseHandler):
    """The description of the REST API; open to everybody."""

    def initialize(  # type: ignore[override]  # each kind takes its own
        self, serving: RunningService[Any], document: Mapping[str, object]
    ) -> None:
        """Take the document, which does not change while the service runs."""
        super().initialize(serving)
        self._document = document

    def get(self) -> None:
        """Answer the document."""
        self.answer_json(self._document)


class CallbackHandler(HubOAuthCallbackHandler):  # type: ignore[misc]  # it is untyped
    """Where the hub sends a browser back to after it has signed in."""

    def initialize(self, serving: RunningService[Any]) -> None:
        """Take the connection to the hub."""
        self.hub_auth = serving.auth

    async def prepare(self) -> None:
        """Find out who comes on the loop, which JupyterHub's handler would block."""
        self.current_user = await self.hub_auth.get_user(self, sync=False)

    def set_default_headers(self) -> None:
        """Say what browsers may do with the answer: little."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
