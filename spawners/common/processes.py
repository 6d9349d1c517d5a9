"""Processes of the operating system: which there are, and which one is meant.

A pid alone is no identity, because pids come back. Linux gives each process a
start time in clock ticks (field 22 of ``/proc/PID/stat``, proc(5)); pid and start
time together name one process for as long as the machine is up.

Standard library only, and little of it: the supervisor of a local job reads this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class ProcessId:
    """A process that is not mistaken for a later one with the same pid."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has ``pid`` now; ``None`` if there is none (or a zombie)."""
        try:
            found = process(pid)
        except OSError:
            return None
        return None if found is None else found.id

    @classmethod
    def of_child(cls, pid: int) -> ProcessId:
        """A child of ours, which may have ended since we started it."""
        found = _read(pid)
        return cls(pid, -1 if found is None else found.started)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return ProcessId.of(self.pid) == self

    @property
    def keeps_pid(self) -> bool:
        """Whether its pid is still its own: it runs, or nobody took its exit status.

        One whose first thread has ended is no more alive, and others of it may be yet.
        """
        found = _read(self.pid)
        return found is not None and found.started == self.started

    @property
    def command(self) -> list[str]:
        """Its argv; empty when it has ended or may not be looked at."""
        try:
            raw = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return []
        return raw.decode(errors="replace").split("\0")[:-1]

    def send(self, number: int) -> bool:
        """Send a signal, never to another process that got its pid.

        Returns:
            False if it has ended already; nothing happens then.

        Raises:
            PermissionError: it is another account's.
        """
        if not self.alive:
            return False
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:  # another could have got its pid before we had a hold
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


class Process(NamedTuple):
    """A process at one moment.

    From ``/proc/PID/stat``, proc(5): fields 3, 4, 6 and 22 (clock ticks since boot).
    """

    pid: int
    state: str
    parent: int
    session: int
    started: int

    @property
    def id(self) -> ProcessId:
        """What it is known by later."""
        return ProcessId(self.pid, self.started)


def process(pid: int) -> Process | None:
    """Return a living process, or ``None``; a zombie does not live."""
    found = _read(pid)
    return None if found is None or found.state in "ZX" else found


def _read(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, and may hold anything.
    fields = text.rpartition(")")[2].split()
    return Process(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def processes() -> Iterator[Process]:
    """Yield all living processes."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all we need
        if name.isdigit() and (found := process(int(name))) is not None:
            yield found


def boot_id() -> str:
    """Return the kernel's name for the time since it was booted."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
