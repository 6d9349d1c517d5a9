"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from rig import make_accounts

_DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``root`` where we are not root."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: other users' processes")


@pytest.fixture(scope="session")
def people() -> tuple[str, str]:
    """The accounts alice and bob, with home directories. For tests marked root."""
    make_accounts()
    return "alice", "bob"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every account can enter, which ``tmp_path`` is not."""
    path = Path(tempfile.mkdtemp(prefix="lbtest-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


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
