"""Errors in the words of each protocol, by path."""

from __future__ import annotations

import pytest

from services.common.web import shapes
from services.common.web.errors import Problem
from services.common.web.routes import ServiceSpec

PROBLEM = Problem(404, "not-found", "There is none.", "Look.", "body.model")
SPEC: ServiceSpec[object] = ServiceSpec(
    "toy", "Toy", "", (), {}, shapes=(("v1/", shapes.openai), ("v2/", shapes.text))
)


def test_each_protocol_has_its_own():
    assert shapes.ours(PROBLEM, "1") == PROBLEM.to_json("1")
    assert shapes.text(PROBLEM, "1") == {"error": "There is none. Look."}
    assert shapes.openai(PROBLEM, "1") == {
        "error": {
            "message": "There is none. Look.",
            "type": "invalid_request_error",
            "param": "body.model",
            "code": "not-found",
        }
    }
    assert shapes.mlflow(PROBLEM, "1") == {
        "error_code": "RESOURCE_DOES_NOT_EXIST",
        "message": "There is none. Look.",
    }


def test_dasks_client_reads_few_statuses_and_shows_reasons_of_all_others():
    wrong = Problem(400, "bad-request", "No\r\nsuch ü.", "x" * 999)
    assert shapes.dask_gateway.status(wrong) == 422
    assert shapes.dask_gateway.status(PROBLEM) == 404
    reason = shapes.dask_gateway.reason(wrong)
    assert reason.startswith("No??such ?. xxx")
    assert len(reason) == 300
    assert shapes.openai.reason(wrong) == ""


@pytest.mark.parametrize(
    ("status", "openai", "mlflow"),
    [
        (418, "invalid_request_error", "BAD_REQUEST"),
        (429, "rate_limit_error", "REQUEST_LIMIT_EXCEEDED"),
        (502, "server_error", "INTERNAL_ERROR"),
    ],
)
def test_a_status_without_a_word_has_the_nearest(status, openai, mlflow):
    problem = Problem(status, "odd", "Odd.")
    assert shapes.openai(problem, "1")["error"]["type"] == openai
    assert shapes.mlflow(problem, "1")["error_code"] == mlflow


def test_the_path_decides():
    assert SPEC.shape_at("v1/models") is shapes.openai
    assert SPEC.shape_at("v2/health/live") is shapes.text
    assert SPEC.shape_at("api/v1/endpoints") is shapes.ours
