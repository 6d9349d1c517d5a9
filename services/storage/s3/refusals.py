"""From a store's refusal to one of our errors, in words that help.

Source: the error tables of the S3 and STS references, and what SeaweedFS 4.48 and
Ceph RGW 16.2 were seen to answer. A HEAD has no body: then the status decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from . import errors
from .answers import ErrorAnswer, http_moment, parse_error

_BUSY_STATUSES = frozenset({500, 502, 503, 504})
_NOT_VALID = frozenset(
    {
        "InvalidAccessKeyId",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "InvalidClientTokenId",
        "TokenRefreshRequired",
        "InvalidIdentityToken",
        "IDPRejectedClaim",
        "SignatureDoesNotMatch",
    }
)
_BY_CODE: Mapping[str, tuple[type[errors.StorageError], str]] = {
    "AccessDenied": (errors.AccessDenied, "The store does not allow it"),
    "NoSuchBucket": (errors.BucketNotFound, "There is no such bucket"),
    "NoSuchKey": (errors.ObjectNotFound, "There is no such object"),
    "NoSuchVersion": (errors.ObjectNotFound, "There is no such version"),
    "NoSuchUpload": (errors.UploadNotFound, "The upload is no longer open"),
    "NoSuchBucketPolicy": (errors.NotFound, "The bucket has no policy"),
    "NoSuchCORSConfiguration": (errors.NotFound, "The bucket has no CORS rules"),
    "NoSuchTagSet": (errors.NotFound, "The bucket has no tags"),
    "NoSuchEntity": (errors.NotFound, "The store does not know it"),
    "BucketAlreadyExists": (errors.Conflict, "The bucket's name is taken"),
    "BucketAlreadyOwnedByYou": (errors.Conflict, "The bucket exists already"),
    "EntityAlreadyExists": (errors.Conflict, "It exists already"),
    "BucketNotEmpty": (errors.Conflict, "The bucket is not empty"),
    "PreconditionFailed": (errors.PreconditionFailed, "The object was changed"),
    "ConditionalRequestConflict": (
        errors.PreconditionFailed,
        "Somebody else is writing the object",
    ),
    "BadDigest": (errors.ChecksumMismatch, "The bytes arrived damaged"),
    "InvalidDigest": (errors.ChecksumMismatch, "The checksum is no checksum"),
    "XAmzContentSHA256Mismatch": (errors.ChecksumMismatch, "The bytes were damaged"),
    "XAmzContentChecksumMismatch": (errors.ChecksumMismatch, "The bytes were damaged"),
    "QuotaExceeded": (errors.QuotaExceeded, "The quota is used up"),
    "EntityTooLarge": (errors.RequestRefused, "It is too large for one request"),
    "EntityTooSmall": (errors.RequestRefused, "A part but the last is too small"),
    "KeyTooLongError": (errors.KeyRefused, "The name is too long for the store"),
    "KeyTooLong": (errors.KeyRefused, "The name is too long for the store"),
    "NotImplemented": (errors.NotSupported, "The store does not have this feature"),
    "MethodNotAllowed": (errors.NotSupported, "The store does not allow this"),
    "SlowDown": (errors.StoreBusy, "The store asks for fewer requests"),
    "TooManyRequests": (errors.StoreBusy, "The store asks for fewer requests"),
    "ServiceUnavailable": (errors.StoreBusy, "The store is not ready"),
    "InternalError": (errors.StoreUnavailable, "The store failed"),
    "RequestTimeout": (errors.StoreUnavailable, "The transfer was too slow"),
    "StorageFull": (errors.StoreFull, "The store is full"),
    "InsufficientStorage": (errors.StoreFull, "The store is full"),
}
_BY_STATUS: Mapping[int, tuple[type[errors.StorageError], str]] = {
    401: (errors.KeyNotValid, "The access key is not valid"),
    403: (errors.AccessDenied, "The store does not allow it"),
    404: (errors.NotFound, "It is not there"),
    405: (errors.NotSupported, "The store does not allow this"),
    409: (errors.Conflict, "Something is in the way"),
    412: (errors.PreconditionFailed, "The object was changed"),
    429: (errors.StoreBusy, "The store asks for fewer requests"),
    501: (errors.NotSupported, "The store does not have this feature"),
    503: (errors.StoreBusy, "The store is not ready"),
    507: (errors.StoreFull, "The store is full"),
}


class RequestFacts(Protocol):
    """What of a call is needed to tell what failed."""

    @property
    def what(self) -> str:
        """The words for it."""

    @property
    def bucket(self) -> str:
        """The bucket, or ``""``."""

    @property
    def key(self) -> str | None:
        """The object, if it is about one."""


def error_for(
    status: int, headers: Mapping[str, str], body: bytes, request: RequestFacts
) -> errors.StorageError:
    """Return the error that a refusing answer means."""
    answer = parse_error(body) if body else None
    if answer is None:
        answer = ErrorAnswer("", "")
    if answer.code in {"RequestTimeTooSkewed", "RequestExpired"}:
        return errors.ClockSkewed(_difference(headers))
    if answer.code in _NOT_VALID:
        return errors.KeyNotValid(
            f"The access key is expired, revoked or unknown: {request.what}.",
            code=answer.code,
            status=status,
        )
    kind, words = _BY_CODE.get(answer.code) or _by_status(status, request)
    explained = f" ({answer.message})" if _helps(kind, answer) else ""
    return kind(f"{words}: {request.what}{explained}.", code=answer.code, status=status)


def busy(error: errors.StorageError) -> bool:
    """Whether the same request may well succeed in a moment."""
    return isinstance(error, errors.StoreUnavailable) and (
        error.status in _BUSY_STATUSES or isinstance(error, errors.StoreBusy)
    )


def _by_status(
    status: int, request: RequestFacts
) -> tuple[type[errors.StorageError], str]:
    if status == 404 and request.key is not None:
        return errors.ObjectNotFound, "There is no such object"
    if status == 404 and request.bucket:
        return errors.BucketNotFound, "There is no such bucket"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return errors.StoreUnavailable, f"The store failed with status {status}"
    if 400 <= status < 500:
        return errors.RequestRefused, "The store refuses it"
    return errors.StoreAnswerInvalid, f"The store answered with status {status}"


def _helps(kind: type[errors.StorageError], answer: ErrorAnswer) -> bool:
    return bool(answer.message) and issubclass(
        kind, errors.RequestRefused | errors.NotSupported | errors.Conflict
    )


def _difference(headers: Mapping[str, str]) -> timedelta | None:
    theirs = http_moment(headers.get("date"))
    return None if theirs is None else theirs - datetime.now(UTC)
