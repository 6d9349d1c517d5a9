"""Private Slurms, started once per session or for one test."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from rigs.places import open_directory
from rigs.slurm.cluster import Cluster
from rigs.slurm.machines import Machines

AnyRig = TypeVar("AnyRig", Cluster, Machines)
_CGROUPS_IN_USE = Path("/var/tmp/landbridge-test-cgroups.lock")
_DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")


def _need_daemons() -> None:
    search = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
    missing = [name for name in _DAEMONS if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: slurm-wlm slurmdbd ...)")


@contextlib.contextmanager
def _running(rig: AnyRig) -> Iterator[AnyRig]:
    try:
        rig.up()
        yield rig
    finally:
        rig.down()


@pytest.fixture(scope="session")
def slurm_rig(homes: object) -> Iterator[Cluster]:
    """One private Slurm for the whole session; see :mod:`rigs.slurm.cluster`."""
    _need_daemons()
    with open_directory() as path, _running(Cluster(path)) as rig:
        yield rig


@pytest.fixture
def slurm(slurm_rig: Cluster) -> Iterator[Cluster]:
    """The session's Slurm, without jobs and without faults before and after."""
    slurm_rig.repair()
    slurm_rig.clear_jobs()
    yield slurm_rig
    slurm_rig.repair()
    slurm_rig.clear_jobs()


@pytest.fixture
def slurm_cgroups(homes: object) -> Iterator[Cluster]:
    """A Slurm that ends jobs over their memory OUT_OF_MEMORY. Marked ``root``."""
    _need_daemons()
    # The machine has one tree of cgroups; another process's tests wait for it.
    with _CGROUPS_IN_USE.open("w") as lock, open_directory() as path:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _running(Cluster(path, cgroups=True)) as rig:
            yield rig


@pytest.fixture(scope="session")
def machines_rig(homes: object) -> Iterator[Machines]:
    """One Slurm of three machines for the whole session. Marked ``root``."""
    _need_daemons()
    with open_directory() as path, _running(Machines(path)) as rig:
        yield rig


@pytest.fixture
def machines(homes: object) -> Iterator[Machines]:
    """A Slurm of three machines with networks of their own. Marked ``root``."""
    _need_daemons()
    with open_directory() as path, _running(Machines(path)) as rig:
        yield rig
