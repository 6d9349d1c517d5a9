"""What changed since when: revisions of all records, for those who mirror them.

A revision is a number that grows with each change, within one *epoch*: the life of this
process. Of each record only the newest change is kept, so a reader that was away for
long gets each record once, a slow reader costs no memory at all, and what is kept is
bounded by the records themselves and by :data:`_MOST_DROPPED` that are held no more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.wire import Entry

_MOST_DROPPED = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """The newest change of one record.

    Attributes:
        revision: of the change.
        name, owner: the record's.
        entry: the record as it is now; ``None`` if it is held no more.
    """

    revision: int
    name: str
    owner: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class _Mark:
    revision: int
    owner: str
    dropped: bool = False


class Feed:
    """Counts the changes of ``jobs``; made before those are started.

    Attributes:
        epoch: names this process' count.
        revision: of the last change.
        closed: True once the service stops: readers end.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.epoch = secrets.token_hex(8)
        self.revision = 0
        self.closed = False
        self._jobs = jobs
        # In the order of the revisions: who changes goes to the end.
        self._marks: dict[str, _Mark] = {}
        # Of every record that anybody may have been told of, and that is held.
        self._owners: dict[str, str] = {}
        self._dropped: deque[tuple[str, int]] = deque()
        self._oldest = 0
        self._news = asyncio.Event()
        jobs.listen(self._changed)

    def close(self) -> None:
        """Let all readers end."""
        self.closed = True
        self._wake()

    def knows(self, epoch: str, revision: int) -> bool:
        """Whether all that came after that revision can still be told."""
        return epoch == self.epoch and self._oldest <= revision <= self.revision

    def entry(self, record: JobRecord) -> Entry:
        """Return a record as it is listed."""
        if self._jobs.get(record.name) is not None:  # else nobody is told of its end
            self._owners[record.name] = record.owner
        mark = self._marks.get(record.name)
        number = mark.revision if mark else 0
        return Entry(record, self._jobs.last_event(record.name), number)

    def after(self, revision: int) -> list[Change]:
        """Return what changed after ``revision``, the oldest change first."""
        changes = list(self._backwards(revision))
        changes.reverse()
        return changes

    async def wait(self, revision: int) -> None:
        """Return when something changed after ``revision``, or readers are to end."""
        while self.revision <= revision and not self.closed:
            await self._news.wait()

    def _backwards(self, revision: int) -> Iterator[Change]:
        for name, mark in reversed(self._marks.items()):
            if mark.revision <= revision:
                return
            record = None if mark.dropped else self._jobs.get(name)
            entry = None if record is None else self.entry(record)
            yield Change(mark.revision, name, mark.owner, entry)

    def _changed(self, name: str) -> None:
        record = self._jobs.get(name)
        owner = record.owner if record is not None else self._owners.pop(name, None)
        if owner is None:
            return  # it came and went, and nobody was told of it
        self.revision += 1
        self._marks.pop(name, None)
        self._marks[name] = _Mark(self.revision, owner, dropped=record is None)
        if record is None:
            self._dropped.append((name, self.revision))
            self._trim()
        else:
            self._owners[name] = owner
        self._wake()

    def _trim(self) -> None:
        """Forget the oldest of those that are held no more."""
        while len(self._dropped) > _MOST_DROPPED:
            name, revision = self._dropped.popleft()
            mark = self._marks.get(name)
            if mark is not None and mark.revision == revision:
                del self._marks[name]
            self._oldest = revision

    def _wake(self) -> None:
        self._news, news = asyncio.Event(), self._news
        news.set()
