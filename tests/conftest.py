"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.workermanage import WorkerController

from rigs.homes import Homes
from rigs.places import open_directory
from rigs.postgresql import postgresql, postgresql_url
from rigs.slurm.fixtures import machines, machines_rig, slurm, slurm_cgroups, slurm_rig
from rigs.turns import ByRig, write_plan

_TESTS = Path(__file__).resolve().parent
# Seconds that a test may take, without its fixtures: these in folders where daemons or
# Node are started, and wherever one of the fixtures is used. All others have what
# pyproject.toml gives; one that needs more is marked itself.
_WITH_DAEMONS = 300
_DAEMONS_IN = ("checks/", "component/", "journeys/", "long/")
_DAEMONS_BY = frozenset(
    ("machines", "machines_rig", "munge", "postgresql", "slurm_rig", "wheel")
)
_PLAN: pytest.StashKey[Path] = pytest.StashKey()
# The machine has one tree of cgroups: a test may wait for those of other processes.
_IN_TURN = 900


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what Ceph repeats to the long group; give daemons the time they take."""
    for item in items:
        if _repeats_on_ceph(item):
            item.add_marker(pytest.mark.long)
        seconds = _seconds_of(item)
        if seconds and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds))


def _repeats_on_ceph(item: pytest.Item) -> bool:
    """Tell whether a test is the same as another, but for its store."""
    call = getattr(item, "callspec", None)
    if call is None or call.params.get("store_facts") != "rgw":
        return False
    return item.get_closest_marker("every_store") is None


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


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByRig | None:
    """Let workers share files out by the rigs that those need."""
    if config.getvalue("dist") != "loadfile":
        return None
    return ByRig(config, log, config.stash[_PLAN])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker where to write which file needs which rigs."""
    if _PLAN not in node.config.stash:
        descriptor, name = tempfile.mkstemp(prefix="lbplan-")
        os.close(descriptor)
        node.config.stash[_PLAN] = Path(name)
    node.workerinput["plan"] = str(node.config.stash[_PLAN])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write that, as one worker for all: the process that shares out collects not."""
    told = getattr(session.config, "workerinput", {})
    if told.get("workerid") == "gw0":
        write_plan(session.items, Path(told["plan"]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the plan."""
    if _PLAN in config.stash:
        config.stash[_PLAN].unlink()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``root`` where we are not root."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: other users' processes")


@pytest.fixture(scope="session")
def homes(request: pytest.FixtureRequest) -> Homes | None:
    """Homes of alice and bob for this process's tests alone; None if we are not root.

    It is no rig (``rigs.turns``) that files should be brought to: each process has it.
    """
    if os.geteuid() != 0:
        return None
    homes = Homes()
    request.addfinalizer(homes.close)
    return homes


@pytest.fixture(scope="session")
def people(homes: Homes) -> tuple[str, str]:
    """The accounts alice and bob, with home directories. For tests marked root."""
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
    """An interpreter with S3 clients: of the environment ``clients`` if there is one.

    Only the long group makes that; ours has ``rigs.clients.code.AT_HAND``.
    """
    return os.environ.get("LANDBRIDGE_TEST_CLIENTS") or sys.executable


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every account can enter, which ``tmp_path`` is not."""
    with open_directory() as path:
        yield path
