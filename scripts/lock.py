"""Write the lock files: the newest releases that pyproject.toml allows, with hashes.

Run by ``make lock``. One file per environment of ``bootstrap.py``, good for every
platform and Python from 3.11 on. No index address is written into them, so that a
site's mirror works unchanged.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What builds this checkout, installed beforehand: no build reaches for the network.
BUILD = "hatchling>=1.27\neditables>=0.5\n"
HUB = ["--extra", "hub", "--extra", "services", "--extra", "postgresql"]
TEST = ["--extra", "server", "--extra", "kernels", "--group", "test", "--group", "lint"]
# The tests' environment comes first: the others get the versions that were tested.
SERVER = ["--extra", "server", "--extra", "kernels", "--extra", "notebook"]
PLAN = {
    "test": HUB + TEST,
    "hub": HUB,
    "server": SERVER,
    "clients": None,
    "build": None,
}
# What the tests run in kernels of their own has versions of its own, too.
APART = ("test", "clients", "build")
# Not as tested: s3fs of a user's kernel wants a certain version of each.
_OTHER = {"server": ("boto3", "botocore")}


def only_requirements(name):
    """Return the lines of an environment that has nothing of the project's."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = project["dependency-groups"].get(name)
    if lines is None:
        lines = project["project"]["optional-dependencies"][name]
    return "\n".join(lines) + "\n"


def pins_in(text, leave_out):
    """Yield "name==version ; marker" for each package of a lock file."""
    for line in text.splitlines():
        pin = line.removesuffix("\\").strip()
        is_pin = "==" in pin and not line.startswith((" ", "#"))
        if is_pin and pin.partition("==")[0] not in leave_out:
            yield pin


def lock(name, options):
    """Resolve one environment and write ``scripts/locks/<name>.txt``."""
    target = ROOT / "scripts" / "locks" / f"{name}.txt"
    extra = BUILD if options is not None else only_requirements(name)
    sources = ["pyproject.toml", "-"] if options is not None else ["-"]
    command = ["uv", "pip", "compile", "--quiet", "--upgrade", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-annotate"]
    command += ["--no-header", *sources, *(options or []), "-o", str(target)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as tested:
        if name not in APART:
            text = target.with_name("test.txt").read_text()
            tested.writelines(f"{pin}\n" for pin in pins_in(text, _OTHER.get(name, ())))
            tested.flush()
            command += ["--constraint", tested.name]
        subprocess.run(command, check=True, cwd=ROOT, input=extra.encode())
    pinned = sum("==" in line for line in target.read_text().splitlines())
    print(f"{target.relative_to(ROOT)}: {pinned} packages")


if __name__ == "__main__":
    for environment, choices in PLAN.items():
        if not sys.argv[1:] or environment in sys.argv[1:]:
            lock(environment, choices)
