"""The environment that a program runs in, carried to where there is no network.

::

    snapshot = environments.take(folder)    # a lock with hashes, and its wheels
    environments.restore(folder, target)    # the same packages, offline, in seconds

What is installed is packed as it is: a wheel is made of the files that its installation
has recorded, so no index is asked, and what was changed by hand goes along.
"""

from .problems import CannotRestore, CannotTake, SnapshotProblem
from .restore import restore
from .snapshot import Snapshot, read, take

__all__ = [
    "CannotRestore",
    "CannotTake",
    "Snapshot",
    "SnapshotProblem",
    "read",
    "restore",
    "take",
]
