"""The JupyterLab extension's own tests, run by the Node that its build uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "extensions" / "lab"


def test_the_extensions_pure_modules() -> None:
    node = Path(sys.executable).parent / "node"
    done = subprocess.run(
        [
            node,
            "--import",
            "./tests/resolve.mjs",
            "--test",
            *LAB.glob("tests/*.test.mjs"),
        ],
        cwd=LAB,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
