"""What can be wrong with an environment, and what to do about it.

::

    LandbridgeError
    └── SnapshotProblem
        ├── CannotTake      a package cannot be carried; names it and says why
        └── CannotRestore   the wheels are not those of the lock, or do not fit here
"""

from __future__ import annotations

from ..errors import LandbridgeError


class SnapshotProblem(LandbridgeError):
    """An environment could not be carried."""


class CannotTake(SnapshotProblem):
    """Something that is installed cannot be packed."""


class CannotRestore(SnapshotProblem):
    """The snapshot cannot be installed here."""
