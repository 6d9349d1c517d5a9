"""The JupyterLab extension's own tests, run by the Node that its build uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from large_files import large_files
from preview_files import all_files

LAB = Path(__file__).resolve().parents[2] / "extensions" / "lab"


def test_the_extensions_pure_modules(tmp_path: Path) -> None:
    for name, data in {**all_files(), **large_files()}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    # Node is in the environment that builds the extension, or in this one.
    places = (Path(sys.prefix), Path(sys.prefix).parent / "build")
    node = next(node for place in places if (node := place / "bin" / "node").exists())
    done = subprocess.run(
        [
            node,
            "--import",
            "./tests/resolve.mjs",
            "--test",
            *LAB.glob("tests/*.test.mjs"),
        ],
        cwd=LAB,
        env=os.environ | {"PREVIEW_FILES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
