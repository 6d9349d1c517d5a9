"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from cluster import Cluster
from machines import Machines
from rig import make_accounts

AnyRig = TypeVar("AnyRig", Cluster, Machines)
_TESTS = Path(__file__).resolve().parent
_CGROUPS_IN_USE = Path("/var/tmp/landbridge-test-cgroups.lock")
_DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
# Seconds that a test may take, without its fixtures: these in folders where daemons or
# Node are started, and wherever one of the fixtures is used. All others have what
# pyproject.toml gives; one that needs more is marked itself.
_WITH_DAEMONS = 300
_DAEMONS_IN = (
    "browser/",
    "checks/",
    "extensions/",
    "faults/",
    "hub/",
    "integration/",
    "services/storage/",
    "slurm/",
    "spawners/kernel/",
    "spawners/kernel_server/",
)
_DAEMONS_BY = frozenset(
    ("machines", "machines_rig", "munge", "postgresql", "slurm_rig", "wheel")
)
# The machine has one tree of cgroups: a test may wait for those of other processes.
_IN_TURN = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with daemons the time that those take."""
    for item in items:
        seconds = _seconds_of(item)
        if seconds and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds))


def _seconds_of(item: pytest.Item) -> int | None:
    fixtures = set(getattr(item, "fixturenames", ()))
    if "slurm_cgroups" in fixtures:
        return _IN_TURN
    place = item.path.as_posix().removeprefix(f"{_TESTS}/")
    if place.startswith(_DAEMONS_IN) or fixtures & _DAEMONS_BY:
        return _WITH_DAEMONS
    return None


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C: fixtures stop the daemons that they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``root`` where we are not root."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: other users' processes")


@pytest.fixture(scope="session")
def people() -> tuple[str, str]:
    """The accounts alice and bob, with home directories. For tests marked root."""
    make_accounts()
    return "alice", "bob"


@pytest.fixture
def own_account() -> Iterator[str]:
    """An account that a test may lock, change and remove. For tests marked root."""
    name = f"lbt{os.getpid()}"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["userdel", "-r", name], check=False, capture_output=True)


@pytest.fixture(scope="session")
def clients_python() -> str:
    """The interpreter of the environment ``clients``."""
    python = os.environ.get("LANDBRIDGE_TEST_CLIENTS", "")
    if not python:
        pytest.skip("needs the environment `clients`: run `make test`")
    return python


def _need_daemons() -> None:
    search = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
    missing = [name for name in _DAEMONS if not shutil.which(name, path=search)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: slurm-wlm slurmdbd ...)")


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    # Not below tmp_path, which is 0700; and short, for the sockets in it.
    path = Path(tempfile.mkdtemp(prefix="lbtest-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def _running(rig: AnyRig) -> Iterator[AnyRig]:
    try:
        rig.up()
        yield rig
    finally:
        rig.down()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every account can enter, which ``tmp_path`` is not."""
    with _directory() as path:
        yield path


@pytest.fixture(scope="session")
def slurm_rig() -> Iterator[Cluster]:
    """One private Slurm for the whole session; see tests/slurm/cluster.py."""
    _need_daemons()
    with _directory() as path, _running(Cluster(path)) as rig:
        yield rig


@pytest.fixture
def slurm(slurm_rig: Cluster) -> Iterator[Cluster]:
    """The session's Slurm, without jobs and without faults before and after."""
    slurm_rig.repair()
    slurm_rig.clear_jobs()
    yield slurm_rig
    slurm_rig.repair()
    slurm_rig.clear_jobs()


@pytest.fixture
def slurm_cgroups() -> Iterator[Cluster]:
    """A Slurm that ends jobs over their memory OUT_OF_MEMORY. Marked ``root``."""
    _need_daemons()
    # The machine has one tree of cgroups; another process's tests wait for it.
    with _CGROUPS_IN_USE.open("w") as lock, _directory() as path:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _running(Cluster(path, cgroups=True)) as rig:
            yield rig


@pytest.fixture(scope="session")
def machines_rig() -> Iterator[Machines]:
    """One Slurm of three machines for the whole session. Marked ``root``."""
    _need_daemons()
    with _directory() as path, _running(Machines(path)) as rig:
        yield rig


@pytest.fixture
def machines() -> Iterator[Machines]:
    """A Slurm of three machines with networks of their own. Marked ``root``."""
    _need_daemons()
    with _directory() as path, _running(Machines(path)) as rig:
        yield rig


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
