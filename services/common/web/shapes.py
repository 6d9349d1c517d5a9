"""How errors look to clients that nobody here wrote: a shape for each protocol.

A service says by paths which protocol it speaks where; all else gets ours. The id of
the request is in the header of every answer, so a shape holds it only if it can.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import Problem

Shape = Callable[[Problem, str], object]
"""Returns the JSON of an error, of the problem and the request's id."""

_MLFLOW = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_ALREADY_EXISTS",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_TOO_MANY, _SERVER_FAULT = 429, 500


def ours(problem: Problem, request_id: str) -> object:
    """Return what our own REST answers."""
    return problem.to_json(request_id)


def text(problem: Problem, request_id: str) -> object:
    """Return what dask-gateway and the Open Inference Protocol (V2) answer."""
    return {"error": _told(problem)}


def openai(problem: Problem, request_id: str) -> object:
    """Return what OpenAI's API answers: its clients go by the status, and show this."""
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


def mlflow(problem: Problem, request_id: str) -> object:
    """Return what MLflow's scoring server answers."""
    fault = problem.status >= _SERVER_FAULT
    otherwise = "INTERNAL_ERROR" if fault else "BAD_REQUEST"
    code = _MLFLOW.get(problem.status, otherwise)
    return {"error_code": code, "message": _told(problem)}


def _told(problem: Problem) -> str:
    return f"{problem.message} {problem.hint}".rstrip()
