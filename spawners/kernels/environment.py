"""What a kernel gets of its server: its command, and no more variables than it needs.

A notebook server starts kernels with a copy of its own environment, the hub's token
included. A kernel in another job gets what its kernelspec sets, what differs from
the server's own variables, and those that the site passes on by name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

# Never, however it is asked for: the hub's and the server's secrets, and facts of
# the server's own job, which would mislead the kernel's.
_NEVER = re.compile(
    r"(JUPYTERHUB_|CONFIGPROXY_|JUPYTER_TOKEN|JUPYTER_SERVER_|JPY_(?!SESSION_NAME\Z)"
    r"|LANDBRIDGE_|SLURM|SBATCH_|SRUN_|PMIX?_|CUDA_VISIBLE_DEVICES|ROCR_VISIBLE"
    r"|PYTHONEXECUTABLE|XDG_RUNTIME_DIR|TMPDIR\Z|HOSTNAME\Z|PWD\Z|OLDPWD\Z|_\Z)"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_PYTHON = re.compile(r"python(3(\.\d+)?)?\Z")
_PLACE = re.compile(r"\{([A-Za-z0-9_]+)\}")


def kernel_environment(
    asked: Mapping[str, str],
    own: Mapping[str, str],
    spec: Iterable[str],
    passed: Sequence[str],
) -> dict[str, str]:
    """Return the variables that travel to a kernel.

    Args:
        asked: what jupyter_client would start it with.
        own: this process's variables.
        spec: names that the kernelspec sets.
        passed: names, ``*`` at the end for any rest, that are passed on.
    """
    wanted = set(spec)
    return {
        name: value
        for name, value in asked.items()
        if _NAME.match(name)
        and not _NEVER.match(name)
        and "\0" not in value
        and (
            name in wanted
            or own.get(name) != value
            or any(fnmatchcase(name, pattern) for pattern in passed)
        )
    }


def kernel_argv(
    spec_argv: Sequence[str],
    extra: Sequence[str],
    resource_dir: str,
    arguments: Mapping[str, object],
) -> list[str]:
    """Return a kernel's command as it shall run on the node.

    ``python`` becomes the interpreter of the environment that the kernelspec is
    installed in, by its absolute path, else this process's own: the node has no
    reason to find the same one by itself. ``{connection_file}`` is left for the
    launcher.

    Args:
        spec_argv: of the kernelspec.
        extra: further arguments.
        resource_dir: the kernelspec's directory.
        arguments: values for other ``{places}``.
    """
    command = [*spec_argv, *extra]
    if command and _PYTHON.match(command[0]):
        command[0] = _interpreter(resource_dir)
    places = {"prefix": sys.prefix, "resource_dir": resource_dir, **arguments}
    places.pop("connection_file", None)

    def fill(found: re.Match[str]) -> str:
        return str(places.get(found[1], found[0]))

    return [_PLACE.sub(fill, word) for word in command]


def _interpreter(resource_dir: str) -> str:
    place = Path(resource_dir)
    if place.parts[-4:-1] == ("share", "jupyter", "kernels"):
        candidate = place.parents[3] / "bin" / "python"
        if os.access(candidate, os.X_OK):
            return str(candidate)
    return sys.executable
