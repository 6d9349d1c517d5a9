"""What a test leaves behind does not reach the next one."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slurm]


def test_a_node_that_slurm_drained_for_a_doubled_id_takes_jobs_again(slurm):
    slurm.admin(
        *("scontrol", "update", "NodeName=n4", "State=DRAIN"),
        "Reason=Duplicate jobid",
    )
    slurm.repair()
    assert "n4" not in slurm.admin("sinfo", "-hR", "-o", "%N|%E")
