"""A process's log: what it wrote while it started, and a length that it keeps to.

A process appends to its log by itself, so that it goes on writing when whoever started
it is gone. It has the file open, so a log that has grown long is copied aside and
emptied, and not renamed.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 10_000_000
_KEPT = 3


def begin_log(path: Path) -> int:
    """Return where a process's log ends now; one that has grown long begins anew."""
    cap_log(path)
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def cap_log(path: Path, most_bytes: int = _MOST_BYTES) -> None:
    """Put a log aside as ``NAME.1`` if it has grown long; its process writes on.

    The three before it are kept. A line that the process writes between the copy and
    the emptying is lost, as with any program that turns over the log of another. Where
    the disk takes no copy the log is emptied all the same: it is what fills the disk.
    """
    try:
        if path.stat().st_size <= most_bytes:
            return
        with suppress(OSError):
            _put_aside(path)
        os.truncate(path, 0)
    except FileNotFoundError:
        return


def _put_aside(path: Path) -> None:
    for number in range(_KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            _aside(path, number).replace(_aside(path, number + 1))
    copy = _aside(path, 1)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        path.open("rb") as log,
        os.fdopen(os.open(copy, flags, 0o600), "wb") as file,
    ):
        shutil.copyfileobj(log, file)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def lines_since(path: Path, offset: int) -> list[str]:
    """Return what was written to a log after ``offset``."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
