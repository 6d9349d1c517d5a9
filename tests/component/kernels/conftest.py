"""Kernels as local jobs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.kernels.kernels import KernelRig


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelRig]:
    """Kernels as jobs of this machine, with 2 simulated GPUs."""
    path = Path(tempfile.mkdtemp(prefix="lbk-", dir="/var/tmp"))
    rig = KernelRig(
        path, {"scheduler": "local", "local": {"gpus": 2, "gpu_model": "a100"}}
    )
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    try:
        yield rig
    finally:
        rig.close()
        shutil.rmtree(path, ignore_errors=True)
