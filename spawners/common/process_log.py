"""What a process of ours wrote while it started, and a log that does not grow on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_MOST_BYTES = 10_000_000


def begin_log(path: Path) -> int:
    """Return where a process's log ends now; one that has grown long begins anew."""
    cap_log(path)
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def cap_log(path: Path, most_bytes: int = _MOST_BYTES) -> None:
    """Put a log aside as ``NAME.1`` if it has grown long; its process writes on.

    The process appends to a file that it has open, so its text is copied and the file
    emptied: a line that it writes in between those two is lost, which is why the hub's
    own log is written in another way.
    """
    try:
        if path.stat().st_size <= most_bytes:
            return
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        path.with_name(f"{path.name}.1").chmod(0o600)
        os.truncate(path, 0)
    except FileNotFoundError:
        return


def lines_since(path: Path, offset: int) -> list[str]:
    """Return what was written to a log after ``offset``."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
