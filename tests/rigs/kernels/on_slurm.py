"""Kernels as jobs of a private Slurm."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.kernels.kernels import KernelRig
from rigs.slurm.daemons import Rig


@contextlib.contextmanager
def kernel_rig(
    nodes: Rig,
    monkeypatch: pytest.MonkeyPatch,
    parent: Path = Path("/var/tmp"),
    **settings: object,
) -> Iterator[KernelRig]:
    """Kernels as jobs of a Slurm; this process's kernels as well."""
    path = Path(tempfile.mkdtemp(prefix="lbk-", dir=parent))
    slurm = {
        "scheduler": "slurm",
        "slurm_conf": nodes.environment["SLURM_CONF"],
        "munge_socket": nodes.munge_socket,
    }
    rig = KernelRig(path, {**slurm, **settings})
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    try:
        yield rig
    finally:
        rig.close()
        shutil.rmtree(path, ignore_errors=True)
