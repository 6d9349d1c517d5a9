"""What doctor says of a listing that holds odd lines, on recorded answers."""

from __future__ import annotations

import pytest

from hub.run.doctor import judge_listing
from rigs.slurm.answers import RECORDED

LISTING = RECORDED / "squeue-listing.txt"
LISTING = LISTING.read_text().partition("\n")[2].strip()


@pytest.mark.parametrize(
    ("code", "text", "verdict", "said"),
    [
        (0, LISTING, "ok", "jobs listed"),
        (0, "", "ok", "0 jobs listed"),
        (0, f"{LISTING}\n4711|1003|odd", "warn", "4711"),
        (0, "<html>", "fail", "begins with no job"),
        (1, "slurm_load_jobs error: Socket timed out", "fail", "Socket timed out"),
        (1, "", "fail", "silent"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(
    code: int, text: str, verdict: str, said: str
) -> None:
    found = judge_listing(code, text)
    assert found.verdict == verdict
    assert said in found.text
