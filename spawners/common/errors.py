"""The root of our errors, and those of our own databases.

::

    GatewayError
    ├── DatabaseError               our own records cannot be used
    │   ├── DatabaseUnavailable     a read or write failed: nothing was done, try again
    │   └── DatabaseIncompatible    made by another release: the operator must act
    └── BatchError                  spawners.batch.errors
"""

from __future__ import annotations


class GatewayError(Exception):
    """Something went wrong, in words for a person; never with a secret in them.

    Attributes:
        message: what happened, without jargon where possible.
        hint: what to try next, or an empty string.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class DatabaseError(GatewayError):
    """One of our databases cannot be used."""


class DatabaseUnavailable(DatabaseError):
    """The database did not take a read or write; nothing was changed."""


class DatabaseIncompatible(DatabaseError):
    """The database was made by a newer release, or is none of ours."""
