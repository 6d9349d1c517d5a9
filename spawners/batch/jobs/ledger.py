"""The records in memory, and every change to them on its way to the store.

A record changes in one of two ways. :meth:`Ledger.promise` is for what somebody will
rely on (a cancel request, an address): first the database, then memory, and an error
if that fails. :meth:`Ledger.note` is for what the world did (an identity, a reading, an
end): memory first, because it is true whether or not we could write it down; what could
not be written is written at the next chance.

Both take a decision, a function from the newest record to a
:class:`~spawners.batch.jobs.record.Transition`, so that nothing is decided on what is
old. Promises about one record are made one after the other. Notes never wait, so the
world may move while a promise is being written: the decision is then made once more,
on what is true now, and what the database was told too early is written anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar  # the result of a task that is only kept

from spawners.common.backoff import growing
from spawners.common.errors import DatabaseUnavailable

from .errors import AlreadyLive, UnknownJob
from .launches import Alongside
from .record import (
    Decision,
    IllegalTransition,
    JobEvent,
    JobRecord,
    Line,
    Transition,
    Weight,
    utc_now,
)
from .store import Change, JobStore, OwnerTaken, Stored
from .tables import MUTABLE

log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class _Entry:
    record: JobRecord
    last_seq: int = 0
    saved_seq: int = 0
    # What the database does not have yet.
    unsaved_fields: set[str] = field(default_factory=set)
    unsaved_events: list[JobEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    promising: asyncio.Lock = field(default_factory=asyncio.Lock)
    last_event: JobEvent | None = None


class Ledger:
    """All records of this process that matter now: open ones, newest of an owner."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        #: Called with a record's name after each change of it, and once it is dropped.
        self.listeners: list[Callable[[str], None]] = []
        self._entries: dict[str, _Entry] = {}
        self._open: dict[str, _Entry] = {}
        self._newest: dict[str, str] = {}
        self._unsaved: set[str] = set()
        self._saving: set[str] = set()
        self._dirty = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._owners: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._abandoned = False

    # Reading

    async def load(self) -> list[JobRecord]:
        """Read the store; return the records held."""
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

    def open_records(self) -> list[JobRecord]:
        """Return the records about which something is still to be done."""
        return [entry.record for entry in self._open.values()]

    def saved_seq(self, name: str) -> int:
        """Return the number of the last event that readers of the store see."""
        entry = self._entries.get(name)
        return entry.saved_seq if entry else 0

    def last_event(self, name: str) -> JobEvent:
        """Return the last event that this process added."""
        event = self._entry(name).last_event
        if event is None:
            raise UnknownJob(f"Nothing was told of the job {name[:80]!r}.")
        return event

    @property
    def unsaved(self) -> int:
        """How many records the database is behind on."""
        return len(self._unsaved | self._saving)

    # Changing

    async def insert_all(
        self, records: Sequence[JobRecord], *, alongside: Alongside | None = None
    ) -> None:
        """Commit new records of as many owners, with the rows of ``alongside``.

        Raises:
            AlreadyLive: an owner has a live one; nothing was written.
            DatabaseUnavailable: nothing was written.
        """

        async def work() -> None:
            await self.store.insert_all(records, alongside=alongside)
            for record in records:
                previous = self.current(record.owner)
                entry = self._entries[record.name] = _Entry(record)
                self._newest[record.owner] = record.name
                self._index(entry)
                if previous is not None:
                    self._drop_if_closed(previous.name)
                self._signal(entry)

        try:
            await self._shielded(work())
        except OwnerTaken:
            await self.load()
            for record in records:
                live = self.current(record.owner)
                if live is not None and live.live:
                    raise AlreadyLive(live) from None
            raise DatabaseUnavailable(
                f"{records[0].owner} was started from elsewhere at the same time."
            ) from None

    async def promise(self, name: str, decide: Decision) -> JobRecord:
        """Write a change to the database, then to memory; return what is true then.

        If the record moved meanwhile and the change is illegal now, what moved it
        stays: look at the record that is returned.

        Raises:
            IllegalTransition: nothing was changed.
            DatabaseUnavailable: nothing was changed.
            UnknownJob: no such record is held.
        """
        (record,) = await self.promise_all([name], decide)
        return record

    async def promise_all(
        self, names: Collection[str], decide: Decision
    ) -> list[JobRecord]:
        """Do :meth:`promise` for several records, all of them or none.

        Raises:
            IllegalTransition, DatabaseUnavailable, UnknownJob: as there.
        """
        # In one order, so that two of these never wait for each other.
        entries = [self._entry(name) for name in sorted(set(names))]

        async def work() -> list[JobRecord]:
            async with AsyncExitStack() as stack:
                for entry in entries:
                    await stack.enter_async_context(entry.promising)
                made = [
                    (entry, entry.record, decide(entry.record)) for entry in entries
                ]
                await self._keep(made, decide)
            for entry in entries:
                if entry.record.is_disposable:
                    self._mark_unsaved(entry)
            held = {entry.record.name: entry.record for entry in entries}
            return [held[name] for name in names]

        return await self._shielded(work())

    async def _keep(
        self, made: Sequence[tuple[_Entry, JobRecord, Transition]], decide: Decision
    ) -> None:
        """Write transitions down, then have memory follow."""
        changes, taken = [], []
        for entry, before, transition in made:
            fields = _difference(before, transition.record)
            if not fields and not transition.lines:
                continue
            after = replace(transition.record, updated=utc_now())
            events = _number(entry, transition.lines)
            changes.append(Change(after, fields, tuple(events)))
            taken.append((entry, before, changes[-1]))
        if changes:
            await self.store.save(changes)
        for entry, before, change in taken:
            if change.events:
                entry.saved_seq = max(entry.saved_seq, change.events[-1].seq)
            written = {name: getattr(change.record, name) for name in change.fields}
            stored = replace(entry.record, updated=change.record.updated, **written)
            if entry.record is before:
                self._become(entry, stored)
                continue
            try:
                now = decide(entry.record).record
            except IllegalTransition:
                now = entry.record
            self._become(entry, replace(now, updated=change.record.updated))
            if wrong := _difference(stored, now):
                entry.unsaved_fields |= wrong
                self._mark_unsaved(entry)

    def note(self, name: str, decide: Decision) -> JobRecord:
        """Change a record in memory; it is written down soon, if it is worth that.

        Raises:
            IllegalTransition: nothing was changed.
            UnknownJob: no such record is held.
        """
        entry = self._entry(name)
        transition = decide(entry.record)
        if transition.weight is not Weight.LASTING:
            news = transition.weight is Weight.PASSING
            self._become(entry, transition.record, news=news)
            return entry.record
        fields = _difference(entry.record, transition.record)
        if not fields and not transition.lines:
            return entry.record
        record = transition.record
        if fields:
            record = replace(record, updated=utc_now())
        entry.unsaved_fields |= fields
        entry.unsaved_events += _number(entry, transition.lines)
        self._mark_unsaved(entry)
        self._become(entry, record)
        return record

    # Writing down

    async def run(self) -> None:
        """Write down what was noted, for ever; retry while that fails."""
        pauses = growing(1.0, _LONGEST_PAUSE_SECONDS)
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if await self.flush():
                pauses = growing(1.0, _LONGEST_PAUSE_SECONDS)
            else:
                await asyncio.sleep(next(pauses))
                self._dirty.set()

    async def flush(self) -> bool:
        """Write what the database lacks; return False if it did not take it."""
        if not self._unsaved and not self._saving:
            return True
        if self._abandoned:
            return False
        return await self._shielded(self._flush())

    async def _flush(self) -> bool:
        async with self._flushing:
            names, self._unsaved = self._unsaved, set()
            self._saving = names
            taken = []
            for name in names:
                entry = self._entries[name]
                taken.append((entry, entry.unsaved_fields, entry.unsaved_events))
                entry.unsaved_fields, entry.unsaved_events = set(), []
            try:
                await self.store.save(
                    [
                        Change(entry.record, frozenset(fields), tuple(events))
                        for entry, fields, events in taken
                    ]
                )
            except DatabaseUnavailable as error:
                log.warning("Cannot write to the job store, will retry: %s", error)
                for entry, fields, events in taken:
                    entry.unsaved_fields |= fields
                    entry.unsaved_events[:0] = events
                    self._mark_unsaved(entry)
                return False
            finally:
                self._saving = set()
            for entry, _, events in taken:
                if events:
                    entry.saved_seq = max(entry.saved_seq, events[-1].seq)
                    self._signal(entry)
                self._drop_if_closed(entry.record.name)
            return await self._dispose(entry for entry, _, _ in taken)

    async def _dispose(self, entries: Iterable[_Entry]) -> bool:
        """Delete records of which nothing is kept, first from the database.

        As long as that has them their owner's generations go on, so memory knows
        them until then.
        """
        over = [entry for entry in entries if self._is_disposable(entry)]
        if not over:
            return True
        try:
            await self.store.delete([entry.record.name for entry in over])
        except DatabaseUnavailable as error:
            log.warning("Cannot delete from the job store, will retry: %s", error)
            for entry in over:
                self._mark_unsaved(entry)
            return False
        for entry in over:
            if self._is_disposable(entry):
                self._drop(entry)
        return True

    def _is_disposable(self, entry: _Entry) -> bool:
        busy = entry.promising.locked() or entry.record.name in self._unsaved
        return entry.record.is_disposable and not busy

    def _drop(self, entry: _Entry) -> None:
        name, owner = entry.record.name, entry.record.owner
        del self._entries[name]
        if self._newest.get(owner) == name:
            del self._newest[owner]
            if (waiting := self._owners.pop(owner, None)) is not None:
                waiting.set()
        self._tell(name)

    def abandon(self) -> None:
        """Cut the store off: writes under way are cancelled, later ones fail."""
        self._abandoned = True
        for task in self._tasks:
            task.cancel()

    async def settle(self) -> None:
        """Wait for writes that are under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # Waiting

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

    # Within

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
            record = record.doubted().record
        entry = _Entry(record, stored.last_seq, stored.last_seq)
        self._entries[record.name] = entry
        self._index(entry)
        if record.is_disposable:
            self._mark_unsaved(entry)
        newest = self.current(record.owner)
        if newest is None or newest.generation < record.generation:
            self._newest[record.owner] = record.name
        self._tell(record.name)

    def _become(self, entry: _Entry, record: JobRecord, *, news: bool = True) -> None:
        entry.record = record
        if news:
            self._index(entry)
            self._signal(entry)

    def _index(self, entry: _Entry) -> None:
        if entry.record.is_open:
            self._open[entry.record.name] = entry
        else:
            self._open.pop(entry.record.name, None)

    def _mark_unsaved(self, entry: _Entry) -> None:
        self._unsaved.add(entry.record.name)
        self._dirty.set()

    def _drop_if_closed(self, name: str) -> None:
        """Forget a record that is not its owner's newest and needs nothing."""
        entry = self._entries.get(name)
        if entry is None:
            return
        record = entry.record
        newest = self._newest.get(record.owner) == name
        unsaved = name in self._unsaved or name in self._saving
        busy = entry.promising.locked() or unsaved
        kept = newest or record.is_open or record.is_disposable
        if not kept and not busy:
            self._drop(entry)

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


def _difference(old: JobRecord, new: JobRecord) -> frozenset[str]:
    """Return the names of the fields that changed, but for the time of the change."""
    return frozenset(n for n in MUTABLE if getattr(old, n) != getattr(new, n))


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
                MappingProxyType(dict(line.data)),
                line.key,
            )
        )
    if events:
        entry.last_event = events[-1]
    return events
