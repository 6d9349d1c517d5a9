"""Files of ours alone: replaced whole, made new, and secrets that are made once.

Standard library only, and little of it: the supervisor of a local job reads this.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from .ownership import read_own

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Put ``content`` at ``path`` in one step: a reader sees the old file or the new.

    It is on the disk before it has its name, so that the same holds after a crash.
    What is at ``path`` is replaced, a link too. The directory is made by the caller.

    Args:
        path: the file.
        content: text is written as UTF-8.
        mode: of the file, less what the umask takes away.

    Raises:
        OSError: the old file is as it was, and no other is left.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        _fill(os.open(draft, _NEW, mode), content, sync=True)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: str | bytes) -> None:
    """Make a new file of mode 0600, and never write to one that is there.

    Raises:
        FileExistsError: something is there, be it a link to nowhere.
        OSError: it cannot be written; nothing is left.
    """
    descriptor = os.open(path, _NEW, 0o600)
    try:
        _fill(descriptor, content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def ensure_secret(
    path: Path, make: Callable[[], str] = lambda: os.urandom(32).hex()
) -> str:
    """Return the secret in ``path``; ``make`` gives one if there is none yet.

    Raises:
        NotOurs: what is there was made by somebody else, or others can read it.
    """
    if not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):  # another process was first
            write_private(path, make())
    kept = read_own(path).decode("ascii").strip()
    if kept:
        return kept
    path.unlink()  # made, but never filled: a power cut
    return ensure_secret(path, make)


def _fill(descriptor: int, content: str | bytes, *, sync: bool = False) -> None:
    data = content.encode() if isinstance(content, str) else content
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())
