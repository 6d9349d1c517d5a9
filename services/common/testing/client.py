"""Somebody who asks a service that runs in process: a program, or a browser."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any  # JSON, and a service's own object

import httpx

from ..web.errors import error_codes
from ..web.openapi import ErrorAnswer
from ..web.routes import Route, ServiceSpec

_BROWSER = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
_WINDOW = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Dest": "document",
}


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event. ``id`` and ``kind`` are ``""`` where none was sent."""

    id: str
    kind: str
    data: str


class ServiceClient:
    """Calls a service's REST API, and holds every answer to the table of routes.

    Args:
        name: who asks.
        spec: the service.
        http: reaches it below its prefix, with the token or the cookies of who asks.
        is_browser: whether requests carry what a browser says of itself, and so need
            the XSRF token.
    """

    def __init__(
        self,
        name: str,
        spec: ServiceSpec[Any],
        http: httpx.AsyncClient,
        *,
        is_browser: bool = False,
    ) -> None:
        self.name = name
        self.http = http
        self._spec = spec
        self._is_browser = is_browser

    async def ask(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> httpx.Response:
        """Return the answer to a call, good or not, which is as documented.

        Args:
            method: HTTP's.
            path: below ``api/v1/``.
            body: what is sent as JSON; ``None`` for nothing.
            query: values of the query.

        Raises:
            AssertionError: the answer has not the shape that the documents tell.
        """
        answer = await self.http.request(
            method,
            f"api/v1/{path}",
            json=body,
            params=query or None,
            headers=self._own_headers(),
        )
        self._check(method, path, answer)
        return answer

    async def call(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> Any:
        """Return the JSON of an answer that has to be good."""
        answer = await self.ask(method, path, body, **query)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    async def refused(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> tuple[int, str]:
        """Return status and code of an answer that has to be an error."""
        answer = await self.ask(method, path, body, **query)
        if not answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.status_code, answer.json()["error"]["code"]

    async def open(self, path: str = "") -> httpx.Response:
        """Return the answer to a browser that opens an address of the service's.

        Args:
            path: below the service's, or from ``/`` on, with its query.
        """
        url = str(self.http.base_url.join(path)) if path.startswith("/") else path
        return await self.http.get(url, headers=_WINDOW)

    @asynccontextmanager
    async def follow(
        self, path: str, *, after: str = "", **query: Any
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """Follow a stream of server-sent events below ``api/v1/``.

        Args:
            path: below ``api/v1/``.
            after: the last event's id that was seen; ``""`` for none.
            query: values of the query.

        Raises:
            AssertionError: it is no such stream.
        """
        headers = {"Accept": "text/event-stream", **self._own_headers()}
        if after:
            headers["Last-Event-ID"] = after
        async with self.http.stream(
            "GET", f"api/v1/{path}", params=query or None, headers=headers
        ) as answer:
            kind = answer.headers.get("Content-Type", "")
            if not answer.is_success or not kind.startswith("text/event-stream"):
                text = (await answer.aread()).decode("utf-8", "replace")
                raise AssertionError(f"{path}: {answer.status_code} {text}")
            yield _events(answer.aiter_lines())

    def _own_headers(self) -> dict[str, str]:
        if not self._is_browser:
            return {}
        return {**_BROWSER, "X-XSRFToken": self.http.cookies.get("_xsrf") or ""}

    def _check(self, method: str, path: str, answer: httpx.Response) -> None:
        if answer.is_success:
            self._route(method, path).answer.model_validate_json(answer.content)
            return
        error = ErrorAnswer.model_validate_json(answer.content).error
        told = (answer.status_code, error.code)
        if told not in error_codes(self._spec.errors):
            raise AssertionError(f"{method} {path}: no document tells of {told}")

    def _route(self, method: str, path: str) -> Route[Any]:
        for route in self._spec.routes:
            if route.method == method and re.fullmatch(route.pattern, path):
                return route
        raise AssertionError(f"{method} {path} is in no table of routes")


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[StreamEvent]:
    """Yield the events of a stream; comments, which keep it alive, are none."""
    identity = kind = ""
    data: list[str] = []
    async for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            identity = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line and data:
            yield StreamEvent(identity, kind, "\n".join(data))
            kind, data = "", []


def told_by(event: StreamEvent) -> Any:
    """Return the JSON that an event holds."""
    return json.loads(event.data)
