"""Which process a kernel belongs to: a lock, which says nothing about its job.

What is written in it is for the next notebook server of the same name, which has to
list its kernels before anybody else has told it of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

_LONGEST = 4096
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


class Claims:
    """Locks of kernels, as files in one directory.

    Args:
        directory: made if missing, for its owner alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def claim(
        self, kernel_id: str, *, server: str = "", kernel_name: str = ""
    ) -> int | None:
        """Lock a kernel for this process; ``None`` while another process has it.

        Args:
            kernel_id: jupyter_client's.
            server: the notebook server's own name for itself, ``""`` for a program.
            kernel_name: the kernelspec's.

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
            pass
        text = json.dumps({"server": server, "kernel_name": kernel_name}).encode()
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        return descriptor

    def of_server(self, server: str) -> dict[str, str]:
        """Return the kernels that a server claimed and that are not over for it.

        Returns:
            Each kernel's id with its kernelspec's name, the oldest first.
        """
        kernels: dict[str, str] = {}
        for path in sorted(self._directory.glob("*.lock"), key=_changed):
            try:
                claim = json.loads(path.read_bytes()[:_LONGEST])
                if claim["server"] == server:
                    kernels[path.stem] = str(claim["kernel_name"])
            except (OSError, KeyError, TypeError, ValueError, RecursionError):
                continue  # of a release that wrote nothing, or somebody's own
        return kernels

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


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has forgotten it
        return 0.0
