"""What a process of ours wrote while it started, and a log that does not grow on."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_BYTES = 10_000_000


def begin_log(path: Path) -> int:
    """Return where a process's log ends now; one that has grown long begins anew.

    Whoever writes to it appends.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    if size > _MOST_BYTES:
        os.truncate(path, 0)
        return 0
    return size


def lines_since(path: Path, offset: int) -> list[str]:
    """Return what was written to a log after ``offset``."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
