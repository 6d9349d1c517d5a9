"""A job's own directory on its node, which only its user may enter.

Travels in the job with ``agent.py``: standard library of Python 3.6 or newer only.
Modules that take long to be imported are, where they are used: a job's start waits for
what stands at the top.
"""

import fcntl
import os

from spawners.node.proof import JobMustEnd

_PREFIX = "lb-"
_RANDOM_BYTES = 4
_TRIES = 100


def make_directory() -> str:
    """Make the directory, on the node itself; it is ours for as long as we live.

    Raises:
        JobMustEnd: there is no place for it.
    """
    parent = os.environ.get("TMPDIR", "")
    # Unix sockets of kernels go there, and their paths end at 107 bytes.
    if not parent or len(parent) > 40 or not os.access(parent, os.W_OK | os.X_OK):
        parent = "/tmp"  # noqa: S108
    remove_left_over(parent)
    try:
        directory = _new(parent)
        fcntl.flock(os.open(directory + "/lock", os.O_CREAT, 0o600), fcntl.LOCK_EX)
    except OSError as error:
        raise JobMustEnd(
            "%s on this node cannot be used: %s." % (parent, error)
        ) from None
    return directory


def _new(parent: str) -> str:
    for left in range(_TRIES, 0, -1):
        name = _PREFIX + "".join("%02x" % byte for byte in os.urandom(_RANDOM_BYTES))
        directory = os.path.join(parent, name)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            if left == 1:
                raise
        else:
            break
    return directory


def remove_left_over(parent: str) -> None:
    """Remove directories of this user's agents that were killed: nobody locks them."""
    try:
        names = os.listdir(parent)
    except OSError:
        return  # one that may be used, but not read
    for name in names:
        if not name.startswith(_PREFIX) or len(name) != len(_PREFIX) + 8:
            continue
        directory = os.path.join(parent, name)
        try:
            if os.lstat(directory).st_uid != os.getuid():
                continue
            lock = os.open(directory + "/lock", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue  # of somebody else, or just being made or removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(directory)
        except OSError:
            continue  # its agent lives
        finally:
            os.close(lock)


def remove(directory: str) -> None:
    """Remove a directory and all that is in it, as far as that can be done."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def write_private(directory: str, name: str, text: str) -> str:
    """Write a new file that only this user may read; return its path."""
    path = os.path.join(directory, os.path.basename(name))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
