"""Which ports the edge listens on, and whether they are to be had."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from spawners.common.files import write_whole
from spawners.common.ownership import own_directory

from .paths import database_url
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


def host_and_port(address: str, port: int) -> str:
    """Return ``host:port`` as HAProxy writes it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def jobs_port(settings: Settings, address: str) -> int:
    """Return the port of the jobs' frontend: the set one, else one chosen for good.

    Jobs that run hold its number, so what was chosen is kept in the state directory
    and used by every later hub. The public port plus one, if that is free.
    """
    return settings.jobs.port or _kept_port(settings, "jobs", address, 1)


def forget_ports(settings: Settings) -> bool:
    """Have the ports that were not set be chosen anew, if no job may hold one.

    Returns:
        False if one may: a job that runs reports to the port that it was told.
    """
    if _jobs_may_live(settings):
        return False
    _file(settings).unlink(missing_ok=True)
    return True


def _jobs_may_live(settings: Settings) -> bool:
    url = database_url(settings, "jobs")
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///"):
        return True  # it is somewhere else, and not asked before the hub runs
    if not path.exists():
        return False
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        ) as db:
            row = db.execute(
                "SELECT 1 FROM landbridge_jobs WHERE phase IN ('intent', 'submitted')"
            ).fetchone()
    except sqlite3.Error:
        return True
    return row is not None


def _kept_port(settings: Settings, name: str, address: str, offset: int) -> int:
    path = _file(settings)
    own_directory(path.parent)
    with _alone(path.with_suffix(".lock")):
        try:
            kept = dict(json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            kept = {}
        if not isinstance(kept.get(name), int):
            port = settings.hub.port + offset
            if port > 65_535 or port_problem(address, port):
                port = _free_port(address)
            kept[name] = port
            write_whole(path, json.dumps(kept))
    return int(kept[name])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock: processes that start at the same time choose one port."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _file(settings: Settings) -> Path:
    return settings.state / "run" / "ports.json"


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
