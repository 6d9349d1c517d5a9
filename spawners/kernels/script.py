"""A kernel job's script: the site's prologue, public facts, and the launcher's text.

Nothing has to be on the node but a shell and a Python: the text is a here-document
that the interpreter reads as a file, and takes the shell's place, so that the
scheduler's signals reach it.
"""

from __future__ import annotations

import base64
import json
import shlex
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

from spawners import node
from spawners.batch.errors import InvalidSpec

_MODULES = (
    "memory",
    "output",
    "proof",
    "kernel_pipe",
    "kernel.tunnel",
    "kernel.link",
    "kernel.process",
    "kernel.channels",
    "kernel.iopub_buffer",
    "kernel.credentials",
    "kernel.launcher",
)
_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python", "python3")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a kernel job is told in its script. All of it is public.

    Attributes:
        name: the job's random name.
        addresses: where home may be reached, tried in this order.
        port: home's port.
        fingerprint: SHA-256 of home's certificate, lower-case hex.
        proof: ``"munge"`` or ``"token"``.
        munge_socket: munged's socket on the nodes, ``""`` for the standard one.
        patience: seconds to try to reach home.
        ports: first and last port that the launcher may take, ``None`` for any.
    """

    name: str
    addresses: tuple[str, ...]
    port: int
    fingerprint: str
    proof: str
    munge_socket: str = ""
    patience: float = 300.0
    ports: tuple[int, int] | None = None


def render_kernel_script(
    facts: Facts, *, prologue: Sequence[str] = (), python: str = ""
) -> str:
    """Return the batch script of a kernel's job.

    Args:
        facts: what it is told.
        prologue: shell lines of the site's operator.
        python: the launcher's interpreter on the nodes, 3.6 or newer; ``""`` for
            the first of the usual ones.

    Raises:
        InvalidSpec: a line of the prologue holds a NUL byte.
    """
    if any("\0" in line for line in prologue):
        raise InvalidSpec("prologue", "must hold no NUL byte.")
    told = json.dumps(asdict(facts), separators=(",", ":"))
    choices = shlex.quote(python) if python else " ".join(_PYTHONS)
    return "\n".join(
        [
            "#!/bin/bash",
            "# Written by Landbridge. Public facts only: others may read it.",
            *prologue,
            f"export LANDBRIDGE_KERNEL={shlex.quote(told)}",
            "exec 3<<'LANDBRIDGE-END'",
            travelling_program(),
            "LANDBRIDGE-END",
            f"for python in {choices}; do",
            '  if command -v "$python" >/dev/null; then',
            '    exec "$python" -I /dev/fd/3 </dev/null',
            "  fi",
            "done",
            'echo "Landbridge: there is no Python 3 on this node." >&2',
            "exit 127",
            "",
        ]
    )


@cache
def travelling_program() -> str:
    """Return a program that makes the launcher's modules from their texts.

    Read once: what is installed may be replaced by another release while we run.
    """
    modules = [
        (f"{node.__name__}.{name}", _text(name.replace(".", "/"))) for name in _MODULES
    ]
    packed = base64.b64encode(zlib.compress(json.dumps(modules).encode(), 9)).decode()
    lines = "\n".join(textwrap.wrap(packed, 100))
    return (
        "import base64, json, sys, types, zlib\n"
        f'packed = """\n{lines}\n"""\n'
        "for name, text in json.loads(zlib.decompress(base64.b64decode(packed))"
        '.decode("utf-8")):\n'
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    exec(compile(text, name, 'exec'), sys.modules[name].__dict__)\n"
        "sys.exit(sys.modules[name].main())"
    )


def _text(name: str) -> str:
    return resources.files(node).joinpath(f"{name}.py").read_text("utf-8")
