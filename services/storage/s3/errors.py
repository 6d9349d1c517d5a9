"""What can go wrong with a store, in words for users.

::

    StorageError
    ├── StoreUnavailable        cannot be reached, or gave up after retries
    │   └── StoreBusy           asks to be called less
    ├── StoreAnswerInvalid      an answer that is none: garbage, a bomb, too long
    ├── ClockSkewed             its clock and ours differ too much for signatures
    ├── AccessDenied            known, but not allowed
    │   └── KeyNotValid         expired, revoked or unknown access key
    │       └── KeyNeeded       none: the user has to enter one, or to sign in anew
    ├── NotFound
    │   ├── BucketNotFound, ObjectNotFound, UploadNotFound
    ├── Conflict                something else is there
    │   └── PreconditionFailed  changed since it was read
    ├── ChecksumMismatch        the bytes that arrived are not those sent
    ├── QuotaExceeded, StoreFull
    ├── KeyRefused              a key that this store would change or lose
    ├── GrantRefused            rights that cannot be expressed, or not given
    │   └── GrantWidened        a bucket's own policy gives more
    ├── NotSupported            the store does not have it
    └── RequestRefused          any other refusal of the store

``str(error)`` says what happened to what, ``hint`` what to try. None holds a
secret, and text that a store sent is cut and made printable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

_LONGEST_TEXT = 300


def printable(text: str) -> str:
    """Return ``text`` on one line, without control characters, not too long."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(clean) > _LONGEST_TEXT:
        return clean[:_LONGEST_TEXT] + "…"
    return clean


class StorageError(Exception):
    """Anything that a store, or asking it, did wrong.

    Attributes:
        hint: what the user may try, or ``""``.
        code: the store's own word (``NoSuchKey``), or ``""``.
        status: the HTTP status, or 0.
    """

    hint = ""

    def __init__(
        self, message: str, *, hint: str = "", code: str = "", status: int = 0
    ) -> None:
        super().__init__(printable(message))
        if hint:
            self.hint = hint
        self.code = printable(code)
        self.status = status


class StoreUnavailable(StorageError):
    """The store cannot be reached, or fails again and again."""

    hint = "Try again in a minute; if it goes on, tell the operators of the store."


class StoreBusy(StoreUnavailable):
    """The store asks for fewer requests."""

    hint = "The store is overloaded; try again in a minute."


class StoreAnswerInvalid(StorageError):
    """What came back is not an answer of an S3 store."""

    hint = "Check that the endpoint in the settings is an S3 store."


class ClockSkewed(StorageError):
    """Signatures carry the time, and the clocks differ by ``difference``."""

    def __init__(self, difference: timedelta | None) -> None:
        minutes = abs(difference.total_seconds()) / 60 if difference else 0
        by = f" by {minutes:.0f} minutes" if minutes >= 1 else ""
        super().__init__(
            f"The clocks of the store and of the gateway differ{by}.",
            hint="An operator must set the clock (NTP) of the one that is wrong.",
            code="RequestTimeTooSkewed",
            status=403,
        )
        self.difference = difference


class AccessDenied(StorageError):
    """The store knows the key and does not allow this."""

    hint = "Ask the owner of the bucket to share it with you."


class KeyNotValid(AccessDenied):
    """The access key is expired, revoked or was never known."""

    hint = "Ask for new credentials; running kernels do so by themselves."


class KeyNeeded(KeyNotValid):
    """The user has to bring a key, or a newer proof of who she is."""

    hint = "Get a key in the store's portal and enter it on the storage page."


class NotFound(StorageError):
    """It is not there."""


class BucketNotFound(NotFound):
    """There is no such bucket."""


class ObjectNotFound(NotFound):
    """There is no such object, or no such version of it."""


class UploadNotFound(NotFound):
    """The multipart upload was completed or aborted, or never begun."""

    hint = "Start the upload anew."


class Conflict(StorageError):
    """Something is there that is in the way."""


class PreconditionFailed(Conflict):
    """The object is not, or no longer, what the request expected."""

    hint = "It was changed by somebody else: load it again."


class ChecksumMismatch(StorageError):
    """The store got other bytes than were meant."""

    hint = "The transfer was damaged on its way: send it again."


class QuotaExceeded(StorageError):
    """The bucket or its owner may hold no more."""

    hint = "Delete what you no longer need, or ask for more."


class StoreFull(StorageError):
    """The store itself has no room."""

    hint = "Delete what you do not need, and tell the operators of the store."


class KeyRefused(StorageError):
    """A key that this store would store under another name, or lose."""

    hint = "Choose another name for the object."


class GrantRefused(StorageError):
    """Rights that cannot be written as a policy of this store."""


class GrantWidened(GrantRefused):
    """In ``buckets`` a session could do more than it was made for."""

    hint = (
        "Its owner must allow the gateway's account and role together, in one "
        "statement that is the policy's last."
    )

    def __init__(self, buckets: Sequence[str]) -> None:
        super().__init__(
            f"The policy of bucket {', '.join(buckets)} would let keys do more than "
            "they are for, so that none are made."
        )
        self.buckets = frozenset(buckets)


class NotSupported(StorageError):
    """The store does not have this feature."""


class RequestRefused(StorageError):
    """The store refuses the request for a reason of its own."""
