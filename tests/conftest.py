"""Fixtures that every test may use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster

_DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")


@pytest.fixture(scope="session")
def slurm_rig() -> Iterator[Cluster]:
    """One private Slurm for the whole session; see tests/slurm/cluster.py."""
    search = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
    missing = [name for name in _DAEMONS if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: slurm-wlm slurmdbd ...)")
    # Not tmp_path: every test user must reach it, and socket paths are short.
    path = Path(tempfile.mkdtemp(prefix="lbslurm-", dir="/var/tmp"))
    rig = Cluster(path)
    try:
        yield rig.up()
    finally:
        rig.down()
        shutil.rmtree(path)


@pytest.fixture
def slurm(slurm_rig: Cluster) -> Iterator[Cluster]:
    """The session's Slurm, without jobs and without faults before and after."""
    slurm_rig.repair()
    slurm_rig.clear_jobs()
    yield slurm_rig
    slurm_rig.repair()
    slurm_rig.clear_jobs()
