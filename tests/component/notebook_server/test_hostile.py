"""Hostile input to the routes, and to kernelspecs."""

from __future__ import annotations

import json
import uuid

import pytest

HOSTILE = [
    "",
    "../../etc/passwd",
    "a\nb",
    "a\r\nSet-Cookie: x=1",
    "$(id)",
    "`id`",
    "'; rm -rf /",
    "--exclusive",
    "-p gpu",
    "%n",
    "\x00",
    "\x1b[31m",
    "é",
    "x" * 5000,
    "<script>alert(1)</script>",
    "1e9",
    "0x10",
    "NaN",
    "-1",
    "\u202e",
]
FIELDS = ["cpus", "memory", "gpus", "gpu_model", "time_limit", "partition", "account"]


def put(server, body, kernel=""):
    return server.api.put(
        f"landbridge/kernels/choices/{kernel or uuid.uuid4()}",
        content=body if isinstance(body, bytes) else json.dumps(body),
    )


@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_choice_is_refused_by_name(server, field):
    for value in [*HOSTILE[1:], -5, 2**70, 1.5, True, [], {}, [[]]]:
        answer = put(server, {field: value})
        if answer.status_code == 200:  # a plain word; "any" leaves it to the scheduler
            assert field in ("partition", "account", "gpu_model")
            assert value in ("1e9", "0x10", "NaN")
            continue
        assert answer.status_code == 400, (field, value, answer.text)
        error = answer.json()["error"]
        assert error["field"] == field
        assert "Traceback" not in answer.text
        assert len(answer.text) < 1000
    assert server.records == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"1",
        b'{"cpus": 1',
        b"\xff\xfe",
        b"[" * 9000,
        {"nodes": 2},
        {"script": "id"},
        {"environment": {"A": "b"}},
        {"__proto__": 1},
        {"profile": "../x"},
        {"profile": "nobody"},
        {"profile": "gpu", "gpus": 4},
        {"x" * 3000: 1},
    ],
    ids=lambda b: str(b)[:24],
)
def test_a_malformed_choice_is_refused(server, body):
    answer = put(server, body)
    if body == b"":
        assert answer.status_code == 200  # nothing chosen: what the dialog starts with
        return
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_choice_of_too_many_bytes_is_refused(server):
    assert put(server, {"cpus": "1" * 20_000}).status_code == 413


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_kernels_id_starts_nothing(server, name):
    answer = server.api.post(
        "api/kernels", json={"name": "python3.lb.cpu", "kernel_id": f"{name}/x"}
    )
    assert answer.status_code == 400
    assert server.records == []


def test_a_kernelspec_that_claims_resources_is_checked_at_its_start(server):
    claims = [
        {"profile": "gpu\n#SBATCH --exclusive"},
        {"cpus": "1; id"},
        {"options": ["--reservation=x"]},
        {"gpus": 99},
        {"profile": "custom", "gpus": 99},
        {"prologue": "id"},
    ]
    for number, config in enumerate(claims):
        directory = server.path / f"share/kernels/evil{number}"
        directory.mkdir(parents=True, exist_ok=True)
        metadata = {
            "kernel_provisioner": {
                "provisioner_name": "landbridge-batch",
                "config": config,
            }
        }
        (directory / "kernel.json").write_text(
            json.dumps(
                {
                    "argv": ["python", "{connection_file}"],
                    "display_name": "<img src=x>",
                    "language": "python",
                    "metadata": metadata,
                }
            )
        )
        kernel = server.start_kernel(f"evil{number}")
        view = server.wait_state(kernel, "dead")
        assert view["failure"]["title"], config
        assert view["job_id"] is None
        server.api.delete(f"api/kernels/{kernel}")
    assert server.records == []


def test_a_damaged_kernelspec_spoils_no_other(server):
    directory = server.path / "share/kernels/broken"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kernel.json").write_text('{"argv": ')
    specs = server.api.get("api/kernelspecs").json()["kernelspecs"]
    assert "python3.lb.cpu" in specs
    assert "broken" not in specs
