"""The records in memory, and every change to them on its way to the store.

Two ways to change a record. :meth:`Ledger.commit` is for promises (an intent, a
cancel wish): first the database, then memory, and an error if that fails.
:meth:`Ledger.observe` is for what the world did (an identity, a reading, an end):
memory first, because it is true whether or not we could write it down; what could
not be written is written at the next chance. :meth:`Ledger.see` does the same and
leaves the writing to later, :meth:`Ledger.glance` is for what is never written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar  # Any: a changed field is checked by the dataclass

from spawners.common.errors import DatabaseUnavailable

from ..models import JobStatus
from .errors import AlreadyLive, UnknownJob
from .launches import Alongside
from .record import JobEvent, JobRecord, utc_now
from .store import Change, JobStore, OwnerTaken, Stored

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """An event to be: what happened, in plain words."""

    kind: str
    message: str
    data: dict[str, str | int | float | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    record: JobRecord
    last_seq: int = 0
    saved_seq: int = 0
    # What the database does not have yet.
    unsaved_fields: set[str] = field(default_factory=set)
    unsaved_events: list[JobEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    last_event: JobEvent | None = None


class Ledger:
    """All records of this process that matter now: open ones, newest of an owner."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        #: Called with a record's name after each change of it, and once it is dropped.
        self.listeners: list[Callable[[str], None]] = []
        self._entries: dict[str, _Entry] = {}
        self._newest: dict[str, str] = {}
        self._unsaved: set[str] = set()
        self._owners: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._abandoned = False

    async def load(self) -> list[JobRecord]:
        """Read the store; return the open records."""
        for stored in await self.store.load():
            self._remember(stored)
        return self.records()

    def get(self, name: str) -> JobRecord | None:
        """Return a record that is open or its owner's newest."""
        entry = self._entries.get(name)
        return entry.record if entry else None

    async def recall(self, name: str) -> JobRecord:
        """Return any record, reading the store for an old one.

        Raises:
            UnknownJob: there is none.
        """
        if name not in self._entries:
            stored = await self.store.get(name)
            if stored is None:
                raise UnknownJob(f"There is no job named {name[:80]!r}.")
            self._remember(stored)
        return self._entries[name].record

    def current(self, owner: str) -> JobRecord | None:
        """Return the owner's newest record."""
        name = self._newest.get(owner)
        return self.get(name) if name else None

    def records(self) -> list[JobRecord]:
        """Return every record held, in the order of their making."""
        return [entry.record for entry in self._entries.values()]

    def saved_seq(self, name: str) -> int:
        """Return the number of the last event that readers of the store see."""
        entry = self._entries.get(name)
        return entry.saved_seq if entry else 0

    @property
    def unsaved(self) -> int:
        """How many records the database is behind on."""
        return len(self._unsaved)

    async def insert(
        self, record: JobRecord, *lines: Line, alongside: Alongside | None = None
    ) -> JobRecord:
        """Commit a new record, with the rows that ``alongside`` writes.

        Raises:
            AlreadyLive: its owner has a live one.
            DatabaseUnavailable: nothing was written.
        """
        entry = _Entry(record)
        events = _number(entry, lines)

        async def work() -> JobRecord:
            await self.store.insert(record, events, alongside=alongside)
            entry.saved_seq = entry.last_seq
            previous = self.current(record.owner)
            self._entries[record.name] = entry
            self._newest[record.owner] = record.name
            if previous is not None:
                self._forget_if_closed(previous.name)
            self._signal(entry)
            return record

        try:
            return await self._shielded(work())
        except OwnerTaken:
            await self.load()
            live = self.current(record.owner)
            if live is not None and live.live:
                raise AlreadyLive(live) from None
            raise DatabaseUnavailable(
                f"{record.owner} was started from elsewhere at the same time."
            ) from None

    async def commit(self, name: str, *lines: Line, **fields: Any) -> JobRecord:
        """Write a change to the database, then to memory.

        Raises:
            DatabaseUnavailable: nothing was changed.
        """
        entry = self._entry(name)
        events = _number(entry, lines)
        change = Change(
            replace(entry.record, **fields, updated=utc_now()),
            frozenset(fields),
            tuple(events),
        )

        async def work() -> JobRecord:
            await self.store.save([change])
            # Only these fields: others may have changed while we waited.
            entry.record = replace(
                entry.record, **fields, updated=change.record.updated
            )
            if events:
                entry.saved_seq = max(entry.saved_seq, events[-1].seq)
            self._signal(entry)
            return entry.record

        return await self._shielded(work())

    def see(self, name: str, *lines: Line, **fields: Any) -> JobRecord:
        """Change a record in memory; :meth:`flush` writes it down later."""
        entry = self._entry(name)
        if fields:
            entry.record = replace(entry.record, **fields, updated=utc_now())
            entry.unsaved_fields |= fields.keys()
        entry.unsaved_events += _number(entry, lines)
        self._unsaved.add(name)
        self._signal(entry)
        return entry.record

    def glance(self, name: str, status: JobStatus, *, news: bool) -> None:
        """Change a status in memory only; without ``news`` nobody is woken."""
        entry = self._entry(name)
        entry.record = replace(entry.record, status=status)
        if news:
            self._signal(entry)

    async def observe(self, name: str, *lines: Line, **fields: Any) -> JobRecord:
        """Change a record in memory and try to write it down at once."""
        record = self.see(name, *lines, **fields)
        await self.flush()
        return record

    async def flush(self) -> bool:
        """Write what the database lacks; return False if it did not take it."""
        names = list(self._unsaved)
        if not names:
            return True
        return await self._shielded(self._flush(names))

    async def _flush(self, names: Iterable[str]) -> bool:
        changes: list[Change] = []
        taken: list[tuple[_Entry, set[str], list[JobEvent]]] = []
        for name in names:
            entry = self._entries[name]
            fields, events = entry.unsaved_fields, entry.unsaved_events
            entry.unsaved_fields, entry.unsaved_events = set(), []
            self._unsaved.discard(name)
            taken.append((entry, fields, events))
            changes.append(Change(entry.record, frozenset(fields), tuple(events)))
        try:
            await self.store.save(changes)
        except DatabaseUnavailable as error:
            log.warning("Cannot write to the job store, will retry: %s", error)
            for entry, fields, events in taken:
                entry.unsaved_fields |= fields
                entry.unsaved_events[:0] = events
                self._unsaved.add(entry.record.name)
            return False
        for entry, _, events in taken:
            if events:
                entry.saved_seq = max(entry.saved_seq, events[-1].seq)
                self._signal(entry)
            if not self._is_newest(entry.record):
                self._forget_if_closed(entry.record.name)
        return True

    def last_event(self, name: str) -> JobEvent:
        """Return the last event that this process added."""
        event = self._entry(name).last_event
        if event is None:
            raise UnknownJob(f"Nothing was told of the job {name[:80]!r}.")
        return event

    async def wait(self, name: str, until: Callable[[JobRecord], object]) -> JobRecord:
        """Return the record as soon as ``until`` holds for it."""
        await self.recall(name)
        entry = self._entry(name)
        while not until(entry.record):
            await entry.changed.wait()
        return entry.record

    async def wait_event(self, owner: str, after: int) -> None:
        """Return when the owner's newest record has an event past ``after``.

        Also when a newer record takes its place.
        """
        began = self._newest.get(owner)
        while True:
            name = self._newest.get(owner)
            if name != began or (name and self.saved_seq(name) > after):
                return
            await self._owners.setdefault(owner, asyncio.Event()).wait()

    def abandon(self) -> None:
        """Cut the store off: writes under way are cancelled, later ones fail."""
        self._abandoned = True
        for task in self._tasks:
            task.cancel()

    async def settle(self) -> None:
        """Wait for writes that are under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownJob(f"There is no job named {name[:80]!r}.") from None

    def _remember(self, stored: Stored) -> None:
        record = stored.record
        if record.name in self._entries:
            return
        if record.needs_polling:
            # True when it was written; nobody has asked since.
            record = replace(record, status_is_current=False)
        self._entries[record.name] = _Entry(record, stored.last_seq, stored.last_seq)
        newest = self.current(record.owner)
        if newest is None or newest.generation < record.generation:
            self._newest[record.owner] = record.name

    def _is_newest(self, record: JobRecord) -> bool:
        return self._newest.get(record.owner) == record.name

    def _forget_if_closed(self, name: str) -> None:
        record = self._entries[name].record
        open_still = (
            record.live or record.needs_polling or record.search_until is not None
        )
        if not open_still and name not in self._unsaved:
            del self._entries[name]
            self._tell(name)

    def _signal(self, entry: _Entry) -> None:
        entry.changed, changed = asyncio.Event(), entry.changed
        changed.set()
        if owner := self._owners.pop(entry.record.owner, None):
            owner.set()
        self._tell(entry.record.name)

    def _tell(self, name: str) -> None:
        for changed in self.listeners:
            changed(name)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish ``work`` even if the caller is cancelled: memory follows the disk."""
        if self._abandoned:
            work.close()
            raise DatabaseUnavailable("The records were abandoned.")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


def _number(entry: _Entry, lines: Iterable[Line]) -> list[JobEvent]:
    events = []
    for line in lines:
        entry.last_seq += 1
        events.append(
            JobEvent(
                entry.record.name,
                entry.last_seq,
                utc_now(),
                line.kind,
                line.message,
                MappingProxyType(line.data),
            )
        )
    if events:
        entry.last_event = events[-1]
    return events
