"""What can go wrong, and what to do about it.

::

    LandbridgeError
    ├── NotOnGateway         this process was not started by a notebook server
    ├── PackageMissing       a helper needs a library; also an ImportError
    ├── StorageUnavailable   the notebook server or the store does not answer
    └── StorageRefused       they answered no; ``status`` is HTTP's
"""

from __future__ import annotations


class LandbridgeError(Exception):
    """Anything of Landbridge's; the text says what happened and what to try."""


class NotOnGateway(LandbridgeError):
    """This process was not started by a notebook server of a gateway."""


class PackageMissing(LandbridgeError, ImportError):
    """A helper needs a library that is not installed here."""


class StorageUnavailable(LandbridgeError):
    """The notebook server, or the store behind it, does not answer."""


class StorageRefused(LandbridgeError):
    """Storage answered no.

    Attributes:
        status: of HTTP: 403 for what is not yours, 404 for what is not there.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
