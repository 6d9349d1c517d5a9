"""Answers the programs that ask at a :class:`~.credentials.Address` for S3 keys.

What they ask goes to the owner over ``ctl``; while no server is attached, the answer
says so. No key is kept here.

Travels in the job with ``main.py``: standard library of Python 3.6 or newer only.
"""

import asyncio
import hmac
from typing import Any, Callable, Dict, Optional

from spawners.node.kernel.credentials import Address
from spawners.node.kernel.names import Json

_MOST_BYTES = 16 * 1024
_PATIENCE_SECONDS = 30.0
_NOBODY = (
    503,
    "text/plain",
    "The kernel's notebook server is not attached, and keys come from it.\n",
)


class Keys:
    """Whoever answers there, from :meth:`serve` on.

    Args:
        address: where.
        ask: sends an object to the owner; False if there is none.
    """

    def __init__(self, address: Address, ask: Callable[[Json], bool]) -> None:
        self._address = address
        self._ask = ask
        self._waiting: Dict[int, Any] = {}
        self._count = 0

    async def serve(self) -> None:
        """Answer from now on, if there is anything to answer."""
        if self._address.socket is not None:
            await asyncio.get_event_loop().create_server(
                lambda: _Asker(self), sock=self._address.socket
            )

    def knows(self, authorization: str) -> bool:
        """Whether a request comes from this job's user."""
        return hmac.compare_digest(
            authorization.encode("latin-1"), self._address.token.encode("ascii")
        )

    def told(self, message: Json) -> None:
        """Take an answer of the owner's."""
        future = self._waiting.pop(int(message["asker"]), None)
        if future is not None and not future.done():
            future.set_result(
                (int(message["status"]), str(message["type"]), str(message["text"]))
            )

    async def find(self, target: str) -> Any:
        """Return status, type and text for a path, from the owner."""
        self._count += 1
        number = self._count
        future = asyncio.get_event_loop().create_future()
        self._waiting[number] = future
        try:
            if not self._ask({"event": "keys", "asker": number, "target": target}):
                return _NOBODY
            return await asyncio.wait_for(future, _PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            return _NOBODY
        finally:
            self._waiting.pop(number, None)


class _Asker(asyncio.Protocol):
    """One request of one program; the connection ends with its answer."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._data = b""
        self._task: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self._task is not None:
            return
        self._data += data
        head, found, _ = self._data.partition(b"\r\n\r\n")
        if len(head) > _MOST_BYTES:
            self._transport.abort()
        elif found:
            self._task = asyncio.ensure_future(self._answer(head.decode("latin-1")))

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _answer(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        method, _, rest = first.partition(" ")
        if method != "GET":
            answer = (405, "text/plain", "Only GET is served here.\n")
        elif not self._keys.knows(headers.get("authorization", "")):
            answer = (401, "text/plain", "This address serves one user only.\n")
        else:
            answer = await self._keys.find(rest.partition(" ")[0])
        status, kind, text = answer
        body = text.encode("utf-8")
        told = "HTTP/1.1 %d -\r\nContent-Type: %s; charset=utf-8\r\n" % (status, kind)
        told += "Content-Length: %d\r\nCache-Control: no-store\r\n" % len(body)
        told += "Connection: close\r\n\r\n"
        self._transport.write(told.encode("latin-1") + body)
        self._transport.close()
