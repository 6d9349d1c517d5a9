"""An environment that is carried: taken from a real one, restored without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from landbridge import environments
from landbridge.environments.installed import find_packages
from landbridge.environments.wheels import pack

CLIENT = Path(environments.__file__).parents[2]
RESTORE = CLIENT / "landbridge" / "environments" / "restore.py"
TOY = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "toy-model"
version = "1.2"
scripts = { toy = "toy_model:main" }
"""


def run(*command: object, **options: object) -> str:
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory):
    """Wheels of pytest and of all that it needs, from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in find_packages():
        if package.name in {"pytest", "pluggy", "iniconfig", "packaging", "pygments"}:
            pack(package, folder)
    return folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, wheelhouse):
    """An environment that has pytest; it is copied and never changed."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-index")
    run(*pip, "--find-links", wheelhouse, "pytest")
    return folder


@pytest.fixture
def environment(tmp_path, pristine):
    """The interpreter of such an environment of one's own."""
    shutil.copytree(pristine, tmp_path / "venv", symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


def take(python: Path, folder: Path, **keywords: object) -> dict[str, object]:
    """What ``environments.take`` gives in another interpreter."""
    code = (
        "import json, sys; from landbridge import environments\n"
        f"snapshot = environments.take({str(folder)!r}, **{keywords!r})\n"
        "print(json.dumps([snapshot.digest, snapshot.lock, snapshot.size]))"
    )
    answer = run(python, "-c", code, env={"PYTHONPATH": str(CLIENT), "PATH": "/bin"})
    return dict(zip(("digest", "lock", "size"), json.loads(answer), strict=True))


def test_what_is_restored_is_what_was_taken(environment, tmp_path):
    taken = take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    names = [line.split("==")[0] for line in str(taken["lock"]).splitlines()]
    assert names == ["iniconfig", "packaging", "pluggy", "pygments", "pytest"]
    python = environments.restore(tmp_path / "snapshot", tmp_path / "restored")
    versions = "import pytest, pluggy; print(pytest.__version__, pluggy.__version__)"
    assert run(python, "-c", versions) == run(environment, "-c", versions)
    assert run(python.with_name("pytest"), "--version").startswith("pytest ")
    before = python.stat().st_mtime_ns
    assert environments.restore(tmp_path / "snapshot", tmp_path / "restored") == python
    assert python.stat().st_mtime_ns == before


def test_equal_environments_have_equal_snapshots(environment, tmp_path):
    first, second = (take(environment, tmp_path / name) for name in ("a", "b"))
    assert first == second


def test_a_job_restores_with_that_one_file_alone(environment, tmp_path):
    take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    (tmp_path / "restore.py").write_bytes(RESTORE.read_bytes())
    python = run(
        sys.executable,
        "-I",
        tmp_path / "restore.py",
        tmp_path / "snapshot",
        tmp_path / "restored",
        cwd=tmp_path,
    )
    assert run(python, "-c", "import pytest; print(1)") == "1"


def test_a_wheel_that_was_changed_is_not_installed(environment, tmp_path):
    take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    wheel = next((tmp_path / "snapshot" / "wheels").glob("pluggy*"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("sitecustomize.py", "print('owned')")
    with pytest.raises(environments.CannotRestore, match=r"(?i)hash"):
        environments.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_another_python_is_refused_by_its_name(environment, tmp_path):
    take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    about = tmp_path / "snapshot" / "snapshot.json"
    about.write_text(
        about.read_text().replace(sys.implementation.cache_tag, "cpython-27")
    )
    with pytest.raises(environments.CannotRestore, match="cpython-27"):
        environments.restore(tmp_path / "snapshot", tmp_path / "restored")


def test_sources_that_are_edited_go_as_they_are_now(environment, tmp_path):
    sources = tmp_path / "toy"
    (sources / "toy_model").mkdir(parents=True)
    (sources / "pyproject.toml").write_text(TOY)
    module = sources / "toy_model" / "__init__.py"
    module.write_text("def main(): print('then')\n")
    run(environment, "-m", "pip", "install", "-q", "-e", sources)
    module.write_text("def main(): print('now')\n")
    take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    python = environments.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert run(python.with_name("toy")) == "now"


def test_all_that_cannot_be_carried_is_named_at_once(environment, tmp_path):
    packages = environment.parents[1] / "lib"
    (site,) = packages.glob("python*/site-packages")
    next(site.glob("iniconfig-*/RECORD")).unlink()
    (site / "pluggy" / "__init__.py").unlink()
    with pytest.raises(AssertionError) as caught:
        take(environment, tmp_path / "snapshot", leave_out=["pip", "setuptools"])
    words = str(caught.value)
    assert "iniconfig" in words
    assert "no record of its files" in words
    assert "pluggy" in words
    assert "is not whole" in words
    assert not (tmp_path / "snapshot").exists()
