"""Build the parts of this checkout that go into users' environments, as wheels.

A user's server and kernels run in an environment that holds no path into this
checkout: other accounts may not be able to read it. Each wheel is built once for what
its sources are, with the tools of the ``build`` environment (Node among them).
Standard library only, like ``bootstrap.py``, which is its one caller.
"""

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LAB = "extensions/lab/"
# What the gateway's own pages show of the JupyterLab extension, and what it is made of.
PAGES = ROOT / "services" / "storage" / "static"
_PANELS = tuple(
    _LAB + part
    for part in ("package-lock.json", "package.json", "scripts", "src", "style")
)
# Project name to its folder and to what of it is built in.
PROJECTS = {
    "server": (
        ROOT,
        ("hub", "spawners", "services", "pyproject.toml", "README.md", *_PANELS),
    ),
    "panels": (ROOT, _PANELS),
    "client": (ROOT / "extensions" / "client", (".",)),
    "lab": (ROOT / "extensions" / "lab", (".",)),
}
# Which environment gets which of them.
WHEELS = {"server": ("server", "client", "lab"), "test": ("client", "lab")}
_GENERATED = {
    "__pycache__",
    "build",
    "dist",
    "lib",
    "labextension",
    "node_modules",
    "tests",
}


def _files(project):
    """Yield the source files of a project, in order."""
    folder, parts = PROJECTS[project]
    for part in parts:
        path = folder / part
        if path.is_file():
            yield path
        for place, folders, names in os.walk(str(path)):
            folders[:] = sorted(
                name
                for name in folders
                if name not in _GENERATED and Path(place) / name != PAGES
            )
            for name in sorted(names):
                if not name.endswith((".pyc", ".tsbuildinfo")):
                    yield Path(place) / name


def source_hash(project):
    """Return a hash of all that a project's wheel is built from."""
    digest = hashlib.sha256()
    for path in _files(project):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def wheel_of(project, directory):
    """Return the built wheel for what the sources are now, ``None`` before that."""
    place = directory / "wheels" / (project + "-" + source_hash(project))
    return next(iter(place.glob("*.whl")), None)


def build(project, directory, run_logged, log):
    """Return a project's wheel, building it unless it is there.

    Raises what ``run_logged`` raises when a tool fails; its words are in ``log``.
    """
    found = wheel_of(project, directory)
    if found is not None:
        return found
    tools = directory / "build" / "bin"
    place = directory / "wheels" / (project + "-" + source_hash(project))
    path = str(tools) + os.pathsep + os.environ.get("PATH", "/usr/bin:/bin")
    command = ["/usr/bin/env", "PATH=" + path, tools / "python", "-I", "-m", "pip"]
    command += ["wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run_logged([*command, "--wheel-dir", place, PROJECTS[project][0]], log)
    found = wheel_of(project, directory)
    if found is None:
        raise subprocess.CalledProcessError(1, "pip wheel " + project)
    return found


def pages_are_current():
    """True if what the pages show was built from what the sources are now."""
    try:
        return (PAGES / ".source").read_text() == source_hash("panels")
    except OSError:
        return False


def build_pages(directory, run_logged, log):
    """Build what the gateway's own pages show, unless it is there.

    It goes into this checkout, from where the hub's environment runs, and from there
    into the server's wheel. Raises what ``run_logged`` raises when a tool fails.
    """
    if pages_are_current():
        return
    tools = directory / "build" / "bin"
    path = str(tools) + os.pathsep + os.environ.get("PATH", "/usr/bin:/bin")
    command = ["/usr/bin/env", "PATH=" + path]
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts"]
    run_logged([*command, "npm", "--prefix", ROOT / _LAB, "install", *quiet], log)
    run_logged([*command, "node", ROOT / _LAB / "scripts" / "pages.mjs", PAGES], log)
    (PAGES / ".source").write_text(source_hash("panels"))
