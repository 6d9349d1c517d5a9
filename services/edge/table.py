"""The routes that JupyterHub asked for, and the files that remember them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from spawners.common.files import write_whole

from .maps import Route, journal_line, journal_text, load_routes, map_text

JOURNAL = "routes.json"
_BETWEEN_WRITES_SECONDS = 0.25
_AFTER_FAILURE_SECONDS = 2.0


class RouteTable:
    """Routes in memory, written behind to a map and to ``routes.json``.

    Changes that come while a write is under way are written together by the next
    one. The journal before the last is kept, and is read when the last is torn.

    Args:
        directory: where the files are.
        map_file: the map that HAProxy loads when it starts.
    """

    def __init__(
        self,
        directory: Path,
        map_file: Path,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._directory = directory
        self._map_file = map_file
        self._log = log
        self._routes: dict[str, Route] = {}
        self._lines: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._written: dict[Path, tuple[int, int, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.loaded = False

    @property
    def routes(self) -> list[Route]:
        """All routes, each routespec once."""
        return list(self._routes.values())

    @property
    def entries(self) -> dict[str, str]:
        """What HAProxy's map has to hold."""
        return {key: route.value for key, route in self._routes.items()}

    def get(self, key: str) -> Route | None:
        """The route with this key, if there is one."""
        return self._routes.get(key)

    def put(self, key: str, route: Route) -> None:
        """Remember ``route``; the files follow."""
        self._routes[key] = route
        self._lines[key] = journal_line(route)
        self._dirty.set()

    def remove(self, key: str) -> None:
        """Forget a route; the files follow."""
        self._routes.pop(key, None)
        self._lines.pop(key, None)
        self._dirty.set()

    async def open(self) -> None:
        """Read what an earlier hub has left and begin to write behind.

        ``loaded`` says afterwards whether there was a journal that could be read.
        """
        routes = await asyncio.to_thread(self._load)
        self.loaded = routes is not None
        for route in routes or []:
            self._routes[route.key] = route
            self._lines[route.key] = journal_line(route)
        self._task = asyncio.create_task(self._write_behind())

    async def close(self) -> None:
        """Write what is not written yet, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self.flush()

    async def flush(self) -> None:
        """Make the files whole now, whatever has happened to them."""
        async with self._writing:
            self._dirty.clear()
            lines, entries = list(self._lines.values()), self.entries
            await asyncio.to_thread(self._write, lines, entries)

    async def guard(self) -> None:
        """Write the files again if somebody else has touched them."""
        if self._dirty.is_set() or self._writing.locked():
            return
        touched = await asyncio.to_thread(self._touched)
        if touched:
            self._log.warning("%s was changed by others: writing it again", touched)
            await self.flush()

    async def _write_behind(self) -> None:
        while True:
            await self._dirty.wait()
            try:
                await self.flush()
            except OSError as error:
                self._dirty.set()
                self._log.error("Cannot write routes: %s", error)
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            await asyncio.sleep(_BETWEEN_WRITES_SECONDS)

    def _load(self) -> list[Route] | None:
        journal = self._directory / JOURNAL
        for path in (journal, journal.with_suffix(".old")):
            routes = load_routes(path)
            if routes is not None:
                if path == journal:
                    self._written[path] = _fingerprint(path)
                return routes
            if path.exists():
                self._log.warning("%s cannot be read", path)
        return None

    def _write(self, lines: list[str], entries: dict[str, str]) -> None:
        path = self._directory / JOURNAL
        if self._written.get(path) == _fingerprint(path):  # good, so worth keeping
            path.replace(path.with_suffix(".old"))
        contents = {
            path: journal_text(lines),
            self._map_file: map_text(entries).encode(),
        }
        for target, content in contents.items():
            write_whole(target, content)
            self._written[target] = _fingerprint(target)

    def _touched(self) -> Path | None:
        for path, fingerprint in self._written.items():
            if _fingerprint(path) != fingerprint:
                return path
        return None


def _fingerprint(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written, replaced or removed."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
