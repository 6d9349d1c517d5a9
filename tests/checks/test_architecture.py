"""Bounds and directions that no reviewer should have to watch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.checkout import CHECKOUT

SHIPPED = ("hub", "spawners", "services", "extensions")
LONGEST_FUNCTION = 60
# Slurm's commands that change something; each may be spelled in these files only.
SLURM_COMMANDS = ("sbatch", "scancel", "squeue", "sacct", "sinfo", "scontrol")
MAY_SPELL_SLURM = (
    "spawners/batch/slurm/*.py",
    "spawners/batch/runners/launcher.py",
    # Whether Slurm is there at all, and what the doctor asks of it.
    "hub/config/site.py",
    "hub/run/doctor.py",
    "services/jobs/build.py",
    "spawners/kernels/settings.py",
)


def sources() -> list[Path]:
    found = [
        path
        for top in SHIPPED
        for path in sorted((CHECKOUT / top).rglob("*.py"))
        if "node_modules" not in path.parts
    ]
    assert len(found) > 50
    return found


def too_long(path: Path) -> Iterator[str]:
    """Yield each function of a module that is longer than it may be."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                where = f"{path.relative_to(CHECKOUT)}:{node.lineno}"
                yield f"{where}: {node.name} has {length} lines"


def test_a_function_fits_in_a_head():
    offenders = [line for path in sources() for line in too_long(path)]
    assert not offenders, "\n".join(offenders)


def literals(tree: ast.AST) -> list[str]:
    """Return the text constants of a module that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_only_slurms_own_modules_run_slurm():
    offenders = [
        f"{path.relative_to(CHECKOUT)} spells {text}"
        for path in sources()
        if not any(path.match(f"*/{pattern}") for pattern in MAY_SPELL_SLURM)
        for text in literals(ast.parse(path.read_text()))
        if text in SLURM_COMMANDS
    ]
    assert not offenders, "\n".join(offenders)


# Each has its contracts in its pyproject.toml, and lint-imports reads what lies there.
@pytest.mark.parametrize("place", (".", "extensions/lab"))
def test_imports_go_one_way(place):
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=CHECKOUT / place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_what_travels_to_nodes_needs_the_standard_library_only():
    """It runs under Python 3.6 where nothing is installed, without this package."""
    travels = [*(CHECKOUT / "spawners" / "node").rglob("*.py")]
    assert len(travels) > 10
    # Runs where its user has installed JupyterHub's own server, and starts that.
    in_users_environment = {"notebook_server.py", "server_rights.py"}
    there = {"jupyterhub", "jupyter_client", "jupyter_server", "tornado"}
    launcher = CHECKOUT / "spawners" / "batch" / "runners" / "launcher.py"
    for path in [*travels, launcher]:
        may = there if path.name in in_users_environment else set()
        for number, module in imported(path, (3, 8) if path == launcher else (3, 6)):
            if module.startswith("spawners.node."):
                continue  # they travel as one
            top = module.partition(".")[0]
            where = f"{path.relative_to(CHECKOUT)}:{number}: {module}"
            assert top in sys.stdlib_module_names or top in may, where


def imported(path: Path, python: tuple[int, int]) -> list[tuple[int, str]]:
    """Return the lines and full names of what a file for that Python imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), feature_version=python)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is relative to nothing there"
            found.append((node.lineno, node.module or ""))
    return found


def test_the_landbridge_command_starts_without_jupyterhub():
    code = "import sys, hub.cli; print('jupyterhub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_every_package_is_typed():
    for package in ("hub", "spawners", "services", "spawners/batch"):
        assert (CHECKOUT / package / "py.typed").exists()


def test_no_placeholders_are_left():
    words = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
    for path in sources():
        text = path.read_text()
        assert not any(word in text for word in words), path
