"""A private PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Path]:
    """A private PostgreSQL; the directory of its socket."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binary = str(found[-1]) if found else shutil.which("initdb")
    if binary is None:
        pytest.skip("needs PostgreSQL's initdb (Debian: postgresql)")
    # The server refuses to run as root. Socket paths are short, so not tmp_path.
    place = Path(tempfile.mkdtemp(prefix="lbpg-", dir="/var/tmp"))
    as_user = {"user": "postgres", "cwd": place} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(place, "postgres")
    tools = Path(binary).parent
    data = place / "data"

    def run(tool: str, *argv: str) -> None:
        subprocess.run(
            [tools / tool, *argv],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            **as_user,
        )

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "test", "-E", "UTF8")
        options = f"-c listen_addresses='' -k {place} -c fsync=off"
        log = str(place / "log")
        run("pg_ctl", "-D", str(data), "-l", log, "-o", options, "-w", "start")
        try:
            yield place
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(place)


@pytest.fixture
def postgresql_url(postgresql: Path) -> str:
    """An empty database on the private PostgreSQL."""
    name = f"t{uuid.uuid4().hex}"
    url = f"host={postgresql} user=test dbname=postgres"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://test@/{name}?host={postgresql}"
