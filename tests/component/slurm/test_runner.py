"""Running commands as ourselves and, as root, as the user."""

import asyncio
import os
import pwd
import sys
import time
from pathlib import Path

import pytest

from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import wait_for
from spawners.batch.errors import InvalidSpec, NotPermitted, SchedulerUnavailable
from spawners.batch.runners.direct import RootRunner, RunnerSettings, SelfRunner

ME = pwd.getpwuid(os.geteuid()).pw_name


def gone(pid: int) -> bool:
    """Tell whether a process ends within a moment (a zombie has ended)."""

    def ended() -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"

    return bool(wait_for(ended, 5, f"the end of {pid}"))


async def test_a_command_is_heard_out() -> None:
    script = "cat; echo problem >&2; exit 7"
    done = await SelfRunner().run(["sh", "-c", script], user=ME, stdin=b"a\0b" * 70_000)
    assert (done.returncode, done.stderr) == (7, b"problem\n")
    assert done.stdout == b"a\0b" * 70_000
    assert 0 < done.duration.total_seconds() < 10


async def test_the_hubs_environment_is_not_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "canary")
    runner = SelfRunner(RunnerSettings(environment={"SLURM_CONF": "/etc/x"}))
    done = await runner.run(["env"], user=None, env={"LANDBRIDGE_JOB": "lb-1"})
    variables = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert variables.keys() == {
        *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LC_ALL"),
        *("SLURM_CONF", "LANDBRIDGE_JOB"),
    }
    assert "canary" not in done.stdout.decode()


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "SBATCH_UID", "BASH_ENV"])
async def test_a_variable_that_steers_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match=name):
        await SelfRunner().run(["true"], user=None, env={name: "x"})


async def test_nobody_else_is_acted_for_by_oneself() -> None:
    with pytest.raises(NotPermitted, match="daemon"):
        await SelfRunner().run(["true"], user="daemon")


async def test_a_missing_command_is_named() -> None:
    with pytest.raises(SchedulerUnavailable, match="sbatch-of-nobody"):
        await SelfRunner().run(["sbatch-of-nobody"], user=None)


async def test_a_nul_byte_is_refused() -> None:
    with pytest.raises(InvalidSpec):
        await SelfRunner().run(["echo", "a\0b"], user=None)


async def test_the_deadline_kills_the_whole_session(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {note}; trap '' TERM; sleep 300"
    began = time.monotonic()
    with pytest.raises(SchedulerUnavailable, match=r"within 0\.5 s"):
        await SelfRunner().run(["sh", "-c", script], user=None, timeout=0.5)
    assert time.monotonic() - began < 5
    assert gone(int(note.read_text()))


async def test_a_command_that_forgets_a_child_does_not_hang(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {note}"
    with pytest.raises(SchedulerUnavailable):
        await SelfRunner().run(["sh", "-c", script], user=None, timeout=0.5)
    assert gone(int(note.read_text()))


async def test_cancelling_kills(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"echo $$ > {fifo}; exec sleep 300"
    task = asyncio.create_task(SelfRunner().run(["sh", "-c", script], user=None))
    pid = int(await asyncio.to_thread(fifo.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


async def test_a_flood_is_cut() -> None:
    runner = SelfRunner(RunnerSettings(max_output=100_000))
    with pytest.raises(SchedulerUnavailable, match="too much"):
        await runner.run(["yes"], user=None)


async def test_commands_wait_for_their_turn(tmp_path: Path) -> None:
    runner = SelfRunner(RunnerSettings(parallel=2))
    # Each counts those under way (one line each), then leaves.
    code = (
        "import os,sys,time;d=sys.argv[1];p=f'{d}/{os.getpid()}';open(p,'w').close();"
        "print(len(os.listdir(d)));time.sleep(.05);os.unlink(p)"
    )
    argv = [sys.executable, "-I", "-c", code, str(tmp_path)]
    all_done = await asyncio.gather(*(runner.run(argv, user=None) for _ in range(6)))
    assert max(int(done.stdout) for done in all_done) <= 2


async def test_the_end_of_a_file_is_read(tmp_path: Path) -> None:
    runner, file = SelfRunner(), tmp_path / "log -n"
    assert await runner.read_tail(str(file), user=None) == b""
    file.write_bytes(b"0123456789")
    assert await runner.read_tail(str(file), user=None, max_bytes=4) == b"6789"
    with pytest.raises(InvalidSpec):
        await runner.read_tail("log", user=None)
    with pytest.raises(NotPermitted):
        await runner.read_tail(str(tmp_path), user=None)


@pytest.mark.root
async def test_root_becomes_the_user_wholly(
    people: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canary")
    code = (
        "import os;print(os.getresuid(), os.getresgid(), sorted(os.getgroups()),"
        " os.getcwd(), os.umask(0), sorted(os.listdir('/proc/self/fd'))[:4],"
        " dict(os.environ), open('/proc/self/environ').read())"
    )
    argv = ["/usr/bin/python3", "-I", "-c", code]
    done = await RootRunner().run(argv, user="alice")
    alice = pwd.getpwnam("alice")
    uid, gid = (alice.pw_uid,) * 3, (alice.pw_gid,) * 3
    groups = sorted(os.getgrouplist("alice", alice.pw_gid))
    said = done.stdout.decode()
    # Descriptors 0 to 2, and the one that lists them.
    descriptors = ["0", "1", "2", "3"]
    assert said.startswith(f"{uid} {gid} {groups} / {0o022} {descriptors}")
    assert "'HOME': '/home/alice'" in said
    assert "canary" not in said


@pytest.mark.root
@pytest.mark.parametrize("user", ["root", "daemon", "nobody", "nosuch", "", "#0", "-u"])
async def test_root_never_becomes_the_system(user: str) -> None:
    with pytest.raises(NotPermitted):
        await RootRunner().run(["id"], user=user)


@pytest.mark.root
async def test_root_reads_a_log_with_the_users_rights(
    people: tuple[str, str], shared: Path
) -> None:
    file = shared / "secret"
    file.write_text("root's")
    file.chmod(0o600)
    with pytest.raises(NotPermitted):
        await RootRunner().read_tail(str(file), user="alice")
    assert await RootRunner().read_tail(str(file), user=None) == b"root's"


@pytest.mark.slurm
async def test_slurm_sees_the_user(slurm: Cluster) -> None:
    user = slurm.users[0]
    made = RootRunner if slurm.root else SelfRunner
    runner = made(RunnerSettings(environment=slurm.environment))
    argv = ["sbatch", "--parsable", "--mem=10", "--export=NIL", "--output=/dev/null"]
    done = await runner.run(argv, user=user, stdin=b"#!/bin/sh\nsleep 60\n")
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    assert [job, user] in [row[:2] for row in slurm.squeue()]
    shown = await runner.run(["scontrol", "show", "job", job], user=None)
    account = pwd.getpwnam(user)
    assert f"UserId={user}({account.pw_uid})".encode() in shown.stdout
    assert f"({account.pw_gid})".encode() in shown.stdout


@pytest.mark.slurm
async def test_a_stopped_controller_does_not_hold_us(slurm: Cluster) -> None:
    runner = SelfRunner(RunnerSettings(environment=slurm.environment))
    with slurm.stopped("slurmctld"):
        began = time.monotonic()
        with pytest.raises(SchedulerUnavailable):
            await runner.run(["squeue"], user=None, timeout=1)
        assert time.monotonic() - began < 4
    done = await runner.run(["squeue", "-h"], user=None)
    assert done.returncode == 0
