"""Which reason a dead kernel keeps, when several are told one after the other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spawners.batch.explain.failure import Failure
from spawners.batch.models import Resources
from spawners.kernels.server.kernel import KernelPhase, LandbridgeServerKernelManager

IDLE = Failure("Ended because it was idle", "The kernel computed nothing for 1 h.")
KILLED = Failure("Killed", "The kernel was killed.")
MEMORY = Failure("Out of memory", "The job used more memory than it may.")


class OfJob(LandbridgeServerKernelManager):
    """A kernel whose job's status a test says."""

    job_phase, failed = "running", None

    @property
    def status(self):
        return SimpleNamespace(
            phase=self.job_phase,
            failure=self.failed,
            job=SimpleNamespace(id="7"),
            resources=Resources(),
        )

    def job_ends(self, failure):
        self.job_phase, self.failed = "ended", failure
        self._look()  # what a change of its job calls


@pytest.fixture
def kernel():
    kernel = OfJob()
    kernel.set_phase(KernelPhase.RUNNING)
    return kernel


async def test_the_end_of_its_job_explains_a_kernel_that_was_killed_first(kernel):
    kernel.die(KILLED)
    kernel.job_ends(MEMORY)
    assert (kernel.phase, kernel.failure) == (KernelPhase.DEAD, MEMORY)


async def test_an_end_of_ours_is_not_called_a_kill(kernel):
    await kernel.end_job(IDLE)
    # Ending the job kills the kernel's process, which its node may still tell.
    kernel.job_ends(KILLED)
    assert (kernel.phase, kernel.failure) == (KernelPhase.DEAD, IDLE)
    assert kernel.lost_job_id == "7"


async def test_a_kernel_that_was_started_again_is_explained_anew(kernel):
    await kernel.end_job(IDLE)
    kernel.job_phase, kernel.failed = "running", None
    kernel.set_phase(KernelPhase.RUNNING)
    kernel.job_ends(MEMORY)
    assert kernel.failure == MEMORY
