"""Which process a kernel belongs to: a lock, which says nothing about its job."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


class Claims:
    """Locks of kernels, as files in one directory.

    Args:
        directory: made if missing, for its owner alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def claim(self, kernel_id: str) -> int | None:
        """Lock a kernel for this process; ``None`` while another process has it.

        Returns:
            A descriptor; closing it, or the end of the process, gives it up.

        Raises:
            ValueError: this is no kernel's id.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path(kernel_id), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks: then nobody can tell
            return descriptor
        return descriptor

    def is_abandoned(self, kernel_id: str) -> bool:
        """Tell whether no process has the kernel; False where nobody can tell."""
        try:
            descriptor = os.open(self._path(kernel_id), os.O_RDWR | os.O_CLOEXEC)
        except (OSError, ValueError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def remove(self, kernel_id: str) -> None:
        """Forget a kernel that is over."""
        self._path(kernel_id).unlink(missing_ok=True)

    def _path(self, kernel_id: str) -> Path:
        if not _ID.match(kernel_id):
            raise ValueError(f"{kernel_id[:40]!r} is no kernel's id.")
        return self._directory / f"{kernel_id}.lock"
