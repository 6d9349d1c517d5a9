"""What every answer of every service has in common, whoever asks and however.

:class:`AnswerHandler` sets the headers, and answers any error in its one shape. Who
asks is for its subclasses to find out: :mod:`.handlers` asks JupyterHub, other services
know their callers themselves.
"""

from __future__ import annotations

import json
import logging
from http.client import responses
from types import MappingProxyType
from typing import Any

from tornado.web import HTTPError, RequestHandler

from spawners.common.request_id import HEADER, begin_request, current_request

from .errors import HTTP_CODES, INTERNAL_ERROR, BadRequest, ErrorTable, Problem, explain
from .event_writer import hang_up
from .shapes import Shape, ours

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_INTERNAL, _INTERNAL_CODE = INTERNAL_ERROR


class AnswerHandler(RequestHandler):
    """The headers of every answer, and the one shape of every error."""

    error_table: ErrorTable = MappingProxyType({})
    error_shape: Shape = ours
    """How an error looks to whoever asks here."""
    asked_by = ""
    """Who asks, for the log; empty while it is not known."""

    def prepare_answer(self, error_table: ErrorTable) -> None:
        """Begin a request whose errors are told by ``error_table``."""
        self.error_table = error_table
        self.error_id = current_request() or begin_request("")

    def set_default_headers(self) -> None:
        """Say what browsers may do with the answer: little."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", _API_POLICY)
        self.clear_header("Server")
        if request_id := current_request():
            self.set_header(HEADER, request_id)

    def hang_up(self) -> None:
        """End an answer that has begun, so that nobody takes it for whole."""
        hang_up(self)

    @property
    def origin(self) -> str:
        """Scheme and authority by which the caller reached the gateway."""
        return f"{self.request.protocol}://{self.request.host}"

    def answer_problem(self, problem: Problem) -> None:
        """Answer an error in the shape that is spoken here."""
        shape = self.error_shape
        self.set_status(shape.status(problem), shape.reason(problem) or None)
        self.answer_json(shape(problem, self.error_id))

    def problem_of(self, error: BaseException | None) -> Problem:
        """Return what is told of an error; of an internal one only the request's id."""
        problem = explain(error, self.error_table) if error else None
        if problem is None and isinstance(error, HTTPError):
            status = error.status_code
            if status < _INTERNAL:
                code = HTTP_CODES.get(status, BadRequest.code)
                text = error.reason or responses.get(status, "Unknown")
                problem = Problem(status, code, text)
        return problem or Problem(
            _INTERNAL,
            _INTERNAL_CODE,
            "Something went wrong in the gateway.",
            f"Tell its operators this id: {self.error_id}.",
        )

    def answer_json(self, value: object) -> None:
        """Answer JSON that no browser takes for a page."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value, ensure_ascii=True))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer whatever a handler raised; internal errors by their id only."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        problem = self.problem_of(error)
        if problem.retry_after:
            self.set_header("Retry-After", str(problem.retry_after))
        self.answer_problem(problem)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what the caller is only told the id of."""
        if value is None or explain(value, self.error_table) is not None:
            return
        if isinstance(value, HTTPError) and value.status_code < _INTERNAL:
            return
        # The path holds names of ours only; query and body may hold the user's.
        path = getattr(self, "shown_path", self.request.path)
        where = f"{self.request.method} {path}"
        log.error("Error %s in %s", self.error_id, where, exc_info=(typ, value, tb))
