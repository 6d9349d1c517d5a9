"""HAProxy's run-time socket: maps that change while requests are served.

The commands and their answers are those of HAProxy 2.6 to 2.8 (management guide,
"Unix socket commands"), recorded from 2.8.25. A command that changes something
answers with an empty line; anything else is a complaint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from .errors import CommandRefused, RuntimeFault

_MISSING = ("entry not found", "key not found")
_UNSAFE = frozenset(" ;\\\n\r\t\0")


class RuntimeSocket:
    """One command at a time to one HAProxy process, each with a deadline.

    Args:
        address: a file system path, or ``host:port`` for a socket over TCP.
        timeout_seconds: for one command, from connecting to the last byte.
    """

    def __init__(self, address: str, *, timeout_seconds: float = 5.0) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds

    async def command(self, text: str) -> str:
        """Send ``text``, which may hold a payload, and give back the whole answer.

        Raises:
            RuntimeFault: nobody listens, or the answer did not come in time.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._exchange(text)
        except (OSError, TimeoutError) as error:
            raise RuntimeFault(
                f"no answer from HAProxy at {self.address}: {error or 'timed out'}"
            ) from error

    async def _exchange(self, text: str) -> str:
        if "/" in self.address:
            reader, writer = await asyncio.open_unix_connection(self.address)
        else:
            host, _, port = self.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(text.encode() + b"\n")
            await writer.drain()
            return (await reader.read(-1)).decode()
        finally:
            writer.close()

    async def info(self) -> dict[str, str]:
        """``show info`` as a mapping, e.g. ``Pid``, ``Version``, ``CurrConns``."""
        answer = await self.command("show info")
        pairs = (line.partition(": ") for line in answer.splitlines())
        return {name: value for name, colon, value in pairs if colon}

    async def read_map(self, path: str) -> dict[str, str]:
        """``show map``: key to value, as the process has it in memory now.

        Raises:
            CommandRefused: this process has not loaded that map.
        """
        command = f"show map {path}"
        answer = await self.command(command)
        entries: dict[str, str] = {}
        for line in answer.splitlines():
            parts = line.split(" ", 2)
            if len(parts) == 3 and parts[0].startswith("0x"):
                entries[parts[1]] = parts[2]
            elif line.strip():
                raise CommandRefused(command, line.strip())
        return entries

    async def add_entry(self, path: str, key: str, value: str) -> None:
        """Add a ``key`` that is believed to be new, in one round trip.

        ``add map`` on a key that is there would make a second entry; so what may
        be left of an earlier, uncertain change is deleted with the same line.
        """
        _refuse_unsafe(key, value)
        command = f"del map {path} {key};add map {path} {key} {value}"
        _refuse_complaints(command, await self.command(command))

    async def set_entry(self, path: str, key: str, value: str) -> None:
        """Make ``key``, which should be there, mean ``value`` from now on."""
        _refuse_unsafe(key, value)
        command = f"set map {path} {key} {value}"
        answer = (await self.command(command)).strip()
        if answer.lower().startswith(_MISSING):
            await self.add_entry(path, key, value)
        elif answer:
            raise CommandRefused(command, answer)

    async def delete_entry(self, path: str, key: str) -> None:
        """Forget ``key``; it is no error if it was not there."""
        _refuse_unsafe(key)
        command = f"del map {path} {key}"
        _refuse_complaints(command, await self.command(command))

    async def replace_map(self, path: str, entries: Mapping[str, str]) -> None:
        """Put ``entries`` in the place of the whole map, in one step for requests."""
        answer = (await self.command(f"prepare map {path}")).strip()
        _, announced, version = answer.rpartition("New version created: ")
        if not announced:
            raise CommandRefused(f"prepare map {path}", answer)
        lines: list[str] = []
        for key, value in entries.items():
            _refuse_unsafe(key, value)
            lines.append(f"{key} {value}\n")
        for start in range(0, len(lines), 100):  # a payload has to fit one buffer
            payload = "".join(lines[start : start + 100])
            answer = await self.command(f"add map @{version} {path} <<\n{payload}")
            if answer.strip():
                raise CommandRefused(f"add map @{version} {path}", answer.strip())
        answer = (await self.command(f"commit map @{version} {path}")).strip()
        if answer:
            raise CommandRefused(f"commit map @{version} {path}", answer)


def _refuse_complaints(command: str, answer: str) -> None:
    """A change answers with nothing, or says that the key was not there."""
    for line in answer.splitlines():
        if line.strip() and not line.lower().startswith(_MISSING):
            raise CommandRefused(command, line.strip())


def _refuse_unsafe(*words: str) -> None:
    """Keys and values are made by us from safe characters: hold that to be true."""
    for word in words:
        if not word or not word.isascii() or _UNSAFE.intersection(word):
            raise CommandRefused("map entry", f"unsafe word {word!r}")
