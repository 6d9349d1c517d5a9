"""Which ports the edge listens on, and whether they are to be had."""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path

from .settings import Settings


def port_problem(address: str, port: int) -> str:
    """Return why nobody can listen at ``address:port`` now, or ``""``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            # Another listener with SO_REUSEADDR shows only when one listens.
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} on {address} is in use"
            if error.errno == errno.EACCES:
                return f"port {port} needs root"
            return f"cannot listen on {address}, port {port}: {error.strerror}"
    return ""


def jobs_port(settings: Settings, address: str) -> int:
    """Return the port of the jobs' frontend: the set one, else one chosen for good.

    Jobs that run hold its number, so what was chosen is kept in the state directory
    and used by every later hub. The public port plus one, if that is free.
    """
    if settings.jobs.port:
        return settings.jobs.port
    path = _file(settings)
    try:
        return int(json.loads(path.read_text(encoding="ascii"))["jobs"])
    except (OSError, ValueError, KeyError, TypeError):
        port = settings.hub.port + 1
        if port > 65_535 or port_problem(address, port):
            port = _free_port(address)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps({"jobs": port}), encoding="ascii")
    return port


def forget_jobs_port(settings: Settings) -> None:
    """Have the next :func:`jobs_port` choose anew."""
    _file(settings).unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    return settings.state / "run" / "ports.json"


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
