"""A failed start, told to JupyterHub in words that its pages and API show."""

from __future__ import annotations

from html import escape

from jupyterhub.spawner import SpawnException

from spawners.batch.errors import (
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
)
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.record import JobRecord
from spawners.common.errors import DatabaseError, GatewayError


class StartFailed(SpawnException):  # type: ignore[misc]  # JupyterHub is untyped
    """A start came to nothing, for a reason that the user can read.

    Attributes:
        failure: title, detail, hint and log.
    """

    def __init__(self, failure: Failure, *, reason: str, status_code: int) -> None:
        self.failure = failure
        super().__init__(
            _one_line(failure),
            reason=reason,
            message_html=_html(failure),
            status_code=status_code,
        )
        # What JupyterHub 6.1 shows on the form after a start that failed quickly.
        self.jupyterhub_message = _one_line(failure)
        self.jupyterhub_html_message = _html(failure)

    @classmethod
    def from_error(cls, error: GatewayError) -> StartFailed:
        """Return what to raise when nothing was started because of ``error``."""
        title, reason, status = next(
            (
                (title, reason, status)
                for kind, title, reason, status in _KINDS
                if isinstance(error, kind)
            ),
            ("The server could not be started", "batch", 503),
        )
        failure = Failure(title, error.message, error.hint)
        return cls(failure, reason=reason, status_code=status)

    @classmethod
    def from_record(cls, record: JobRecord) -> StartFailed:
        """Return what to raise when the job ended before its server was ready."""
        if record.failure is not None:
            return cls(record.failure, reason="ended", status_code=409)
        failure = Failure("Stopped", "The job was ended before the server was ready.")
        return cls(failure, reason="stopped", status_code=409)

    @classmethod
    def timed_out(
        cls, title: str, detail: str, hint: str = "", log: str = ""
    ) -> StartFailed:
        """Return what to raise when one of the clocks of a start ran out."""
        failure = Failure(title, detail, hint, log)
        return cls(failure, reason="timeout", status_code=504)


def _one_line(failure: Failure) -> str:
    parts = [failure.title.rstrip(".") + ".", failure.detail, failure.hint]
    return " ".join(" ".join(parts).split())


def _html(failure: Failure) -> str:
    parts = [f"<strong>{escape(failure.title)}</strong>"]
    parts += [escape(text) for text in (failure.detail, failure.hint) if text]
    html = "<br>".join(parts)
    if failure.log:
        html += f"<pre>{escape(failure.log)}</pre>"
    return html


# What a page calls it, the metrics' label, the HTTP status. The first that fits.
_KINDS: tuple[tuple[type[GatewayError], str, str, int], ...] = (
    (LimitReached, "A limit is reached", "limit", 429),
    (SubmitRejected, "The job was refused", "rejected", 400),
    (InvalidSpec, "These options cannot be used", "options", 400),
    (NotPermitted, "Not permitted", "permission", 403),
    (AuthenticationBroken, "The cluster's sign-in is broken", "authentication", 503),
    (SchedulerUnavailable, "The scheduler does not answer", "scheduler", 503),
    (DatabaseError, "The gateway's database does not answer", "store", 503),
)
