"""The process of the jobs service, as ``landbridge jobs`` runs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from services.common.listening import run_until_stopped

from .build import build_parts
from .core import NAME, serve
from .settings import JobsConfig


def run(config: JobsConfig, socket: Path) -> None:
    """Serve at ``socket`` until SIGTERM or SIGINT; the jobs go on.

    Raises:
        SocketTaken: another jobs service, or a hub with jobs of its own, runs here.
        GatewayError, NotOurs: it cannot begin; an operator has to act.
    """
    run_until_stopped(NAME, partial(serve, build_parts(config), socket))
