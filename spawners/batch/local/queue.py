"""The queue of the local scheduler, kept in a directory. Synchronous.

Any number of :class:`LocalQueue` on the same directory, in any number of processes,
see and run the same queue; a lock file keeps them from starting a job twice. All
that is known of a job is in its files (see :mod:`~spawners.batch.local.files`), so
a restart of the hub loses nothing and a new one adopts everything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path

from spawners.common.files import write_whole
from spawners.common.ownership import own_directory
from spawners.common.processes import boot_id

from ..models import JobState, JobStatus
from .files import End, Run, Ticket, kill_rest, read_record, write_record

log = logging.getLogger(__name__)

# A launch takes some 0.1 s; this is for a machine on its knees.
_LAUNCH_SECONDS = 30
# For so long an end is kept whatever there is besides: it is evidence, and has to be
# read by whoever waits for it.
_UNREAD_SECONDS = 600.0
# So many more than are kept are let lie, for each look sorts them all.
_SLACK = 100


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what has ended is remembered: so many jobs, for so many seconds.

    Everything that is remembered is listed at each look, and read by each process that
    begins.
    """

    seconds: float
    jobs: int


@dataclass(frozen=True, slots=True)
class Slots:
    """What the machine has, or has left: CPU slots, bytes, indexes of GPUs."""

    cpus: int
    memory: int
    gpus: tuple[int, ...]

    def fits(self, ticket: Ticket) -> bool:
        """Tell whether a job can have what it asks for."""
        return (
            ticket.cpus <= self.cpus
            and (ticket.memory or 0) <= self.memory
            and ticket.gpus <= len(self.gpus)
        )

    def without(self, ticket: Ticket, gpus: Sequence[int]) -> Slots:
        """Return what is left beside a job that has these ``gpus``."""
        return Slots(
            self.cpus - ticket.cpus,
            self.memory - (ticket.memory or 0),
            tuple(gpu for gpu in self.gpus if gpu not in gpus),
        )

    def reserved(self, ticket: Ticket) -> Slots:
        """Return what is left when a waiting job's part is kept for it."""
        return self.without(ticket, self.gpus[: ticket.gpus])


class Step(Enum):
    """What :meth:`LocalQueue.start_next` did."""

    STARTED = auto()
    FULL = auto()
    EMPTY = auto()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A job as its files tell it."""

    directory: Path
    ticket: Ticket
    run: Run | None = None
    end: End | None = None


class LocalQueue:
    """Jobs of one directory, run on this machine within ``total`` slots."""

    def __init__(self, directory: Path, total: Slots, keeping: Keeping) -> None:
        self._directory = directory
        self._keeping = keeping
        self._jobs = directory / "jobs"
        own_directory(directory)
        own_directory(self._jobs)
        self.total = total
        self._boot = boot_id()
        self._ended: dict[str, _Entry] = {}

    def add(
        self, tickets: Sequence[Ticket], script: str, environment: Mapping[str, str]
    ) -> tuple[Ticket, ...]:
        """Put jobs at the end of the queue, on disk before this returns."""
        added = []
        with self._locked():
            entries = self._entries()
            self._forget(entries)
            last = max((entry.ticket.order for entry in entries), default=0)
            order = max(time.time_ns(), last + 1)
            try:
                for number, ticket in enumerate(tickets):
                    numbered = replace(ticket, order=order + number)
                    self._write(numbered, script, environment)
                    added.append(numbered)
            except OSError:
                for ticket in added:  # all or none; the lock keeps them from starting
                    shutil.rmtree(self._jobs / ticket.id)
                raise
        return tuple(added)

    def _write(
        self, ticket: Ticket, script: str, environment: Mapping[str, str]
    ) -> None:
        new = self._directory / f".new-{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        try:
            write_whole(new / "script", script)
            write_whole(new / "environment.json", json.dumps(dict(environment)))
            write_record(new / "ticket.json", ticket)
            new.rename(self._jobs / ticket.id)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def statuses(
        self, jobs: Collection[str] | None = None
    ) -> dict[str, tuple[Ticket, JobStatus]]:
        """Return jobs by their ids, with their states now.

        Args:
            jobs: which, besides those that have not ended; ``None`` for all.
        """
        now = datetime.now(UTC)
        entries = [
            entry
            for entry in self._settled()
            if entry.end is None or jobs is None or entry.ticket.id in jobs
        ]
        places = {
            entry.ticket.id: place
            for place, entry in enumerate(_waiting(entries), start=1)
        }
        starts = self.expected_starts(entries)
        return {
            entry.ticket.id: (
                entry.ticket,
                _status(
                    entry,
                    places.get(entry.ticket.id),
                    starts.get(entry.ticket.id),
                    now,
                ),
            )
            for entry in entries
        }

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs, or take them out of the queue; done or unknown ones are left.

        Args:
            jobs: id to name.
        """
        with self._locked():
            for job, name in jobs.items():
                entry = self._entry(self._jobs / job)
                if entry is None or entry.end is not None or entry.ticket.name != name:
                    continue
                if entry.run is None:
                    self._finish(entry, JobState.CANCELLED, "")
                    continue
                (entry.directory / "cancel").touch(mode=0o600)
                entry.run.supervised_by.send(signal.SIGTERM)

    def start_next(self) -> Step:
        """Start at most one waiting job, the first for which there is room.

        A job that waits keeps its part of what is free, so that none that came
        later takes it away.
        """
        with self._locked() as lock:
            entries = self._settled()
            waiting = _waiting(entries)
            if not waiting:
                return Step.EMPTY
            free = self._free(entries)
            for entry in waiting:
                if free.fits(entry.ticket):
                    self._launch(entry, free.gpus[: entry.ticket.gpus], lock)
                    return Step.STARTED
                free = free.reserved(entry.ticket)
        return Step.FULL

    def free(self) -> Slots:
        """Return what no running job has."""
        return self._free(self._settled())

    def _free(self, entries: Sequence[_Entry]) -> Slots:
        free = self.total
        for entry in entries:
            if entry.run is not None and entry.end is None:
                free = free.without(entry.ticket, entry.run.gpus)
        return free

    def expected_starts(
        self, entries: Sequence[_Entry] | None = None, extra: Ticket | None = None
    ) -> dict[str, datetime]:
        """Guess when waiting jobs start, if all that run use their whole time.

        A job behind one without a time limit may be missing.

        Args:
            entries: the jobs, if they were just read.
            extra: one more job, as if it were last in line.
        """
        entries = self._settled() if entries is None else entries
        now = time.time()
        free, ends = self.total, []
        for entry in entries:
            if entry.run is not None and entry.end is None:
                free = free.without(entry.ticket, entry.run.gpus)
                if entry.run.ends is not None:
                    ends.append((entry.run.ends, entry.ticket, entry.run.gpus))
        starts = {}
        tickets = [entry.ticket for entry in _waiting(entries)]
        for ticket in [*tickets, *([extra] if extra else [])]:
            moment = now
            while not free.fits(ticket) and ends:
                first = min(ends, key=lambda end: end[0])
                ends.remove(first)
                moment = max(moment, first[0])
                free = Slots(
                    free.cpus + first[1].cpus,
                    free.memory + (first[1].memory or 0),
                    (*free.gpus, *first[2]),
                )
            if not free.fits(ticket):
                break
            now = max(now, moment)
            starts[ticket.id] = datetime.fromtimestamp(now, UTC)
            gpus = free.gpus[: ticket.gpus]
            free = free.without(ticket, gpus)
            if ticket.time_limit is not None:
                ends.append((now + ticket.time_limit, ticket, gpus))
        return starts

    def _forget(self, entries: Sequence[_Entry]) -> None:
        """Remove the files of jobs that ended long ago, or before many others."""
        now, keeping = time.time(), self._keeping
        ended = sorted(
            (entry.end.ended, entry.ticket.id) for entry in entries if entry.end
        )
        spare = len(ended) - keeping.jobs
        for place, (then, job) in enumerate(ended):
            crowded = spare > _SLACK and place < spare
            least = min(_UNREAD_SECONDS, keeping.seconds)
            if now - then > (least if crowded else keeping.seconds):
                self._ended.pop(job, None)
                shutil.rmtree(self._jobs / job, ignore_errors=True)

    # Files

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(
            self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _entries(self) -> list[_Entry]:
        found = [self._entry(directory) for directory in self._jobs.iterdir()]
        return sorted(
            (entry for entry in found if entry is not None),
            key=lambda entry: (entry.ticket.order, entry.ticket.id),
        )

    def _entry(self, directory: Path) -> _Entry | None:
        if (known := self._ended.get(directory.name)) is not None:
            return known
        try:
            ticket = read_record(directory / "ticket.json", Ticket)
            # The end last: it is final, and is written after the others.
            run = read_record(directory / "run.json", Run)
            end = read_record(directory / "end.json", End)
        except (ValueError, KeyError, TypeError) as error:
            # Of no use to us, and no reason to know nothing of the others.
            log.warning("The files of job %s are damaged: %s", directory.name, error)
            return None
        if ticket is None:
            return None  # just forgotten
        entry = _Entry(directory, ticket, run, end)
        if end is not None:
            self._ended[ticket.id] = entry
        return entry

    def _settled(self) -> list[_Entry]:
        """Return all jobs; those whose supervisor is gone are ended first."""
        return [self._settle(entry) for entry in self._entries()]

    def _settle(self, entry: _Entry) -> _Entry:
        run = entry.run
        if run is None or entry.end is not None:
            return entry
        if run.boot != self._boot:
            return self._finish(entry, JobState.NODE_FAIL, "Reboot")
        if run.supervised_by.alive:
            return entry
        # It may have written the end and gone after we looked.
        again = self._entry(entry.directory)
        if again is None or again.end is not None:
            return again or entry
        kill_rest(entry.ticket, run)
        return self._finish(entry, JobState.FAILED, "SupervisorLost", killed=True)

    def _finish(
        self, entry: _Entry, state: JobState, reason: str, *, killed: bool = False
    ) -> _Entry:
        number = int(signal.SIGKILL) if killed else None
        end = End(state.value, reason, None, number, time.time())
        write_record(entry.directory / "end.json", end)
        for name in ("script", "environment.json"):
            (entry.directory / name).unlink(missing_ok=True)
        return replace(entry, end=end)

    def _launch(self, entry: _Entry, gpus: Sequence[int], lock: int) -> None:
        errors = os.open(
            entry.directory / "supervisor.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        try:
            result = subprocess.run(
                [
                    sys.executable,
                    "-I",
                    "-m",
                    "spawners.batch.local.supervisor",
                    str(entry.directory),
                    str(lock),
                    ",".join(map(str, gpus)),
                ],
                pass_fds=(lock,),
                cwd="/",
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                timeout=_LAUNCH_SECONDS,
                check=False,
            )
        finally:
            os.close(errors)
        again = self._entry(entry.directory)
        if again is not None and again.run is None and again.end is None:
            log.error(
                "Job %s was not started (exit code %s): see %s",
                entry.ticket.id,
                result.returncode,
                entry.directory / "supervisor.log",
            )
            self._finish(entry, JobState.LAUNCH_FAILED, "the supervisor failed")
        else:
            log.debug("Job %s of %s started", entry.ticket.id, entry.ticket.user)


def _waiting(entries: Sequence[_Entry]) -> list[_Entry]:
    return [entry for entry in entries if entry.run is None and entry.end is None]


def _status(
    entry: _Entry, place: int | None, expected: datetime | None, now: datetime
) -> JobStatus:
    run, end = entry.run, entry.end
    if run is None and end is None:
        return JobStatus(
            JobState.PENDING,
            reason="Resources" if place == 1 else "Priority",
            queue_place=place,
            estimated_start=expected,
            read_at=now,
        )
    status = JobStatus(JobState.RUNNING, read_at=now)
    if run is not None:
        status = replace(
            status,
            nodes=(run.node,),
            started=datetime.fromtimestamp(run.started, UTC),
            ends=None if run.ends is None else datetime.fromtimestamp(run.ends, UTC),
        )
    if end is not None:
        status = replace(
            status,
            state=JobState(end.state),
            reason=end.reason,
            exit_code=end.exit_code,
            signal=end.signal,
            ended=datetime.fromtimestamp(end.ended, UTC),
        )
    return status
