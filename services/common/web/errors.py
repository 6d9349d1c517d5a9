"""What a caller of a service can do wrong, and how any error is answered.

::

    Refusal
    ├── BadRequest        400  what was sent cannot be used; names the field
    ├── NotSignedIn       401  nobody, or a token that is not good (any more)
    ├── Forbidden         403  known, but not allowed
    │   └── SessionEnded  403  a browser that has to sign in, or to send its token
    ├── NotThere          404  not there, or not for this caller: the same words
    ├── InTheWay          409  something is there that must not be
    ├── Outdated          410  what came since cannot be told any more: list anew
    ├── TooLarge          413  more than may be sent at once
    ├── TooMany           429  the caller has to wait, or to end something first
    └── NotReady          503  the service or what it needs is not up

A service adds the errors of what it wraps by a table (:data:`ErrorTable`). Whatever
is in neither is an internal error: the caller gets an id, the log gets the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ErrorTable = Mapping[type[Exception], tuple[int, str]]
"""HTTP status and code of an exception whose ``str`` is fit for users.

The nearest class counts. Its ``hint`` and ``field``, if it has them, are shown.
"""


class Refusal(Exception):
    """A request is refused; the text says why, to whoever asked.

    Attributes:
        hint: what to try, or ``""``.
        field: the value at fault, as ``body.name``, or ``""``.
        retry_after: seconds until it may work; 0: nobody knows.
    """

    status = 400
    code = "bad-request"

    def __init__(
        self, message: str, *, hint: str = "", field: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.field = field
        self.retry_after = retry_after


class BadRequest(Refusal):
    """What was sent cannot be used."""


class NotSignedIn(Refusal):
    """Nobody, or a token that is not good (any more)."""

    status = 401
    code = "not-signed-in"


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class SessionEnded(Forbidden):
    """A browser whose session is over, or that does not carry its token."""

    code = "session-ended"


class NotThere(Refusal):
    """It is not there, or not for this caller; the answer does not tell which."""

    status = 404
    code = "not-found"


class InTheWay(Refusal):
    """Something is there that must not be."""

    status = 409
    code = "conflict"


class Outdated(Refusal):
    """What came since the place that is named cannot be told any more: list anew."""

    status = 410
    code = "outdated"


class TooLarge(Refusal):
    """More than may be sent at once."""

    status = 413
    code = "too-large"


class TooMany(Refusal):
    """The caller has to wait, or to end something first."""

    status = 429
    code = "too-many"


class NotReady(Refusal):
    """The service, or what it needs, is not up."""

    status = 503
    code = "not-ready"


HTTP_CODES: Mapping[int, str] = {
    401: NotSignedIn.code,
    403: Forbidden.code,
    404: NotThere.code,
    405: "method-not-allowed",
    413: TooLarge.code,
}
"""The code of a refusal that Tornado makes itself, by its status."""

INTERNAL_ERROR = (500, "internal-error")
"""Status and code of what the caller is told only the id of."""

_REFUSALS = (
    *(BadRequest, NotSignedIn, Forbidden, SessionEnded, NotThere, InTheWay),
    *(TooLarge, TooMany, NotReady),
)


def error_codes(table: ErrorTable, *, streams: bool = True) -> list[tuple[int, str]]:
    """Return status and code of all errors that a service may answer, in order.

    Args:
        table: the service's own.
        streams: whether it has routes that stream.
    """
    refusals = (*_REFUSALS, Outdated) if streams else _REFUSALS
    codes = {(refusal.status, refusal.code) for refusal in refusals}
    return sorted(
        codes | set(HTTP_CODES.items()) | set(table.values()) | {INTERNAL_ERROR}
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is answered. ``field`` is ``""`` where none is at fault.

    ``retry_after`` is the answer's header, in seconds; 0 for none.
    """

    status: int
    code: str
    message: str
    hint: str = ""
    field: str = ""
    retry_after: int = 0

    def to_json(self, error_id: str) -> dict[str, object]:
        """Return the one shape of every error of every service."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "id": error_id,
        }
        if self.field:
            error["field"] = self.field
        return {"error": error}


def explain(error: BaseException, table: ErrorTable) -> Problem | None:
    """Return what the caller is told; ``None`` for an internal error."""
    if isinstance(error, Refusal):
        return Problem(
            error.status,
            error.code,
            str(error),
            error.hint,
            error.field,
            error.retry_after,
        )
    for kind in type(error).__mro__:
        if kind in table:
            status, code = table[kind]
            hint = str(getattr(error, "hint", ""))
            return Problem(status, code, str(error), hint)
    return None
