"""How errors look to clients that nobody here wrote: a shape for each protocol.

A service says by paths which protocol it speaks where; all else gets ours. The id of
the request is in the header of every answer, so a shape holds it only if it can. Each
is held to the protocol's own clients (``tests/component/clients/test_error_shapes``):
they raise their own exception, with our words in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import Problem

_MLFLOW = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_ALREADY_EXISTS",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_BAD_REQUEST, _UNPROCESSABLE = 400, 422
_TOO_MANY, _SERVER_FAULT = 429, 500
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Shape:
    """How an error is told in one protocol.

    Attributes:
        body: the JSON, of the problem and the request's id.
        status: HTTP's.
        reason: the text beside the status, where a client shows nothing else; ``""``
            is HTTP's own.
    """

    body: Callable[[Problem, str], object]
    status: Callable[[Problem], int] = lambda problem: problem.status
    reason: Callable[[Problem], str] = lambda problem: ""

    def __call__(self, problem: Problem, request_id: str) -> object:
        """Return the JSON of an error."""
        return self.body(problem, request_id)


def _ours(problem: Problem, request_id: str) -> object:
    return problem.to_json(request_id)


def _text(problem: Problem, request_id: str) -> object:
    return {"error": _told(problem)}


def _openai(problem: Problem, request_id: str) -> object:
    kind = "invalid_request_error"
    if problem.status == _TOO_MANY:
        kind = "rate_limit_error"
    elif problem.status >= _SERVER_FAULT:
        kind = "server_error"
    return {
        "error": {
            "message": _told(problem),
            "type": kind,
            "param": problem.field or None,
            "code": problem.code,
        }
    }


def _mlflow(problem: Problem, request_id: str) -> object:
    fault = problem.status >= _SERVER_FAULT
    otherwise = "INTERNAL_ERROR" if fault else "BAD_REQUEST"
    code = _MLFLOW.get(problem.status, otherwise)
    return {"error_code": code, "message": _told(problem)}


def _status_of_dask(problem: Problem) -> int:
    return _UNPROCESSABLE if problem.status == _BAD_REQUEST else problem.status


def _reason_of_dask(problem: Problem) -> str:
    """Return the words as one short line of a header."""
    words = _told(problem)
    return "".join(c if " " <= c <= "~" else "?" for c in words[:_LONGEST_REASON])


def _told(problem: Problem) -> str:
    return f"{problem.message} {problem.hint}".rstrip()


ours = Shape(_ours)
"""What our own REST answers."""

text = Shape(_text)
"""What the Open Inference Protocol (V2) answers."""

dask_gateway = Shape(_text, _status_of_dask, _reason_of_dask)
"""What dask-gateway answers. Its client reads the text of 404, 409, 422 and 500 alone:
what was sent wrongly is 422 there, and of any other status it shows the reason."""

openai = Shape(_openai)
"""What OpenAI's API answers: its clients go by the status, and show this."""

mlflow = Shape(_mlflow)
"""What MLflow answers."""
