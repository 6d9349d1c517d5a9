"""Files of ours alone: replaced whole, made new, and secrets that are made once.

Standard library only, and little of it: the supervisor of a local job reads this.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from .ownership import read_own

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_RANDOM = re.compile(r"[0-9a-f]{8}")


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Put ``content`` at ``path`` in one step: a reader sees the old file or the new.

    It is on the disk before it has its name, so that the same holds after a crash; the
    draft that a crash leaves is removed by the next write of the same file. What is at
    ``path`` is replaced, a link too. The directory is made by the caller.

    Args:
        path: the file.
        content: text is written as UTF-8.
        mode: of the file, less what the umask takes away.

    Raises:
        OSError: the old file is as it was, and no other is left.
    """
    _remove_abandoned(path)
    draft, descriptor = _new_draft(path, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_bytes(content))
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)  # while it is locked: until then it is a draft
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
        with os.fdopen(descriptor, "wb") as file:
            file.write(_bytes(content))
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


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _new_draft(path: Path, mode: int) -> tuple[Path, int]:
    """Return a new file beside ``path`` and its descriptor, locked while it is open.

    The lock says that its writer lives. Where a file system has no locks, nobody gets
    one, and so nobody takes a draft for abandoned.
    """
    while True:
        draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        descriptor = os.open(draft, _NEW, mode)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)  # taken for abandoned before it was locked


def _drafts(path: Path) -> Iterator[Path]:
    prefix = f".{path.name}."
    with contextlib.suppress(OSError):  # a directory that may be entered and not read
        for file in path.parent.iterdir():
            if file.name.startswith(prefix) and _RANDOM.fullmatch(
                file.name, len(prefix)
            ):
                yield file


def _remove_abandoned(path: Path) -> None:
    """Remove drafts of ``path`` whose writers have died."""
    for draft in _drafts(path):
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # of another account, or gone meanwhile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink(missing_ok=True)
        except OSError:
            continue  # its writer lives
        finally:
            os.close(descriptor)
