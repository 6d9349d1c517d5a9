"""The parts of a kernel's job that need none: launch, variables, facts, settings."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import zmq.asyncio

from spawners.batch.errors import InvalidSpec
from spawners.batch.jobs.record import JobRecord, Phase, utc_now
from spawners.batch.models import Resources
from spawners.common.settings import ConfigError
from spawners.kernels.claim import Claims
from spawners.kernels.environment import kernel_argv, kernel_environment
from spawners.kernels.errors import KernelNotStarted
from spawners.kernels.facts import KernelFacts, owner_key
from spawners.kernels.launch import kernel_launch, launcher_program
from spawners.kernels.settings import KernelSettings, load_kernel_settings
from spawners.kernels.status import Missed, explain_death
from spawners.kernels.tunnel import private_directory
from spawners.node.kernel import iopub_buffer as kernel_ring
from spawners.node.kernel.tunnel import Lines
from spawners.node.memory import memory_groups, oom_kills

TOLD = {"argv": ["k"], "env": {"A": "canary"}, "cwd": "/", "storage": None}


def test_an_upgrade_below_a_running_server_changes_nothing_for_its_kernels(monkeypatch):
    """What travels was read when the server started."""
    before = launcher_program()

    def replaced(_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("spawners.batch.rendezvous.launch.resources.files", replaced)
    assert launcher_program() == before


@pytest.mark.parametrize("scheduler", ["local", "slurm"])
def test_a_launch_holds_what_its_launcher_needs_and_shows_none_of_it(scheduler):
    settings = KernelSettings(scheduler=scheduler, ports=(40000, 40100))
    launch = kernel_launch("lb-a", TOLD, settings, warn_before=60)
    facts = json.loads(launch.files["kernel.json"])
    assert facts["host"] == "lb-a.landbridge.internal"
    assert (facts["lease"], facts["warn_before"]) == (300, 60)
    assert facts["ports"] == [40000, 40100]
    assert facts["address"] == ("127.0.0.1" if scheduler == "local" else "")
    assert "canary" not in repr(launch)
    assert "canary" not in " ".join(launch.argv)
    compile(launch.files["kernel.py"], "kernel.py", "exec")


def test_only_what_differs_is_chosen_or_is_named_travels():
    own = {"HOME": "/home/a", "PATH": "/bin", "LC_ALL": "C", "API_KEY": "s", "X": "1"}
    asked = {
        **own,
        "X": "2",
        "JPY_SESSION_NAME": "a.ipynb",
        "JUPYTERHUB_API_TOKEN": "s",
        "JUPYTERHUB_NEW": "s",
        "JPY_PARENT_PID": "1",
        "SLURM_JOB_ID": "7",
        "SLURMD_NODENAME": "n1",
        "LANDBRIDGE_KERNEL_CONFIG": "/x",
        "CHOSEN": "by spec",
        "TMPDIR": "/job/tmp",
        "BAD NAME": "x",
        "NUL": "a\0b",
    }
    own["CHOSEN"] = "by spec"
    found = kernel_environment(asked, own, ["CHOSEN"], ["LC_*", "JUPYTERHUB_*"])
    assert found == {
        "LC_ALL": "C",
        "X": "2",
        "JPY_SESSION_NAME": "a.ipynb",
        "CHOSEN": "by spec",
    }


def test_python_is_that_of_the_kernelspecs_environment(tmp_path):
    place = tmp_path / "share/jupyter/kernels/python3"
    place.mkdir(parents=True)
    argv = ("python3", "-m", "x", "-f", "{connection_file}", "{resource_dir}", "{a}")
    assert kernel_argv(argv, ["--y"], str(place), {"a": 1})[0] == sys.executable
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.touch(0o755)
    assert kernel_argv(argv, ["--y"], str(place), {"a": 1}) == [
        str(python),
        *("-m", "x", "-f", "{connection_file}", str(place), "1", "--y"),
    ]
    assert kernel_argv(["R", "{b}"], [], str(place), {}) == ["R", "{b}"]


FACTS = KernelFacts("k-1", "python3", "server:ada/", "/tmp/x", {"profile": "gpu"})


def record_with(facts):
    now = utc_now()
    owner = owner_key("ada", "k-1", "lb-a")
    return JobRecord(
        "lb-a", owner, 1, "ada", Phase.INTENT, Resources(), now, now, facts
    )


def test_a_kernel_is_known_again_by_its_jobs_record():
    facts = FACTS.to_facts()
    assert facts["profile"] == "gpu"
    assert KernelFacts.of(record_with(facts)) == FACTS


@pytest.mark.parametrize(
    "wrong", [{"kernel": None}, {"asked": "{"}, {"asked": "1"}, {"near": None}], ids=str
)
def test_a_record_of_something_else_is_no_kernels(wrong):
    facts = {**FACTS.to_facts(), **wrong}
    known = {name: value for name, value in facts.items() if value is not None}
    assert KernelFacts.of(record_with(known)) is None


def test_a_kernel_belongs_to_one_process_until_that_gives_it_up(tmp_path):
    claims = Claims(tmp_path / "deep/er")
    assert not claims.is_abandoned("k-1")
    held = claims.claim("k-1")
    assert held is not None
    assert (tmp_path / "deep/er").stat().st_mode & 0o777 == 0o700
    assert claims.claim("k-1") is None
    assert not claims.is_abandoned("k-1")
    os.close(held)
    assert claims.is_abandoned("k-1")
    claims.remove("k-1")
    assert not claims.is_abandoned("k-1")


def test_the_next_server_of_a_name_learns_which_kernels_it_has(tmp_path):
    claims = Claims(tmp_path)
    assert claims.of_server("server:a/") == {}
    os.close(claims.claim("k-1", server="server:a/", kernel_name="python3.lb.gpu"))
    os.close(claims.claim("k-2", server="server:b/", kernel_name="r"))
    os.close(claims.claim("k-3"))
    held = claims.claim("k-4", server="server:a/", kernel_name="julia")
    (tmp_path / "k-5.lock").touch()  # of a release that wrote nothing
    for number, strange in enumerate(("[", "[]", "{}", "7", "[" * 100_000), 6):
        (tmp_path / f"k-{number}.lock").write_text(strange)
    assert claims.of_server("server:a/") == {"k-1": "python3.lb.gpu", "k-4": "julia"}
    os.close(held)
    os.close(claims.claim("k-4", server="server:a/", kernel_name="r"))
    claims.remove("k-1")
    assert claims.of_server("server:a/") == {"k-4": "r"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a\n", "x" * 200])
def test_a_kernels_id_is_no_path(tmp_path, name):
    with pytest.raises(ValueError, match="no kernel's id"):
        Claims(tmp_path).claim(name)
    assert not Claims(tmp_path).is_abandoned(name)


def test_settings_are_a_closed_schema(tmp_path, monkeypatch):
    path = tmp_path / "kernels.json"
    monkeypatch.setenv("LANDBRIDGE_KERNEL_CONFIG", str(path))
    path.write_text(json.dumps({"lease": "2min", "ports": [40000, 40100]}))
    settings = load_kernel_settings()
    assert (settings.lease.total_seconds(), settings.ports) == (120, (40000, 40100))
    for bad in ({"leese": 1}, {"ports": [1, 2]}, {"proof": "none"}, [], "x"):
        path.write_text(json.dumps(bad))
        with pytest.raises(ConfigError):
            load_kernel_settings()
    path.write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        load_kernel_settings()
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_kernel_settings()
    monkeypatch.delenv("LANDBRIDGE_KERNEL_CONFIG")
    assert load_kernel_settings() == KernelSettings()


def test_the_site_says_what_a_kernel_may_ask_for(tmp_path):
    gpu = {"title": "GPU", "resources": {"gpus": 1}, "choices": {"gpus": {"max": 2}}}
    profiles = KernelSettings(profiles={"gpu": gpu}).read_profiles()
    assert profiles.resolve({"profile": "gpu", "gpus": 2}).resources.gpus == 2
    with pytest.raises(InvalidSpec):
        profiles.resolve({"profile": "gpu", "gpus": 3})
    free = KernelSettings().read_profiles()
    asked = {"gpus": 8, "memory": "1T", "time_limit": "7d", "constraint": "a100&ib"}
    assert free.resolve(asked).resources.constraint == "a100&ib"


def test_a_jobs_own_memory_kills_are_counted_and_no_others(tmp_path):
    two = "0::/slurm/job_7/step_batch/task_0\n"
    assert memory_groups(two) == [
        "/sys/fs/cgroup/slurm/job_7/step_batch/task_0/memory.events",
        "/sys/fs/cgroup/slurm/job_7/step_batch/memory.events",
        "/sys/fs/cgroup/slurm/job_7/memory.events",
    ]
    one = "5:cpu,cpuacct:/x\n4:memory:/slurm/uid_1/job_7\n0::/y\n"
    assert memory_groups(one) == [
        "/sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.oom_control",
        "/sys/fs/cgroup/y/memory.events",
    ]
    assert memory_groups("nonsense\n") == []
    assert oom_kills(str(tmp_path / "none")) == 0


def test_a_death_is_explained_with_its_cause():
    asked = Resources(memory=2 * 1024**3)
    killed = explain_death(-9, asked, host="n1", tail="", out_of_memory=True)
    assert killed.title == "Out of memory"
    assert "The job" not in killed.detail
    crashed = explain_death(-11, asked, host="n1", tail="core", out_of_memory=False)
    assert (crashed.title, crashed.log) == ("The kernel crashed", "core")


def test_a_directory_for_sockets_is_short_and_private(tmp_path, monkeypatch):
    found = Path(private_directory())
    assert len(str(found)) < 80
    assert found.stat().st_mode & 0o777 == 0o700
    assert private_directory(str(found)) == str(found)
    found.chmod(0o755)  # somebody may have made it before us
    other = Path(private_directory(str(found)))
    assert other != found
    link = tmp_path / "link"
    link.symlink_to(other)
    third = Path(private_directory(str(link)))
    assert third not in (link, other)
    for each in (found, other, third):
        each.rmdir()


async def test_a_line_that_is_no_object_ends_the_connection():
    class Transport:
        aborted = False

        def abort(self):
            self.aborted = True

    for words in (b"1\n", b"\xff\n", b"[]\n", b"{\n"):
        heard = []
        lines = Lines(heard.append, lambda lines: None)
        lines.transport = Transport()
        lines.data_received(b'{"a":')
        lines.data_received(b" 1}\n" + words)
        assert heard == [{"a": 1}]
        assert lines.transport.aborted


def test_an_error_is_a_text_for_people():
    from spawners.batch.explain.failure import Failure

    error = KernelNotStarted(Failure("Refused", "Too much", "Ask for less.", "log\n"))
    assert str(error) == "Refused. Too much. Ask for less.\nlog"
    assert os.linesep == "\n"


async def test_what_nobody_hears_is_kept_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_ring, "LIMIT", 10_000)
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.XPUB)
    socket.bind(f"ipc://{tmp_path}/k1-2")
    ring = kernel_ring.Ring()
    try:
        ring.keep(f"{tmp_path}/k1-2")
        assert await socket.recv() == b"\x01"  # it subscribes to everything
        for size in (10, 300, 9_000, 20_000, 900, 1):
            await socket.send_multipart([b"topic", b"x" * size, b""])
        async with asyncio.timeout(5):
            while ring.dropped < 3:
                await asyncio.sleep(0.01)
        kept = Missed.read(ring.take())
    finally:
        ring.clear()
        context.destroy(linger=0)
    assert [len(frames[1]) for frames in kept.messages] == [9_000, 900, 1]
    assert kept.dropped == 3
    assert ring.take() == {"messages": [], "dropped": 0}


@pytest.mark.parametrize(
    "answer",
    [{}, {"messages": 1}, {"messages": [1, ["%"], [None]], "dropped": "x"}],
    ids=str,
)
def test_what_a_launcher_kept_is_checked(answer):
    assert all(isinstance(f, bytes) for m in Missed.read(answer).messages for f in m)
    assert Missed.read(answer).dropped == 0
