"""Another account prepares the state directory before root starts the gateway in it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.checkout import CHECKOUT

pytestmark = pytest.mark.root

STRANGER = "nobody"
# What the gateway starts by name, with the state directory as the current one.
MODULES = (
    "hub/__init__.py",
    "hub/app.py",
    "hub/cli.py",
    "hub/run/culler.py",
    "services/__init__.py",
    "services/storage/__init__.py",
    "services/storage/__main__.py",
    "jupyterhub_idle_culler.py",
    "alembic.py",
    "sitecustomize.py",
)


@pytest.fixture
def shared(short_tmp):
    """A directory like /tmp, in which everybody may make what is not there yet."""
    short_tmp.chmod(0o755)
    path = short_tmp / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.fixture
def stranger():
    """Run Python code as an account that is neither root nor the gateway's."""
    account = pwd.getpwnam(STRANGER)

    def work(code: str) -> None:
        subprocess.run(
            [sys.executable, "-I", "-c", "import os, pathlib\n" + code],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            check=True,
        )

    return work


def plant_code(state: Path, marker: Path) -> str:
    """Return code that fills ``state`` with modules which leave a mark when run."""
    return (
        f"for name in {MODULES!r}:\n"
        f"    path = pathlib.Path({str(state)!r}) / name\n"
        "    path.parent.mkdir(parents=True, exist_ok=True)\n"
        f'    path.write_text("import pathlib; pathlib.Path({str(marker)!r})'
        '.write_text(__file__)")\n'
    )


def refused(run, state: Path) -> str:
    """Return the one line with which ``landbridge up`` refuses ``state``."""
    up = run("up", LANDBRIDGE_STATE=str(state))
    assert up.wait() == 1
    assert len(up.lines) == 1, up.lines
    return up.lines[0]


def test_a_whole_state_of_a_stranger_is_refused_and_nothing_of_it_runs(
    run, shared, short_tmp, stranger
):
    state = shared / "state"
    stranger(
        plant_code(state, short_tmp / "ran") + f"state = pathlib.Path({str(state)!r})\n"
        "for room in ('secrets', 'run', 'db', 'logs', 'pki', 'haproxy', 'local'):\n"
        "    (state / room).mkdir(mode=0o700)\n"
        "for name in ('operator-token', 'cookie-secret', 'demo-password'):\n"
        "    (state / 'secrets' / name).write_text('a' * 64)\n"
        "    (state / 'secrets' / name).chmod(0o600)\n"
    )
    line = refused(run, state)
    assert str(state) in line
    assert f"belongs to {STRANGER} and not to root" in line
    assert "LANDBRIDGE_STATE" in line or "chown -R root" in line
    assert not (short_tmp / "ran").exists()
    assert state.stat().st_uid != 0


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("secrets", "os.mkdir('secrets', 0o700)"),
        ("run", "os.symlink('/etc', 'run')"),
        ("pki", "os.mkfifo('pki')"),
        ("local", "os.makedirs('local/jobs')"),
        ("users", "os.makedirs('users/ada')"),
        ("hub", "os.mkdir('hub'); open('hub/app.py', 'w').close()"),
    ],
)
def test_what_a_stranger_put_into_an_open_state_is_refused(
    run, short_tmp, shared, stranger, what, code
):
    """Root made the directory, open to all: the first start finds what came in."""
    state = shared / "state"
    state.mkdir()
    state.chmod(0o777)
    stranger(f"os.chdir({str(state)!r}); {code}")
    line = refused(run, state)
    assert str(state / what) in line
    assert f"belongs to {STRANGER}" in line
    assert state.stat().st_mode & 0o777 == 0o755, "others may still write to it"
    assert str(state / what) in refused(run, state), "the second start believes it"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("secrets/cookie-secret", "open(path, 'w').write('b' * 64)"),
        ("secrets/operator-token", "os.mkfifo(path, 0o600)"),
        ("secrets/cookie-secret", "os.symlink('/etc/hostname', path)"),
        ("logs/hub.log", "os.symlink('/etc/landbridge-written-by-root', path)"),
        ("db/jupyterhub.sqlite", "open(path, 'w').close()"),
        ("pki/jobs-ca.key", "open(path, 'w').close()"),
        ("run/ports.json", "open(path, 'w').write('{}')"),
        ("haproxy/process.json", "open(path, 'w').write('{}')"),
    ],
)
def test_a_file_of_a_stranger_in_a_state_of_ours_is_refused(
    run, shared, stranger, name, code
):
    state = shared / "state"
    room = state / Path(name).parent
    room.mkdir(parents=True)
    room.chmod(0o777)
    stranger(f"path = {str(state / name)!r}; {code}")
    room.chmod(0o700)
    line = refused(run, state)
    assert str(state / name) in line
    assert f"belongs to {STRANGER}" in line
    assert not Path("/etc/landbridge-written-by-root").exists()


def test_a_state_below_what_a_stranger_can_rename_is_refused(run, shared, stranger):
    home = shared / "home"
    stranger(f"os.mkdir({str(home)!r})")
    (home / "state").mkdir()
    line = refused(run, home / "state")
    assert str(home) in line
    assert "could put another thing in the place" in line


def test_code_in_the_state_directory_is_never_run(run, place, short_tmp):
    """Also where it is ours by its owner: no part of the gateway imports from there."""
    marker = short_tmp / "ran"
    state = Path(place["LANDBRIDGE_STATE"])
    exec("import pathlib\n" + plant_code(state, marker))
    Path(place["LANDBRIDGE_CONFIG"]).write_text("")  # all services run
    up = run("up")
    up.wait_for("Landbridge is ready at")
    assert b'"store"' in up.get("/services/storage/health")[1]
    assert up.end() == 0
    assert not marker.exists(), marker.read_text()


def test_bootstrap_runs_no_environment_of_a_stranger(shared, short_tmp, stranger):
    state, marker = shared / "state", short_tmp / "ran"
    stranger(
        f"bin = pathlib.Path({str(state)!r}) / 'env' / 'hub' / 'bin'\n"
        "bin.mkdir(parents=True)\n"
        f"(bin / 'landbridge').write_text('#!/bin/sh\\ntouch {marker}\\n')\n"
        "(bin / 'landbridge').chmod(0o755)\n"
    )
    script = CHECKOUT / "scripts" / "bootstrap.py"
    done = subprocess.run(
        [sys.executable, str(script), "up"],
        env={**os.environ, "LANDBRIDGE_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert f"{state} belongs to {STRANGER}" in done.stderr
    assert not marker.exists()
