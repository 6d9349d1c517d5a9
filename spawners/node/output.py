"""The file that a job's output goes to: private to its user, and bounded.

Travels in the job with ``agent.py`` and ``kernel/launcher.py``: standard library of
Python 3.6 or newer only. A scheduler opens the file as it likes, readable by everybody
where the umask says so; and what a kernel prints, or a stranger makes it print, has no
end. Only a regular file of our own is touched, whatever else descriptor 1 may be.
"""

import os
import stat
import threading
from typing import Optional

MOST = 20 * 1024 * 1024
# What is left of it when it is cut: its beginning, where a start is told, and the end.
BEGINNING = 1024 * 1024
NEWEST = 4 * 1024 * 1024
_CARRIED = 64 * 1024
_CUT = (
    "\nLandbridge: %d bytes of this output were cut out here, for it was longer than "
    "%d MB.\n"
)


def own_file(descriptor: int) -> Optional[os.stat_result]:
    """Return what is known of a regular file of ours; ``None`` for anything else."""
    try:
        facts = os.fstat(descriptor)
    except OSError:
        return None
    ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid()
    return facts if ours else None


def make_private() -> None:
    """See that nobody else reads what this job writes, from now on.

    A file that others could open may be open already: it gets a successor of mode 0600
    under its name, with the end of what it held. What the job's shell still has open
    is the old one.
    """
    for descriptor in (1, 2):
        facts = own_file(descriptor)
        if facts is None or not facts.st_mode & 0o077:
            continue
        try:
            os.fchmod(descriptor, 0o600)
            _succeed(descriptor, facts)
        except OSError:
            continue  # a file system without modes, or a folder that we may not write


def _succeed(descriptor: int, facts: os.stat_result) -> None:
    path = os.readlink("/proc/self/fd/%d" % descriptor)
    if not os.path.samestat(os.lstat(path), facts):
        return  # it has no name any more, or another one
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
    new_path = "%s.%d" % (path, os.getpid())
    new = os.open(new_path, flags, 0o600)
    try:
        with open(path, "rb") as old:
            old.seek(max(0, facts.st_size - _CARRIED))
            os.write(new, old.read(_CARRIED))
        os.rename(new_path, path)
    except OSError:
        os.unlink(new_path)
        os.close(new)
        raise
    for other in (1, 2):
        found = own_file(other)
        if found is not None and os.path.samestat(found, facts):
            os.dup2(new, other)
    os.close(new)


class JobLog:
    """Writes to a descriptor, and keeps what is behind it from growing for ever.

    May be used by several threads. A full disk loses output and nothing else.
    """

    def __init__(self, descriptor: int = 1, most: int = MOST) -> None:
        self._descriptor = descriptor
        self._most = most
        self._beginning = min(BEGINNING, most // 4)
        self._newest = min(NEWEST, most // 4)
        # A signal's handler may have something to say while its thread writes.
        self._lock = threading.RLock()

    def write(self, data: bytes) -> None:
        """Write all of ``data``, after cutting out the middle of what is too long."""
        with self._lock:
            try:
                facts = own_file(self._descriptor)
                if facts is not None and facts.st_size + len(data) > self._most:
                    self._cut(facts.st_size)
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                return

    def _cut(self, size: int) -> None:
        if size <= self._beginning + self._newest:
            return
        # Whoever shares our descriptor may only write; a new one can read as well.
        file = os.open("/proc/self/fd/%d" % self._descriptor, os.O_RDWR)
        try:
            begin = max(self._beginning, size - self._newest)
            newest = os.pread(file, self._newest, begin)
            told = _CUT % (begin - self._beginning, self._most // 1000 // 1000)
            kept = told.encode("ascii") + newest
            os.pwrite(file, kept, self._beginning)
            os.ftruncate(file, self._beginning + len(kept))
        finally:
            os.close(file)
        os.lseek(self._descriptor, 0, os.SEEK_END)


output = JobLog()


def say(message: str) -> None:
    """Write a line into the job's output."""
    output.write(("Landbridge: " + message + "\n").encode("utf-8"))
