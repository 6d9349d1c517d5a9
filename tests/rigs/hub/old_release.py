"""An older release of this gateway, installed as it was, beside today's.

Its source is recorded in ``recorded/`` and not taken from the history, which a copy of
this repository may lack. To record another one, from a checkout with its history::

    python tests/rigs/hub/old_release.py COMMIT

All that it imports besides itself comes from the environment of the tests.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path

_RECORDED = Path(__file__).parent / "recorded"
# What runs; neither its tests nor the sources of its pages.
_RUNS = (
    "config",
    "extensions/client",
    "extensions/lab/landbridge_lab",
    "extensions/lab/pyproject.toml",
    "hub",
    "pyproject.toml",
    "services",
    "spawners",
)
# From where Python imports it, and the projects that its entry points belong to.
_IMPORTED = (".", "extensions/client", "extensions/lab")


def archive(commit: str) -> Path:
    """Return the recorded source of a release, named by its short commit."""
    return _RECORDED / f"landbridge-{commit}.tar.xz"


class OldRelease:
    """A release in a directory of its own, with an interpreter that has it installed.

    Attributes:
        checkout: its source.
        prefix: its environment, for hub and users alike.
        python: the interpreter of that.
    """

    def __init__(self, commit: str, directory: Path) -> None:
        """Install a recorded release below ``directory``, which is made."""
        self.checkout = directory / "checkout"
        self.prefix = directory / "env"
        self.python = str(self.prefix / "bin" / "python")
        with tarfile.open(archive(commit)) as source:
            # Python 3.11 gained it late, and later ones warn without it.
            source.extraction_filter = getattr(tarfile, "data_filter", None)
            source.extractall(self.checkout)
        venv.create(self.prefix, symlinks=True)
        packages = self._packages()
        packages.mkdir(parents=True, exist_ok=True)
        for folder in _IMPORTED:
            _write_metadata(self.checkout / folder / "pyproject.toml", packages)
        # The first that holds a module or a project has it: not today's, further down.
        places = [self.checkout / folder for folder in _IMPORTED]
        lines = [*map(str, places), sysconfig.get_path("purelib")]
        (packages / "old-release.pth").write_text("\n".join(lines))
        # Settings and files of Jupyter's, and the embedded store's program.
        for name in ("etc", "share", "bin/weed"):
            (self.prefix / name).symlink_to(Path(sys.prefix) / name)

    def _packages(self) -> Path:
        where = {"base": str(self.prefix), "platbase": str(self.prefix)}
        return Path(sysconfig.get_path("purelib", "venv", vars=where))


def _write_metadata(project_file: Path, packages: Path) -> None:
    """Tell Python of a project what installing it does: its name and entry points."""
    project = tomllib.loads(project_file.read_text())["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    metadata = packages / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    )
    sections = []
    for group, points in project.get("entry-points", {}).items():
        lines = [f"{point} = {target}" for point, target in points.items()]
        sections.append("\n".join([f"[{group}]", *lines, ""]))
    (metadata / "entry_points.txt").write_text("\n".join(sections))


def record(commit: str) -> Path:
    """Record a commit's source; return the file."""
    git = ["git", "-C", str(Path(__file__).parents[3])]
    short = subprocess.run(
        [*git, "rev-parse", "--short=7", commit], check=True, capture_output=True
    )
    file = archive(short.stdout.decode().strip())
    source = subprocess.run(
        [*git, "archive", commit, *_RUNS], check=True, capture_output=True
    )
    file.write_bytes(lzma.compress(source.stdout, preset=9 | lzma.PRESET_EXTREME))
    return file


if __name__ == "__main__":
    print(record(sys.argv[1]))
