"""Files and processes of the local scheduler. Standard library only.

Shared by :mod:`~spawners.batch.local.queue` and the supervisor of each job. A
job's directory holds::

    ticket.json       what was asked for (:class:`Ticket`)
    script, environment.json    0600, gone once the job has started
    run.json          who runs it (:class:`Run`), written by its supervisor
    cancel            there if its end was asked for
    end.json          how it ended (:class:`End`): final

No file of these changes after it is there, and each appears at once or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from spawners.common.files import write_whole
from spawners.common.processes import Process, ProcessId, processes

# (and as it was named earlier: such jobs may still run)
_SUPERVISORS = (b"spawners.batch.local.supervisor", b"spawners.batch.local_supervisor")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a job runs as, if not as ourselves."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What was asked for. Times in seconds, memory in bytes.

    Attributes:
        order: nanoseconds since the epoch; the queue is in this order.
        output: with its ``%j`` filled in.
    """

    id: str
    name: str
    user: str
    uid: int
    order: int
    cpus: int
    memory: int | None
    gpus: int
    workdir: str
    output: str | None
    time_limit: float | None
    warn_before: float | None
    kill_wait: float
    account: Account | None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Ticket:
        """Return a ticket from its file."""
        account = data.pop("account")
        if account is not None:
            account = Account(account["uid"], account["gid"], tuple(account["groups"]))
        return cls(**data, account=account)


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs a job: processes by number and start, valid within one boot.

    Attributes:
        boot: the kernel's id of that boot.
        supervisor, supervisor_start, leader, leader_start: numbers and starts (clock
            ticks since boot) of the supervisor and of the job's first process.
        started, ends: seconds since the epoch; ``ends`` is when its time is up.
        gpus: indexes of the GPUs that are its own.
        node: host name.
    """

    boot: str
    supervisor: int
    supervisor_start: int
    leader: int
    leader_start: int
    started: float
    ends: float | None
    gpus: tuple[int, ...]
    node: str

    @property
    def supervised_by(self) -> ProcessId:
        """Its supervisor, as long as this boot lasts."""
        return ProcessId(self.supervisor, self.supervisor_start)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        """Return a run from its file."""
        data["gpus"] = tuple(data["gpus"])
        return cls(**data)


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended: a state's and a reason's word, and when (epoch seconds)."""

    state: str
    reason: str
    exit_code: int | None
    signal: int | None
    ended: float

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> End:
        """Return an end from its file."""
        return cls(**data)


Record = TypeVar("Record", Ticket, Run, End)


def write_record(path: Path, record: Ticket | Run | End) -> None:
    """Write a record that is there as a whole or not at all, also after a crash."""
    write_whole(path, json.dumps(asdict(record)))


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """Return the record in ``path``, or ``None`` if there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return kind.from_json(json.loads(data))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def supervises(pid: int, jobs: Path) -> bool:
    """Tell whether a process is the supervisor of a job in the directory ``jobs``.

    Such a job may have been submitted from within another one, below whose
    supervisor it then is; what belongs to it is not that other job's.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        place = next(n for n, word in enumerate(words, 1) if word in _SUPERVISORS)
        directory = Path(os.fsdecode(words[place]))
        # What a process says of itself is its user's text: a place of our own first,
        # or what lies there is a pipe that blocks us.
        if directory.parent != jobs or directory.name in ("", ".", ".."):
            return False
        run = read_record(directory / "run.json", Run)
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
        return False  # most processes are something else
    if run is None or run.supervisor != pid:
        return False
    return run.supervised_by.alive


def descendants(
    root: int, skip: Callable[[int], bool] = lambda pid: False
) -> list[Process]:
    """Return the living processes below ``root``, whatever their sessions.

    Args:
        root: their common ancestor.
        skip: tells a number that is left out, with all below it.
    """
    children: dict[int, list[Process]] = {}
    for found in processes():
        children.setdefault(found.parent, []).append(found)
    below: list[Process] = []
    todo = [root]
    while todo:
        for found in children.get(todo.pop(), ()):
            if not skip(found.pid):
                below.append(found)
                todo.append(found.pid)
    return below


def likely_descendants(
    root: int, skip: Callable[[int], bool] = lambda pid: False
) -> list[int]:
    """Return numbers of processes below ``root``, at a cost that is theirs alone.

    From ``/proc/PID/task/TID/children``, proc(5): while processes come and go some
    may be missing. Kernels without that file get all of ``/proc`` searched.
    """
    if not Path("/proc/self/task", str(os.getpid()), "children").exists():
        return [found.pid for found in descendants(root, skip)]
    below: list[int] = []
    todo = [root]
    while todo:
        tasks = f"/proc/{todo.pop()}/task"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(tasks):  # noqa: PTH208 - names are all we need
                text = Path(tasks, task, "children").read_text()
                found = [pid for pid in map(int, text.split()) if not skip(pid)]
                todo.extend(found)
                below.extend(found)
    return below


def marked(job: str, uid: int) -> list[Process]:
    """Return the living processes of a job whose supervisor is gone.

    They are known by ``LANDBRIDGE_JOB_ID`` in the environment that they were
    started with, and by their owner.
    """
    mark = f"LANDBRIDGE_JOB_ID={job}".encode()
    found = []
    for candidate in processes():
        # A process may end, or be another user's, between two looks at it.
        with contextlib.suppress(OSError):
            base = Path(f"/proc/{candidate.pid}")
            if base.stat().st_uid not in (uid, 0):
                continue
            if mark in (base / "environ").read_bytes().split(b"\0"):
                found.append(candidate)
    return found


def kill_rest(ticket: Ticket, run: Run) -> None:
    """End what a job left behind whose supervisor was killed."""
    uid = ticket.account.uid if ticket.account else ticket.uid
    everything = list(processes())
    rest = {found.pid: found for found in marked(ticket.id, uid)}
    if ProcessId(run.leader, run.leader_start).alive:
        # The number of a living session's leader is not given to others.
        rest |= {c.pid: c for c in everything if c.session == run.leader}
    grown = True
    while grown:
        below = {c.pid: c for c in everything if c.parent in rest}
        grown = not below.keys() <= rest.keys()
        rest |= below
    for found in rest.values():
        with contextlib.suppress(PermissionError):
            found.id.send(signal.SIGKILL)


def resident_memory(pids: list[int]) -> int:
    """Return bytes that processes hold in memory; shared pages count each time.

    From ``/proc/PID/statm``, proc(5), second field (pages).
    """
    pages = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional_memory(pids: list[int]) -> int:
    """Return bytes that processes hold, shared pages divided among their users.

    From ``/proc/PID/smaps_rollup``, proc(5), line ``Pss:`` (kB). Slower than
    :func:`resident_memory`, which is used where this cannot be read.
    """
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            line = next(row for row in text.splitlines() if row.startswith("Pss:"))
            total += int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            total += resident_memory([pid])
    return total


def read_tail(path: str, max_bytes: int) -> bytes:
    """Return the end of a regular file; empty if it is none or not there."""
    try:
        # Whoever owns the path may have put a pipe there, which would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return b""
        file.seek(max(0, status.st_size - max_bytes))
        return file.read(max_bytes)


if __name__ == "__main__":
    sys.stdout.buffer.write(read_tail(sys.argv[1], int(sys.argv[2])))
