"""Room on the disk of a store that lies on this machine.

SeaweedFS 4.48 on a full disk answers 500 InternalError and nothing else (tried), so
that only a look at its disk tells a full store from a broken one. It gives the room of
deleted objects back by writing a volume (of at most 1 GiB) anew, within minutes, and
not at all where that does not fit (tried).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .errors import StoreFull

_RESERVE = 1_200 * 2**20
_RESERVE_SHARE = 0.1
_HARDLY_ANY = 8 * 2**20


def is_full(directory: Path, size: int) -> bool:
    """Whether so many bytes more, or a few, have no room on the disk."""
    return shutil.disk_usage(directory).free <= max(size, _HARDLY_ANY)


def room(directory: Path) -> int:
    """Return how many bytes may still be written there; 0 if the disk is full.

    What the store needs to give room back stays free: 1.2 GiB, or a tenth of a small
    disk.
    """
    usage = shutil.disk_usage(directory)
    return max(0, usage.free - min(_RESERVE, int(usage.total * _RESERVE_SHARE)))


def check_room(directory: Path | None, objects: Sequence[tuple[str, int]]) -> None:
    """Return if objects (key and size) fit on the disk, or if it is not ours to see.

    Raises:
        StoreFull: they do not.
    """
    if directory is None:
        return
    size, left = sum(size for _, size in objects), room(directory)
    if size > left:
        raise StoreFull(f"The store has room for {left} bytes more, not for {size}.")
