"""Programs of the server's own environment, for its notebooks and terminals.

A notebook's ``!jupyter`` is the one beside this server, as if its environment were
activated. A terminal is a login shell, and what the site and its user put on ``PATH``
comes first there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any  # jupyter_server's own application

# Shells of the family that understand what is given them here.
_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})
_LOGIN = 'export PATH="$PATH:$1"; exec "$0"'


def offer(
    server_app: Any,
    environment: MutableMapping[str, str] = os.environ,
    python: str = sys.executable,
) -> None:
    """Put the environment's programs where people look for them.

    Args:
        server_app: its terminals start as told here, unless its user chose a shell.
        environment: the server's own, which its kernels inherit.
        python: that the server runs.
    """
    place = str(Path(python).parent)
    path = environment.get("PATH", os.defpath)
    if place in path.split(os.pathsep):
        return
    environment["PATH"] = place + os.pathsep + path
    shell = environment.get("SHELL") or shutil.which("sh") or "/bin/sh"
    settings = dict(server_app.terminado_settings)
    if "shell_command" not in settings and Path(shell).name in _SHELLS:
        settings["shell_command"] = [shell, "-l", "-c", _LOGIN, shell, place]
        server_app.terminado_settings = settings
