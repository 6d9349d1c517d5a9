"""One private Slurm and one gateway on it for all tests of the product's faults."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.faults.site import FaultSite, fault_site
from rigs.slurm.cluster import Cluster


@pytest.fixture(scope="module")
def running_fault_site(slurm_rig: Cluster, people: object) -> Iterator[FaultSite]:
    """A gateway for one module; its alice and bob run their jobs on the rig."""
    directory = Path(tempfile.mkdtemp(prefix="lbf-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        slurm_rig.repair()
        slurm_rig.clear_jobs()
        with fault_site(directory, slurm_rig) as site:
            yield site
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def site(running_fault_site: FaultSite) -> Iterator[FaultSite]:
    """The gateway without servers and faults; at the end, nothing may be astray."""
    site = running_fault_site
    site.begin()
    yield site
    site.tools.repair()
    site.slurm.repair()
    if site.hub.process is None or site.hub.process.poll() is not None:
        site.hub.start()
    site.check()
    site.clear()
    site.check()
