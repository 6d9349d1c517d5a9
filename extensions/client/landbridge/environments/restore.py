"""Installs a snapshot, without a network; on a compute node this file runs alone.

::

    python3 restore.py SNAPSHOT TARGET

It needs nothing but Python's standard library, and uv or pip to install with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = "lock.txt"
ABOUT = "snapshot.json"
WHEELS = "wheels"

try:
    from .problems import CannotRestore
except ImportError:  # this file alone, in a job

    class CannotRestore(Exception):  # type: ignore[no-redef]
        """The snapshot cannot be installed here."""


def restore(
    snapshot: str | Path, target: str | Path, python: str = sys.executable
) -> Path:
    """Make an environment with exactly what the snapshot holds.

    One that is there already is taken as it is, so that the jobs of one node share it:
    it appears whole or not at all, whoever else makes it at the same time.

    Args:
        snapshot: the folder.
        target: the environment's folder, named by the snapshot's digest.
        python: an interpreter of the same version.

    Returns:
        The environment's own interpreter.

    Raises:
        CannotRestore: another version of Python, or wheels that the lock does not name.
    """
    snapshot, target = Path(snapshot).resolve(), Path(target).absolute()
    interpreter = target / "bin" / "python"
    if interpreter.exists():
        return interpreter
    _check_python(snapshot, python)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _install(snapshot, draft, python)
        _move_into_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return interpreter


def _check_python(snapshot: Path, python: str) -> None:
    try:
        wanted = json.loads((snapshot / ABOUT).read_text(encoding="utf-8"))[
            "implementation"
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotRestore(f"{snapshot} holds no snapshot: {error}") from error
    found = _run(
        [python, "-c", "import sys; print(sys.implementation.cache_tag)"]
    ).strip()
    if found != wanted:
        raise CannotRestore(f"The snapshot is of {wanted}, and {python} is {found}.")


def _install(snapshot: Path, draft: Path, python: str) -> None:
    lock, wheels = str(snapshot / LOCK), str(snapshot / WHEELS)
    offline = [
        "--no-index",
        "--find-links",
        wheels,
        "--no-deps",
        "--require-hashes",
        "-r",
        lock,
    ]
    if uv := shutil.which("uv"):
        _run(
            [
                uv,
                "venv",
                "--quiet",
                "--relocatable",
                "--allow-existing",
                "--python",
                python,
                str(draft),
            ]
        )
        if (snapshot / LOCK).stat().st_size:
            _run(
                [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    str(draft / "bin" / "python"),
                    *offline,
                ]
            )
        return
    _run([python, "-m", "venv", str(draft)])
    pip = [str(draft / "bin" / "python"), "-m", "pip"]
    if (snapshot / LOCK).stat().st_size:
        _run([*pip, "install", "--quiet", "--disable-pip-version-check", *offline])


def _move_into_place(draft: Path, target: Path) -> None:
    _mend_paths(draft, target)
    try:
        draft.rename(target)
    except OSError:
        if not (target / "bin" / "python").exists():  # somebody else was not first
            raise


def _mend_paths(draft: Path, target: Path) -> None:
    """Scripts name the interpreter by its path, which is another after the move."""
    old, new = os.fsencode(draft), os.fsencode(target)
    for script in (draft / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if old in content and b"\0" not in content:
            script.write_bytes(content.replace(old, new))


def _run(command: list[str]) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        # What a user has set for pip or Python is for her own environments.
        if not name.startswith(("PIP_", "UV_", "PYTHON")) and name != "VIRTUAL_ENV"
    }
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
    except OSError as error:
        raise CannotRestore(f"{command[0]} cannot be run: {error.strerror}") from error
    if result.returncode:
        words = (result.stderr or result.stdout).strip()[-2000:]
        raise CannotRestore(f"{' '.join(command[:4])} failed: {words}")
    return result.stdout


if __name__ == "__main__":
    try:
        print(restore(*sys.argv[1:]))  # noqa: T201 (a program's answer)
    except CannotRestore as problem:
        sys.exit(str(problem))
