"""Carries signed requests to one store and brings its answers or errors back.

One :class:`Transport` holds one pool of connections; :meth:`Transport.signed_by`
gives another signature over the same pool. Failures that may pass (no connection,
5xx, ``SlowDown``) are tried again with growing, random pauses; what remains comes out
as one of :mod:`~services.storage.s3.errors`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from spawners.common.metrics import timed_call
from spawners.common.request_id import request_headers

from .answers import LONGEST_ANSWER, retry_after
from .disk import is_full
from .errors import StorageError, StoreAnswerInvalid, StoreFull, StoreUnavailable
from .refusals import busy, error_for
from .signing import Signer, encode_query, object_path
from .values import AccessKey

DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store is and how patient we are with it.

    Attributes:
        endpoint: scheme and authority, e.g. ``https://s3.example.org``.
        region: what it calls its region.
        connect: until a connection stands.
        answer: until an answer begins, and between its pieces.
        attempts: how often a request is made at most.
        patience: since the first attempt; after it no other one is begun.
        pause: before the second attempt, on average half of it; it doubles.
        connections: how many at once.
        ca_file: PEM of who signs its certificate; ``None`` for the system's.
        socket: path of a socket to connect to instead of the endpoint's port.
        disk: where a store on this machine keeps its objects.
    """

    endpoint: str
    region: str = DEFAULT_REGION
    connect: timedelta = timedelta(seconds=5)
    answer: timedelta = timedelta(seconds=30)
    attempts: int = 4
    patience: timedelta = timedelta(seconds=30)
    pause: timedelta = timedelta(seconds=0.2)
    connections: int = 64
    ca_file: str | None = None
    socket: str | None = None
    disk: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not the URL of a store: {self.endpoint!r}")
        if parts.path not in {"", "/"} or parts.query or parts.username:
            raise ValueError(f"more than scheme and authority: {self.endpoint!r}")


@dataclass(frozen=True, slots=True)
class S3Request:
    """One request, before it is signed.

    Attributes:
        what: the words for errors: ``"list bucket alice"``.
        service: in whose name it is signed: ``s3``, ``sts`` or ``iam``.
        accept: statuses that are no error.
        limit: bytes of the longest answer that is taken.
        repeatable: whether it may be sent again when no answer came.
    """

    method: str
    bucket: str = ""
    key: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    what: str = ""
    service: str = "s3"
    path: str = ""
    accept: frozenset[int] = frozenset({200, 204, 206})
    limit: int = LONGEST_ANSWER
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in any case."""

    status: int
    headers: httpx.Headers
    body: bytes


class Transport:
    """Speaks to one store in the name of one key, or of nobody.

    Args:
        address: the store.
        key: who signs; ``None`` sends requests unsigned.
        client: a pool to share; :meth:`close` then leaves it open.
    """

    def __init__(
        self,
        address: StoreAddress,
        key: AccessKey | None,
        *,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.address = address
        self.key = key
        self._base = address.endpoint.rstrip("/")
        self._host = urlsplit(self._base).netloc
        self._own = client is None
        self._client = client or _pool(address)
        self._signers: dict[str, Signer] = {}

    def signed_by(self, key: AccessKey | None) -> Transport:
        """Return a transport for ``key`` over the same connections."""
        return Transport(self.address, key, client=self._client)

    def once(self, answer: timedelta) -> Transport:
        """Return one over the same connections that waits little, and tries once."""
        address = replace(self.address, connect=answer, answer=answer, attempts=1)
        return Transport(address, self.key, client=self._client)

    async def close(self) -> None:
        """Close the connections, if they are ours."""
        if self._own:
            await self._client.aclose()

    async def ask(self, call: S3Request) -> Answer:
        """Make a request until it is answered.

        Raises:
            StorageError: refused, or failed as often or as long as is allowed.
        """
        attempt = 0
        deadline = time.monotonic() + self.address.patience.total_seconds()
        while True:
            attempt += 1
            wait: float | None = None
            try:
                with timed_call("store", f"{call.service} {call.method}"):
                    answer = await self._once(call)
            except _Lost as lost:
                failure: StorageError = StoreUnavailable(
                    f"The store did not answer: {call.what} ({lost.reason})."
                )
                again = call.repeatable or not lost.sent
            else:
                if answer.status in call.accept:
                    return answer
                failure = error_for(answer.status, answer.headers, answer.body, call)
                self._look_for_room(call, answer.status)
                again = busy(failure)
                wait = retry_after(answer.headers.get("retry-after"))
            if not again or attempt >= self.address.attempts:
                raise failure
            pause = self._pause(attempt) if wait is None else wait
            if time.monotonic() + pause >= deadline:
                raise failure
            await asyncio.sleep(pause)

    def _look_for_room(self, call: S3Request, status: int) -> None:
        """Tell a full store from one that failed, where the store itself does not.

        Raises:
            StoreFull: there is no room for what was to be written.
        """
        disk = self.address.disk
        if disk is None or status < 500 or call.method not in {"PUT", "POST"}:
            return
        if is_full(disk, len(call.body)):
            raise StoreFull(f"The store's disk is full: {call.what}.", status=status)

    def _pause(self, attempt: int) -> float:
        longest: float = self.address.pause.total_seconds() * 2 ** (attempt - 1)
        return random.uniform(0, min(10.0, longest))  # noqa: S311 -- spreads retries

    async def _once(self, call: S3Request) -> Answer:
        try:
            async with self._sent(call) as response:
                body = await _read(response, call)
                return Answer(response.status_code, response.headers, body)
        except httpx.ConnectError as error:
            raise _Lost(str(error) or "no connection", sent=False) from error
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Lost("no connection in time", sent=False) from error
        except httpx.TimeoutException as error:
            raise _Lost("no answer in time", sent=True) from error
        except httpx.RemoteProtocolError as error:
            raise _Lost(str(error) or "broken answer", sent=True) from error
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _Lost(str(error) or type(error).__name__, sent=True) from error

    @asynccontextmanager
    async def _sent(self, call: S3Request) -> AsyncIterator[httpx.Response]:
        target = call.path or object_path(call.bucket, call.key)
        if call.query:
            target += f"?{encode_query(call.query)}"
        url = f"{self._base}{target}"
        # Not signed: who signs a URL for a browser knows no request of hers.
        headers = {**self._sign(call, url), **request_headers()}
        request = self._client.build_request(
            call.method,
            self._base,
            # Metadata may be in any language; it is signed as UTF-8, too.
            headers=httpx.Headers(headers, encoding="utf-8"),
            content=call.body,
            # As it was signed: httpx would take dot segments out of the path.
            extensions={**_timeouts(self.address), "target": target.encode("ascii")},
        )
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _sign(self, call: S3Request, url: str) -> dict[str, str]:
        headers = {"host": self._host, "accept-encoding": "identity", **call.headers}
        if self.key is None:
            return headers
        signer = self._signers.get(call.service)
        if signer is None:
            signer = Signer(self.key, self.address.region, call.service)
            self._signers[call.service] = signer
        return signer.sign(call.method, url, headers, call.body)

    @asynccontextmanager
    async def stream(
        self, call: S3Request
    ) -> AsyncIterator[tuple[int, httpx.Response]]:
        """Open an answer whose body is read piece by piece, without retries.

        Yields the status and the response; use ``aiter_raw``.

        Raises:
            StorageError: as :meth:`ask`, also while the body is read.
        """
        try:
            async with self._sent(call) as response:
                if response.status_code not in call.accept:
                    body = await _read(response, call)
                    raise error_for(response.status_code, response.headers, body, call)
                yield response.status_code, response
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise StoreUnavailable(
                f"The store broke off: {call.what} ({reason})."
            ) from error


class _Lost(Exception):
    """No answer; ``sent`` if the request may have reached the store."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


def _pool(address: StoreAddress) -> httpx.AsyncClient:
    verify: ssl.SSLContext | bool = True
    if address.ca_file:
        verify = ssl.create_default_context(cafile=address.ca_file)
    # Nothing of the environment: no proxy, no .netrc, no other certificates.
    transport = httpx.AsyncHTTPTransport(
        http1=True,
        http2=False,
        trust_env=False,
        verify=verify if address.endpoint.startswith("https") else False,
        limits=httpx.Limits(
            max_connections=address.connections,
            max_keepalive_connections=address.connections,
            keepalive_expiry=20.0,
        ),
        uds=address.socket,
    )
    return httpx.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False
    )


def _timeouts(address: StoreAddress) -> dict[str, dict[str, float]]:
    answer = address.answer.total_seconds()
    timeouts = {
        "connect": address.connect.total_seconds(),
        "read": answer,
        "write": answer,
        "pool": answer,
    }
    return {"timeout": timeouts}


async def _read(response: httpx.Response, call: S3Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > call.limit:
            raise StoreAnswerInvalid(
                f"The store's answer is longer than {call.limit} bytes: {call.what}."
            )
        pieces.append(piece)
    return b"".join(pieces)
