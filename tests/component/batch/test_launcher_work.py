"""landbridge-launch at work: who it is, and what it lets through.

Stand-ins take the place of Slurm's commands; the program is the real one, started as
a site starts it.
"""

import base64
import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rigs.slurm.daemons import wait_for
from spawners.batch.runners import launcher

pytestmark = pytest.mark.root

PROGRAM = Path(launcher.__file__)
RUN: dict[str, Any] = {
    "version": 1,
    "operation": "run",
    "user": "alice",
    "argv": ["squeue", "--noheader"],
    "environment": {},
    "stdin": "",
    "timeout": 5,
}
SUBMIT: dict[str, Any] = {
    **RUN,
    "argv": ["sbatch", "--job-name=who"],
    "stdin": base64.b64encode(b"#!/bin/sh\n").decode(),
}
READ: dict[str, Any] = {
    "version": 1,
    "operation": "read",
    "user": "alice",
    "path": "/home/alice/x",
    "max_bytes": 100,
}


def launch(request: object, *options: str, **keywords: Any) -> dict[str, Any]:
    """Run the real program in isolated mode, as a site does."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", PROGRAM, *options],
        input=json.dumps(request).encode(),
        capture_output=True,
        timeout=30,
        check=False,
        **keywords,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def site(shared: Path) -> Path:
    """A site's settings file, and a squeue of its own that tells who it is."""
    for name in ("squeue", "sbatch"):
        program = shared / name
        program.write_text(
            "#!/bin/sh\n"
            "case $1 in\n"
            "  *name=who) id -u; id -g; id -G; umask; pwd; env | sort;;\n"
            "  *name=cat) cat; echo problem >&2; exit 7;;\n"
            f"  *name=hang) sleep 300 & echo $! > {shared}/free/pid; sleep 300;;\n"
            "  *name=flood) exec yes;;\n"
            "esac\n"
        )
        program.chmod(0o755)
    file = shared / "launch.json"
    settings = {"path": [str(shared), "/usr/bin", "/bin"], "slurm_conf": "/site.conf"}
    file.write_text(json.dumps({**settings, "environment": ["SITE_PROJECT"]}))
    file.chmod(0o644)
    return file


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def text_of(answer: dict[str, Any], key: str = "stdout") -> str:
    assert "error" not in answer, answer
    return base64.b64decode(answer[key]).decode()


def test_root_becomes_the_user_with_a_clean_environment(
    site: Path, people: tuple[str, str]
) -> None:
    request = {**SUBMIT, "environment": {"SITE_PROJECT": "x y"}}
    hub = {**os.environ, "SECRET": "canary", "SLURM_CONF": "/hub.conf"}
    lines = text_of(launch(request, "--config", str(site), env=hub)).splitlines()
    alice = pwd.getpwnam("alice")
    assert lines[:2] == [str(alice.pw_uid), str(alice.pw_gid)]
    groups = os.getgrouplist("alice", alice.pw_gid)
    assert {int(group) for group in lines[2].split()} == set(groups)
    assert lines[3:5] == ["0022", "/"]
    names = {line.partition("=")[0] for line in lines[5:]}
    account = {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LC_ALL", "PWD"}
    assert names - {"OLDPWD", "_", "SHLVL"} == account | {"SLURM_CONF", "SITE_PROJECT"}
    assert "SLURM_CONF=/site.conf" in lines


def test_started_as_a_user_it_acts_for_nobody_else(
    site: Path, people: tuple[str, str]
) -> None:
    alice = pwd.getpwnam("alice")
    identity = {"user": alice.pw_uid, "group": alice.pw_gid, "extra_groups": []}
    options = ("--config", str(site))
    own = launch({**RUN, "argv": ["squeue", "--name=who"]}, *options, **identity)
    assert text_of(own).startswith(f"{alice.pw_uid}\n")
    other = launch({**RUN, "user": "bob"}, *options, **identity)
    assert other["error"] == "refused"
    assert "acts for nobody else" in other["message"]


def test_input_outputs_and_exit_code_pass(site: Path, people: tuple[str, str]) -> None:
    stdin = base64.b64encode(b"#!/bin/sh\n\x00\xff" * 50_000).decode()
    request = {**SUBMIT, "argv": ["sbatch", "--job-name=cat"], "stdin": stdin}
    answer = launch(request, "--config", str(site))
    assert answer["returncode"] == 7
    assert answer["stdout"] == stdin
    assert text_of(answer, "stderr") == "problem\n"


def test_the_deadline_kills_all_that_was_started(
    site: Path, shared: Path, people: tuple[str, str]
) -> None:
    (shared / "free").mkdir(mode=0o777)
    (shared / "free").chmod(0o777)
    note = shared / "free/pid"
    request = {**RUN, "argv": ["squeue", "--name=hang"], "timeout": 0.5}
    assert launch(request, "--config", str(site))["error"] == "timeout"
    pid = int(note.read_text())
    wait_for(lambda: not runs(pid), 5, f"the end of {pid}")


def test_a_flood_is_cut(site: Path, people: tuple[str, str]) -> None:
    request = {**RUN, "argv": ["squeue", "--name=flood"]}
    assert launch(request, "--config", str(site))["error"] == "too_large"


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "SLURM_CONF", "PATH", "PYTHONPATH", "SBATCH_X", "OTHER"]
)
def test_steering_and_unknown_variables_are_refused(
    site: Path, people: tuple[str, str], name: str
) -> None:
    for request in (RUN, SUBMIT):
        given = {**request, "environment": {name: "x"}}
        assert launch(given, "--config", str(site))["error"] == "refused"


def test_only_regular_files_are_read_and_as_the_user(
    site: Path, shared: Path, people: tuple[str, str]
) -> None:
    log, secret = shared / "log", shared / "secret"
    log.write_bytes(b"0123456789")
    secret.write_text("root's")
    secret.chmod(0o600)
    (shared / "link").symlink_to(log)
    os.mkfifo(shared / "fifo", 0o666)

    def read(path: Path, size: int = 4) -> dict[str, Any]:
        request = {**READ, "path": str(path), "max_bytes": size}
        return launch(request, "--config", str(site))

    assert text_of(read(log), "data") == "6789"
    assert text_of(read(log, 1000), "data") == "0123456789"
    assert read(shared / "nothing")["error"] == "missing"
    for path in (secret, shared / "link", shared / "fifo", shared, Path("/dev/null")):
        assert read(path)["error"] == "denied", path
    answer = launch({**READ, "user": None, "path": str(secret)})
    assert answer["error"] == "refused"


def test_a_job_whose_output_would_go_astray_is_not_submitted(
    site: Path, people: tuple[str, str], shared: Path
) -> None:
    sbatch = shared / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 7\n")
    sbatch.chmod(0o755)
    place = shared / "home"
    place.mkdir()
    alice = pwd.getpwnam("alice")
    for name in ("own", "fifo"):
        (os.mkfifo if name == "fifo" else Path.touch)(place / name)
        os.chown(place / name, alice.pw_uid, alice.pw_gid)
    (place / "roots").touch()
    (place / "link").symlink_to(place / "own")

    def submit(output: Path | str) -> dict[str, Any]:
        argv = ["sbatch", "--parsable", "--output=/dev/null", f"--output={output}"]
        script = base64.b64encode(b"#!/bin/sh\n").decode()
        request = {**RUN, "argv": argv, "stdin": script}
        return launch(request, "--config", str(site))

    for good in (place / "own", place / "new", place / "%j.out", "/dev/null"):
        assert text_of(submit(good)) == "7\n"
    for odd in ("fifo", "link", "roots", ""):
        answer = submit(place / odd)
        assert answer["error"] == "refused", answer
        assert f"{place / odd} is no regular file" in answer["message"]
