"""The id by which one request is found in the logs of all processes that it passed.

The edge gives it, or takes a well-formed one from the client; each process that serves
the request keeps it for as long, writes it at the end of each line that it logs
meanwhile, and sends it on with whatever it asks of others.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def begin_request(told: str) -> str:
    """Serve a request from now on, in this task and in those that it starts.

    Args:
        told: the id that came with it; another is made if it is not well-formed.

    Returns the id.
    """
    request_id = told if _WELL_FORMED.fullmatch(told) else secrets.token_hex(8)
    _current.set(request_id)
    return request_id


def current_request() -> str:
    """Return the id of the request that is being served; ``""`` for none."""
    return _current.get()


def request_headers() -> dict[str, str]:
    """Return what is sent on with a request of ours: the id, if there is one."""
    request_id = _current.get()
    return {HEADER: request_id} if request_id else {}


class _WithRequest(logging.Filter):
    """Writes the request's id at the end of a line; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = _current.get()
        # A record may pass several handlers.
        if not request_id or hasattr(record, "request_id"):
            return True
        record.request_id = request_id
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 -- logging itself tells of a wrong format
            return True
        record.msg, record.args = f"{text} [{request_id}]", None
        return True


def log_requests(handlers: Iterable[logging.Handler]) -> None:
    """Have these handlers write the request's id from now on."""
    for handler in handlers:
        if not any(isinstance(one, _WithRequest) for one in handler.filters):
            handler.addFilter(_WithRequest())
