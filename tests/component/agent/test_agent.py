"""The agent as a real process against a real HTTPS rendezvous, with stub servers."""

import ast
import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rigs.batch.agent import is_ready, log_of, ours, stub
from spawners.batch.models import JobState, Launch
from spawners.batch.rendezvous.launch import agent_command
from spawners.node import agent, kernel_pipe, server_rights
from spawners.node import hub_link as agent_hub
from spawners.node import memory as job_memory
from spawners.node import notebook_server as singleuser
from spawners.node import output as job_log


async def test_it_starts_reports_and_ends_with_the_servers_code(served, start):
    rig, hub = served
    rig.launch = stub("exit", "7")
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 7, output
    assert "stub is starting\n" in output
    assert "to stderr\n" in output
    assert hub.calls[0] == "fetch"
    assert hub.calls[-1] == "ended"
    event = await log_of(rig, record)
    assert event.data["exit_code"] == 7


async def test_the_hub_learns_where_the_server_answers(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    address = (await is_ready(rig, record)).address
    assert (address.host, address.port) == ("n01", 41000)
    agent.process.terminate()
    code, output = await agent.finish()
    assert code == 128 + signal.SIGTERM, output


async def test_the_server_gets_what_it_needs_and_nothing_of_ours(
    served, start, tmp_path
):
    rig, _ = served
    rig.launch = stub("dump", str(tmp_path / "dump.json"), "an argument; $(with) 'all'")
    record, environment = await rig.submit()
    agent = await start(ours(environment), TMPDIR=str(tmp_path / "node")[-200:])
    await is_ready(rig, record)
    dump = json.loads((tmp_path / "dump.json").read_text())
    env = dump["env"]
    assert env["JUPYTERHUB_API_TOKEN"] == "hub-token"
    assert env["SITE_MODULES"] == "kept"
    assert not [name for name in env if name.startswith("LANDBRIDGE_")]
    assert dump["files"]["JUPYTERHUB_SSL_CLIENT_CA"] == rig.pki.hub_ca.certificate
    assert "BEGIN PRIVATE KEY" in dump["files"]["JUPYTERHUB_SSL_KEYFILE"]
    assert set(dump["modes"].values()) == {"0o100600"}
    assert dump["place_mode"] == "0o40700"
    assert Path(env["JUPYTER_RUNTIME_DIR"]).parent == Path(dump["place"])
    assert dump["argv"][-1] == "an argument; $(with) 'all'"
    assert dump["stdin"] == ""
    # its own process group, in the job's session
    assert dump["pgid"] == dump["pid"] != agent.pid
    assert dump["sid"] == os.getsid(agent.pid)
    # no secret in anybody's argv, also of the agent
    for pid in (agent.pid, dump["pid"]):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert environment["LANDBRIDGE_TOKEN"] not in argv
        assert "hub-token" not in argv
    agent.process.terminate()
    await agent.finish()
    assert not Path(dump["place"]).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_server_and_job(served, start, number):
    rig, hub = served
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    agent.process.send_signal(number)
    await agent.finish()
    assert hub.calls[-1] == "ended"
    assert (await log_of(rig, record)).data["signal"] == signal.SIGTERM


async def test_a_server_that_ignores_the_signal_is_killed(served, start):
    rig, _ = served
    rig.launch = stub("stubborn")
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    agent.process.terminate()
    await agent.finish()
    assert (await log_of(rig, record)).data["signal"] == signal.SIGKILL


async def test_the_time_limits_warning_is_shown_and_ends_nothing(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    agent.process.send_signal(signal.SIGUSR1)
    seen = b""
    async with asyncio.timeout(10):
        while b"time limit is near" not in seen:
            seen += await agent.process.stdout.read(1000)
    assert agent.process.returncode is None
    agent.process.terminate()
    await agent.finish()


# Says that it is warned, and that a crash is its end; ends as its argument says.
SPEAKER = """\
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda number, frame: print("warned", flush=True))
os.write(int(os.environ["LANDBRIDGE_READY_FD"]), b"41000 once warned\\n")
if sys.argv[1] == "crash":
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGSEGV)
while True:
    time.sleep(0.1)  # a signal right before a sleep is heard after it
"""


def speaker(*arguments):
    return Launch(
        ("{agent}", "{dir}/speaker.py", *arguments), {}, {"speaker.py": SPEAKER}
    )


@pytest.mark.parametrize("early", [False, True])
async def test_a_command_that_wants_the_warning_gets_it(served, start, early):
    rig, hub = served
    rig.launch = speaker("stay")
    if early:  # it comes before the command can say so
        await hub.down()
    record, environment = await rig.submit()
    agent = await start(environment)
    if early:
        assert await agent.process.stdout.readline()  # it waits for the hub
    else:
        await is_ready(rig, record)
    agent.process.send_signal(signal.SIGUSR1)
    await hub.down()
    await hub.up()
    seen = b""
    async with asyncio.timeout(20):
        while b"\nwarned" not in seen:
            seen += b"\n" + await agent.process.stdout.readline()
    agent.process.terminate()
    await agent.finish()


async def test_what_says_so_is_not_started_again_after_a_crash(served, start, tmp_path):
    rig, _ = served
    rig.launch = speaker("crash", str(tmp_path / "go"))
    record, environment = await rig.submit()
    agent = await start(environment)
    await is_ready(rig, record)
    # Its answer has reached the agent once it asks for nothing more.
    (tmp_path / "go").touch()
    code, output = await agent.finish()
    assert code == 128 + signal.SIGSEGV
    assert "started again" not in output


# Tells what a program finds where it begins, and ends in one of three ways.
MIRROR = """\
import ctypes, json, os, signal, sys
names = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGCHLD", "SIGPIPE")
kept = int(os.environ.pop("LANDBRIDGE_READY_FD"))
opened = {int(name) for name in os.listdir("/proc/self/fd")}
found = {
    "argv": sys.argv[1:],
    "env": sorted(os.environ),
    "signals": [str(signal.getsignal(getattr(signal, name))) for name in names],
    "more": sorted(n for n in opened if n > 2 and n != kept and os.path.exists(
        "/proc/self/fd/%d" % n)),
    "stdin": sys.stdin.read(),
    "leads": os.getpgid(0) == os.getpid(),
    "name": __name__,
}
found["env"].remove("LC_CTYPE") if "LC_CTYPE" in found["env"] else None
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
dumpable = ctypes.CDLL(None).prctl(3)
print("dumpable", dumpable, flush=True)
if sys.argv[2] == "fails":
    raise ValueError("a canary")
sys.exit({"ends": 7, "says": "the last word"}[sys.argv[2]])
"""


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [("ends", 7, ""), ("fails", 1, "ValueError: a canary"), ("says", 1, "")],
)
async def test_a_copy_of_the_agent_is_to_a_program_as_an_interpreter(
    served, start, tmp_path, how, code, words
):
    rig, _ = served
    seen = []
    for flags in (("-I",), ("-I", "-B")):  # the second is a new interpreter
        file = tmp_path / f"{len(seen)}.json"
        argv = ("{agent}", *flags, "{dir}/mirror.py", str(file), how)
        rig.launch = Launch(argv, {}, {"mirror.py": MIRROR})
        _, environment = await rig.submit(f"kernel:alice//k/{len(seen)}")
        agent = await start(ours(environment))
        ended, output = await agent.finish()
        assert ended == code, output
        assert words in output
        # A copy has what the agent knows, so nobody may look into it.
        assert f"dumpable {len(seen)}" in output
        seen.append(json.loads(file.read_text().replace(str(file), "FILE")))
    assert seen[0] == seen[1]


async def test_one_of_several_addresses_is_enough(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    there = environment["LANDBRIDGE_HUB"]
    dead = "https://127.0.0.1:9/hub/api/landbridge/jobs"
    agent = await start(ours(environment, LANDBRIDGE_HUB=f"{dead} {there}"))
    await is_ready(rig, record)
    agent.process.terminate()
    await agent.finish()


async def test_a_killed_agent_takes_its_server_along(served, start, tmp_path):
    rig, _ = served
    rig.launch = stub("dump", str(tmp_path / "dump.json"))
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    pid = json.loads((tmp_path / "dump.json").read_text())["pid"]
    agent.process.kill()
    await agent.finish()
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in (
            Path(f"/proc/{pid}/status").read_text()
        ):
            await asyncio.sleep(0.05)


async def test_the_next_agent_removes_what_a_killed_one_left_behind(
    served, start, tmp_path
):
    rig, _ = served
    node = Path(tempfile.mkdtemp(prefix="lbn", dir="/tmp"))
    try:
        dumps = tmp_path / "killed.json", tmp_path / "alive.json"
        for number, dump in enumerate(dumps):
            rig.launch = stub("dump", str(dump))
            record, environment = await rig.submit(f"server:alice/{number}")
            agent = await start(ours(environment), TMPDIR=str(node))
            await is_ready(rig, record)
            if dump is dumps[0]:
                agent.process.kill()
                await agent.finish()
        killed, alive = (Path(json.loads(d.read_text())["place"]) for d in dumps)
        assert not killed.exists()
        rig.launch = stub("exit", "0")
        _, environment = await rig.submit("server:alice/third")
        await (await start(ours(environment), TMPDIR=str(node))).finish()
        assert list(node.iterdir()) == [alive]
        agent.process.terminate()
        await agent.finish()
        assert list(node.iterdir()) == []
    finally:
        shutil.rmtree(node)


async def test_a_crash_is_reported_with_the_last_words(served, start):
    rig, _ = served
    rig.launch = stub("crash")
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    code, _ = await agent.finish()
    assert code == 128 + signal.SIGKILL
    assert (await log_of(rig, record)).data["signal"] == signal.SIGKILL
    rig.scheduler.move(record.job, JobState.FAILED, exit_code=137)
    record = await rig.jobs.wait(record.name, lambda r: not r.live)
    assert "stub is starting" in record.failure.log


async def test_a_server_that_crashes_is_started_again_on_its_port(
    served, start, tmp_path
):
    rig, hub = served
    runs = tmp_path / "runs"
    rig.launch = stub("crash-later", str(runs), "2", str(int(signal.SIGKILL)))
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    Path(f"{runs}.ready").touch()
    async with asyncio.timeout(10):
        while len(runs.read_text().splitlines()) < 3:
            await asyncio.sleep(0.02)
    assert (await rig.jobs.wait(record.name, lambda r: True)).live
    agent.process.terminate()
    _, output = await agent.finish()
    assert output.count("The server crashed. It is started again") == 2
    assert output.count("told to bind 41000") == 2
    assert hub.calls == ["fetch", "ready", "ended"]


@pytest.mark.parametrize(
    ("number", "runs", "code"),
    [(signal.SIGKILL, 3, 128 + signal.SIGKILL), (signal.SIGTERM, 1, 143)],
)
async def test_a_server_that_keeps_crashing_or_was_told_to_end_is_not_started_again(
    served, start, tmp_path, number, runs, code
):
    rig, hub = served
    kept = tmp_path / "runs"
    rig.launch = stub("crash-later", str(kept), "9", str(int(number)))
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    Path(f"{kept}.ready").touch()
    ended, output = await agent.finish()
    assert ended == code
    assert len(kept.read_text().splitlines()) == runs
    assert ("crashed 3 times in 10 minutes" in output) == (runs == 3)
    assert (await log_of(rig, record)).data["signal"] == number
    assert hub.calls[-1] == "ended"


async def test_much_output_is_passed_on_and_only_its_end_reported(served, start):
    rig, _ = served
    rig.launch = stub("shout")
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 5
    assert "x" * 200_000 + "the end" in output
    rig.scheduler.move(record.job, JobState.FAILED, exit_code=5)
    record = await rig.jobs.wait(record.name, lambda r: not r.live)
    assert record.failure.log.rstrip().endswith("xthe end")


async def test_output_that_cannot_be_written_ends_nothing(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    command = f"exec {shlex.join(agent_command(sys.executable))} > /dev/full 2>&1"
    process = await asyncio.create_subprocess_shell(
        command,
        env=ours(environment, PATH=os.environ["PATH"], SLURMD_NODENAME="n01"),
    )
    await is_ready(rig, record)
    process.terminate()
    assert await process.wait() == 128 + signal.SIGTERM


def pythons_here():
    """Return the Pythons on PATH and in pyenv's place that run, one a version."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for number in range(6, 20):
        name = f"python3.{number}"
        for place in (shutil.which(name), *root.glob(f"versions/*/bin/{name}")):
            if place and name not in found:
                done = subprocess.run([place, "-I", "-c", ""], capture_output=True)
                if done.returncode == 0:
                    found[name] = str(place)
    return list(found.values())


@pytest.mark.parametrize("python", pythons_here())
async def test_it_runs_on_any_python_that_is_here(served, start, python):
    rig, _ = served
    rig.launch = stub("exit", "3")
    _, environment = await rig.submit()
    agent = await start(ours(environment), python=python)
    code, output = await agent.finish()
    assert code == 3, output


@pytest.mark.parametrize(
    ("module", "oldest"),
    [
        (agent, 6),
        (agent_hub, 6),
        (job_log, 6),
        (job_memory, 6),
        (kernel_pipe, 6),
        (server_rights, 8),
        (singleuser, 8),
    ],
)
def test_what_travels_is_written_for_old_pythons(module, oldest):
    text = Path(module.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, oldest))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    theirs = (
        {"tornado", "jupyterhub", "jupyter_server", "jupyter_client"}
        if oldest == 8
        else set()
    )
    assert names - set(sys.stdlib_module_names) <= {"spawners"} | theirs
