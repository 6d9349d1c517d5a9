"""Which browsers may load which user's pages: a map in HAProxy, kept like the routes.

A key is the hash of a session's id, a slash and the user whose servers are meant, in
the routes' spelling; the value says why: ``own`` or ``visit``. The map in memory
counts; the file is what an HAProxy that starts anew begins with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import quote

from spawners.common.files import write_whole

from .errors import RuntimeFault
from .maps import map_text
from .runtime import RuntimeSocket

OWN = "own"
VISIT = "visit"


def admission_key(session_hash: str, owner: str) -> str:
    """Return the key of a session (SHA-256 in hexadecimal) for a user's servers."""
    return f"{session_hash.upper()}/{quote(owner, safe='')}"


class Admissions:
    """What the map has to hold, and how far HAProxy knows it.

    Args:
        log: where trouble is told.
    """

    def __init__(
        self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._file: Path | None = None
        self._changing: AbstractAsyncContextManager[object] = asyncio.Lock()
        self._log = log
        self._runtime: RuntimeSocket | None = None
        self._entries: dict[str, str] = {}
        self._unwritten = True
        self._untold: set[str] = set()

    def attach(self, file: Path, changing: AbstractAsyncContextManager[object]) -> None:
        """Say where the map is.

        Args:
            file: what HAProxy loads when it starts.
            changing: held from a start's files to its map, as for routes.
        """
        self._file, self._changing = file, changing

    def replace(self, entries: Mapping[str, str]) -> None:
        """Say anew what the map has to hold; :meth:`tell` brings it to HAProxy."""
        changed = {
            key
            for key in self._entries.keys() | entries.keys()
            if self._entries.get(key) != entries.get(key)
        }
        self._entries = dict(entries)
        self._note(changed)

    def change(self, gone: Mapping[str, str], come: Mapping[str, str]) -> None:
        """Say what has changed: entries that were, and those that are now."""
        known = self._entries
        over = {key for key in gone if key in known and key not in come}
        changed = {key for key, value in come.items() if known.get(key) != value}
        for key in over:
            del known[key]
        known.update(come)
        self._note(over | changed)

    def _note(self, keys: set[str]) -> None:
        self._untold |= keys
        self._unwritten = self._unwritten or bool(keys)

    async def tell(self) -> bool:
        """Bring what has changed to HAProxy; False if it cannot be spoken to just now.

        It is then told with the next change, at the next look, or when it starts.
        """
        if self._runtime is None or self._file is None:
            return False
        async with self._changing:
            for key in list(self._untold):
                value = self._entries.get(key)
                try:
                    if value is None:
                        await self._runtime.delete_entry(self._file.name, key)
                    else:
                        await self._runtime.add_entry(self._file.name, key, value)
                except RuntimeFault as error:
                    self._log.debug("HAProxy hears of sessions later: %s", error)
                    return False
                self._untold.discard(key)
        return True

    async def reconcile(self, runtime: RuntimeSocket) -> None:
        """Make the map of a HAProxy that was started or adopted what it has to be."""
        if self._file is None:
            return
        self._runtime = runtime
        entries = dict(self._entries)
        untold = set(self._untold)
        if await runtime.read_map(self._file.name) != entries:
            await runtime.replace_map(self._file.name, entries)
        self._untold -= untold

    async def flush(self) -> None:
        """Write the file now."""
        if self._file is None:
            return
        self._unwritten = False
        text = map_text(self._entries)
        try:
            await asyncio.to_thread(write_whole, self._file, text)
        except BaseException:
            self._unwritten = True
            raise

    async def look(self) -> None:
        """Do what could not be done before: the file, and what HAProxy has to hear."""
        if self._unwritten:
            await self.flush()
        if self._untold:
            await self.tell()
