"""The JupyterLab extension's own tests, run by the Node that its build uses."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.checkout import CHECKOUT
from rigs.lab.large_files import large_files
from rigs.lab.preview_files import all_files

LAB = CHECKOUT / "extensions" / "lab"
# What ends a text of Python, or says something else in it.
NASTY = (
    *('"', "'", '"""', "'''", "\\", '\\"', "\n", "\r\n", "\t", "\x85", "\u2028"),
    *("\u202e", "\u200b", "\\N{BULLET}", "\\x41", "{x}", "%s", "#", "\U0001f40d"),
    *('"); import os; os.abort(); ("', "\x00", "\x7f", "\ufeff", "e\u0301"),
)
ENDINGS = ("", ".csv", ".txt", ".h5", ".parquet", ".json", "/", ".zarr/", "/zarr.json")
INSERT = """
import { insertable } from './lib/storage/drive/insert.js';
let text = '';
for await (const piece of process.stdin) text += piece;
const made = JSON.parse(text).map(key => insertable('alice', key));
console.log(JSON.stringify(made));
"""


def node() -> Path:
    """Node is in the environment that builds the extension, or in this one."""
    places = (Path(sys.prefix), Path(sys.prefix).parent / "build")
    return next(node for place in places if (node := place / "bin" / "node").exists())


def test_the_extensions_pure_modules(tmp_path: Path) -> None:
    for name, data in {**all_files(), **large_files()}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    done = subprocess.run(
        [
            node(),
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


@pytest.mark.parametrize("ending", ENDINGS)
def test_inserted_code_is_python_that_names_exactly_that_key(ending: str) -> None:
    keys = [
        f"{before}{nasty}{ending}" for nasty in NASTY for before in ("", "a", "b/c")
    ]
    made = subprocess.run(
        [
            node(),
            "--import",
            "./tests/resolve.mjs",
            "--input-type=module",
            "-e",
            INSERT,
        ],
        cwd=LAB,
        input=json.dumps(keys),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for key, code in zip(keys, json.loads(made), strict=True):
        nodes = list(ast.walk(ast.parse(code)))
        texts = {one.value for one in nodes if isinstance(one, ast.Constant)}
        store = key.removesuffix("/zarr.json")
        assert texts & {key, f"s3://alice/{key}", f"s3://alice/{store}"}, (key, code)
        assert "os" not in {one.id for one in nodes if isinstance(one, ast.Name)}
