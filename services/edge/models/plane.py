"""Changes of model endpoints in a HAProxy that runs: replicas, places, keys.

One order for each change, and each is safe to repeat: first the file that the next
HAProxy begins with, then the commands. In which order these fail no request was
measured; the reasons stand beside them.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from spawners.common.files import write_whole

from ..errors import CommandRefused
from ..maps import map_text
from ..runtime import RuntimeSocket
from .pool import FILE, Pool, Replica

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Load:
    """What HAProxy says of one server, or of all of a backend (``replica`` is ``""``).

    Attributes:
        running: requests in it now. queued: requests that wait for it.
        status: HAProxy's word: ``UP``, ``DOWN``, ``DRAIN``, ``MAINT``, ``no check``.
        check: of the last probe: ``L7OK``, ``L4CON``, ``L6RSP`` and so on.
        total: requests so far. failed: of these, those without an answer.
        server_errors: answers of 500 and above.
        milliseconds: mean time of the last 1,024 requests.
    """

    backend: str
    replica: str
    running: int
    queued: int
    status: str
    check: str
    total: int
    failed: int
    server_errors: int
    milliseconds: int


class ModelPlane:
    """Owner of the pool and of the maps of models.

    Args:
        directory: the edge's, where HAProxy's files are.
        runtime: its run-time socket.
        changing: held while something changes, and while a HAProxy starts.
        pool: what is to be; :meth:`reconcile` makes HAProxy's memory the same.
    """

    def __init__(
        self,
        directory: Path,
        runtime: RuntimeSocket,
        changing: AbstractAsyncContextManager[object],
        pool: Pool,
    ) -> None:
        self._directory = directory
        self._runtime = runtime
        self._changing = changing
        self._pool = pool

    @property
    def pool(self) -> Pool:
        """All backends with their replicas."""
        return self._pool

    async def add(self, backend: str, replica: Replica) -> None:
        """Put a replica into a backend; it is probed, and gets no requests yet.

        A server that is added counts as up until a probe has failed, so it is added as
        one that drains; :meth:`use` is for when :meth:`wait_until_up` has returned.
        """
        others = self._others(backend, replica.name)
        await self._write(self._pool.with_replicas(backend, [*others, replica]))
        server = f"{backend}/{replica.name}"
        options = replica.options(backend, self._pool.trust)
        async with self._changing:
            await self._forget(server)
            await self._run(
                f"add server {server} {options}", expects="New server registered"
            )
            await self._run(f"enable health {server};set server {server} state drain")

    async def wait_until_up(self, backend: str, replica: str, seconds: float) -> None:
        """Return when HAProxy's own probe of the replica has succeeded.

        Raises:
            TimeoutError: it did not in ``seconds``; the text is the last probe's.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            load = (await self.loads()).get((backend, replica))
            if load is not None and load.check.endswith("OK"):
                return
            if loop.time() >= end:
                raise TimeoutError(load.check if load else "HAProxy does not know it")
            await asyncio.sleep(_LOOK_SECONDS)

    async def use(self, backend: str, replica: str) -> None:
        """Give it requests from now on."""
        await self._run(f"set server {backend}/{replica} state ready")

    async def weigh(self, backend: str, replica: Replica) -> None:
        """Give it another share of the requests, by ``replica.weight``."""
        others = self._others(backend, replica.name)
        await self._write(self._pool.with_replicas(backend, [*others, replica]))
        await self._run(f"set server {backend}/{replica.name} weight {replica.weight}")

    async def drain(self, backend: str, replica: str) -> None:
        """Give it no more requests; those that it has go on."""
        await self._run(f"set server {backend}/{replica} state drain")

    async def wait_until_idle(self, backend: str, replica: str, seconds: float) -> bool:
        """Whether its last request ended within ``seconds``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            load = (await self.loads()).get((backend, replica))
            if load is None or not load.running + load.queued:
                return True
            if loop.time() >= end:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def remove(self, backend: str, replica: str) -> None:
        """Take it away; what it still answers is cut off. No error if it is gone."""
        await self._write(
            self._pool.with_replicas(backend, self._others(backend, replica))
        )
        async with self._changing:
            await self._forget(f"{backend}/{replica}")

    async def set_map(self, name: str, entries: Mapping[str, str]) -> None:
        """Make one of the :data:`.pool.MAPS` hold exactly ``entries``."""
        async with self._changing:
            await asyncio.to_thread(
                write_whole, self._directory / name, map_text(entries)
            )
            await self._runtime.replace_map(name, entries)

    async def put(
        self, name: str, key: str, value: str, entries: Mapping[str, str]
    ) -> None:
        """Set one entry of a map; ``entries`` is all that it holds then."""
        async with self._changing:
            await asyncio.to_thread(
                write_whole, self._directory / name, map_text(entries)
            )
            await self._runtime.add_entry(name, key, value)

    async def discard(self, name: str, key: str, entries: Mapping[str, str]) -> None:
        """Delete one entry of a map; ``entries`` is all that it holds then."""
        async with self._changing:
            await asyncio.to_thread(
                write_whole, self._directory / name, map_text(entries)
            )
            await self._runtime.delete_entry(name, key)

    async def cut_off(self, key_id: str) -> int:
        """End all requests that a key has open; how many connections that were.

        For a key that no map holds any more. A connection of HTTP/2 ends whole.
        """
        table = await self._runtime.command("show table model_streams")
        places = {
            entry.removeprefix(f"key={key_id}@")
            for line in table.splitlines()
            if (entry := _word(line, "key=")).startswith(f"key={key_id}@")
            and _word(line, "use=") != "use=0"
        }
        if not places:
            return 0
        sessions = await self._runtime.command("show sess")
        doomed = [
            line.split(":", 1)[0]
            for line in sessions.splitlines()
            if line.startswith("0x")
            and _word(line, "src=").removeprefix("src=") in places
        ]
        for session in doomed:
            await self._runtime.command(f"shutdown session {session}")
        return len(doomed)

    async def loads(self) -> dict[tuple[str, str], Load]:
        """All servers and backends of the pool, by backend and replica (or ``""``)."""
        text = await self._runtime.command("show stat -1 6 -1")
        rows = csv.DictReader(io.StringIO(text.lstrip("# ")))
        loads = (_load(row) for row in rows if row["pxname"].startswith("m_"))
        return {(load.backend, load.replica): load for load in loads}

    async def uses(self) -> dict[str, dict[str, int]]:
        """Counters of each ``keyid:owner/name`` since it was first seen."""
        table = await self._runtime.command("show table model_uses")
        uses = {}
        for line in table.splitlines():
            words = dict(
                word.partition("=")[::2] for word in line.split() if "=" in word
            )
            if "key" in words:
                uses[words["key"]] = {
                    name.partition("(")[0]: int(value)
                    for name, value in words.items()
                    if name != "key" and value.isdecimal()
                }
        return uses

    async def reconcile(self, maps: Mapping[str, Mapping[str, str]]) -> None:
        """Make a HAProxy that was started or adopted what it has to be.

        Servers that it lacks are added and used, those that are not ours any more are
        removed, and each map holds what ``maps`` says.
        """
        known = {
            (load.backend, load.replica)
            for load in (await self.loads()).values()
            if load.replica
        }
        wanted = {
            (backend, replica.name): replica
            for backend, replicas in self._pool.replicas.items()
            for replica in replicas
        }
        for backend, name in known - wanted.keys():
            await self.remove(backend, name)
        for (backend, name), replica in wanted.items():
            if (backend, name) not in known:
                await self.add(backend, replica)
                await self.use(backend, name)
        for name, entries in maps.items():
            if await self._runtime.read_map(name) != entries:
                await self.set_map(name, entries)

    def _others(self, backend: str, name: str) -> list[Replica]:
        return [
            replica
            for replica in self._pool.replicas.get(backend, ())
            if replica.name != name
        ]

    async def _write(self, pool: Pool) -> None:
        async with self._changing:
            await asyncio.to_thread(write_whole, self._directory / FILE, pool.text())
            self._pool = pool

    async def _forget(self, server: str) -> None:
        """Delete a server if it is there; an idle connection holds it for a moment."""
        answer = await self._runtime.command(f"set server {server} state maint")
        if answer.strip().lower().startswith("no such"):
            return
        await self._runtime.command(f"shutdown sessions server {server}")
        for _ in range(100):
            answer = (await self._runtime.command(f"del server {server}")).strip()
            if not answer or answer.startswith("Server deleted") or "No such" in answer:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        raise CommandRefused(f"del server {server}", answer)

    async def _run(self, command: str, expects: str = "") -> None:
        answer = (await self._runtime.command(command)).strip()
        if answer and not (expects and answer.startswith(expects)):
            raise CommandRefused(command, answer)


def _word(line: str, beginning: str) -> str:
    """The word of ``line`` that begins so; ``""`` if none does."""
    return next((word for word in line.split() if word.startswith(beginning)), "")


def _load(row: Mapping[str, str]) -> Load:
    def number(name: str) -> int:
        value = row.get(name) or "0"
        return int(value) if value.isdecimal() else 0

    replica = row["svname"]
    return Load(
        row["pxname"],
        "" if replica == "BACKEND" else replica,
        number("scur"),
        number("qcur"),
        row["status"],
        row.get("check_status", ""),
        number("stot"),
        number("econ") + number("eresp"),
        number("hrsp_5xx"),
        number("ttime"),
    )
