"""Bounds and directions that no reviewer should have to watch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("hub", "spawners", "services", "extensions")
LONGEST_FUNCTION = 60
# Slurm's commands that change something; each may be spelled in these files only.
SLURM_COMMANDS = ("sbatch", "scancel", "squeue", "sacct", "sinfo", "scontrol")
MAY_SPELL_SLURM = (
    "spawners/batch/slurm*.py",
    "spawners/batch/launcher*.py",
    # Whether Slurm is there at all, and what the doctor asks of it.
    "hub/detect.py",
    "hub/doctor.py",
    "hub/schedulers.py",
    "spawners/kernel_settings.py",
)


def sources() -> list[Path]:
    found = [
        path
        for top in SHIPPED
        for path in sorted((ROOT / top).rglob("*.py"))
        if "node_modules" not in path.parts
    ]
    assert len(found) > 50
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_function_fits_in_a_head(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


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


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_slurms_own_modules_run_slurm(path):
    if any(path.match(f"*/{pattern}") for pattern in MAY_SPELL_SLURM):
        return
    texts = literals(ast.parse(path.read_text()))
    spelled = [text for text in texts if text in SLURM_COMMANDS]
    assert spelled == []


def test_imports_go_one_way():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_runs_in_jobs_needs_the_standard_library_only():
    """The agent and the launcher run under pythons where nothing is installed."""
    batch = ROOT / "spawners" / "batch"
    parts = ("job_log.py", "job_memory.py", "kernel_pipe.py")
    travels = [*batch.glob("agent*.py"), *(batch / name for name in parts)]
    names = {f"spawners.batch.{path.stem}" for path in travels}
    for path in [*travels, *batch.glob("launcher*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno} imports ours"
                modules = [node.module or ""]
            for module in modules:
                top = module.partition(".")[0]
                if module in names:
                    continue  # a part of the agent: they travel as one
                assert top in sys.stdlib_module_names, f"{path}:{node.lineno}: {top}"


def test_the_landbridge_command_starts_without_jupyterhub():
    code = "import sys, hub.cli; print('jupyterhub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_every_package_is_typed():
    for package in ("hub", "spawners", "services", "spawners/batch"):
        assert (ROOT / package / "py.typed").exists()


def test_no_placeholders_are_left():
    words = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
    for path in sources():
        text = path.read_text()
        assert not any(word in text for word in words), path
