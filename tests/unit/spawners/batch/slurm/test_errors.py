"""Complaints of Slurm's commands, recorded, and what they mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs.slurm.answers import RECORDED
from spawners.batch import errors
from spawners.batch.slurm import errors as slurm_errors

_BLOCK = re.compile(r"^= (.*): (\w+) (\S+)\n((?:(?!= ).*\n)*)", re.MULTILINE)
_FILE = RECORDED / "stderr.txt"
BLOCKS = [found.groups() for found in _BLOCK.finditer(_FILE.read_text())]


def meaning(command: str, stderr: bytes) -> errors.BatchError | None:
    if command.startswith(("sbatch", "sudo")):
        return slurm_errors.submit_error(stderr)
    if command.startswith("scancel"):
        return slurm_errors.cancel_error(stderr)
    return slurm_errors.query_error("squeue", stderr)


@pytest.mark.parametrize(
    ("command", "expected", "field", "stderr"), BLOCKS, ids=[b[0] for b in BLOCKS]
)
def test_recorded_complaints_are_understood(command, expected, field, stderr):
    error = meaning(command, stderr.encode())
    if expected == "over":
        assert error is None
        return
    assert type(error).__name__ == expected
    assert getattr(error, "field", "") == field.strip("-")


@pytest.mark.parametrize(
    ("command", "expected", "field", "stderr"), BLOCKS, ids=[b[0] for b in BLOCKS]
)
def test_a_warning_before_the_complaint_changes_nothing(
    command, expected, field, stderr
):
    noise = b"sudo: unable to resolve host login1: Name or service not known\n"
    error = meaning(command, noise + stderr.encode())
    assert (type(error).__name__ if error else "over") == expected


def test_a_refusal_carries_the_words_of_the_sites_own_plugin():
    stderr = dict((b[0], b[3]) for b in BLOCKS)["sbatch, a job_submit plugin says no"]
    error = slurm_errors.submit_error(stderr.encode())
    assert "Please name a project with --account." in error.hint


def test_words_are_shown_printable_and_short():
    error = slurm_errors.submit_error(b"x\x1b[31m\0\xff" * 10_000)
    assert error.message.isprintable()
    assert len(error.message) < 600


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (b"", False),
        (b"sudo: unable to resolve host login1\n", False),
        (b"squeue: error: Invalid user: nosuchuser\n\n", True),
        (b"slurm_load_jobs error: x\n", True),
        (b"squeue: fatal: x\n", True),
    ],
)
def test_a_success_with_an_error_on_stderr_is_noticed(stderr, expected):
    assert slurm_errors.complains(stderr) is expected


@given(st.binary(max_size=300))
def test_any_complaint_has_a_meaning(stderr):
    assert isinstance(slurm_errors.submit_error(stderr), errors.BatchError)
    assert isinstance(slurm_errors.query_error("sacct", stderr), errors.BatchError)
    error = slurm_errors.cancel_error(stderr)
    assert error is None or isinstance(error, errors.BatchError)
