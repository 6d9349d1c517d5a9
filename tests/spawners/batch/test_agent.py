"""The agent as a real process against a real HTTPS rendezvous, with stub servers."""

import ast
import asyncio
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rendezvous_rig import HubDouble, Rig, private_munge, serving

from spawners.batch import agent, agent_hub, job_memory, singleuser
from spawners.batch.job_side import (
    JobSideSettings,
    Launch,
    agent_command,
    job_environment,
)
from spawners.batch.models import JobState
from spawners.batch.proof import MungeVerifier

# A server that tells a port, writes what it got, and does as its argument says.
STUB = """\
import json, os, signal, sys, time
fd = int(os.environ.pop("LANDBRIDGE_READY_FD"))
print("stub is starting", flush=True)
print("to stderr", file=sys.stderr, flush=True)
what = sys.argv[1]
if what == "dump":
    files = {k: open(v).read() for k, v in os.environ.items() if "SSL" in k}
    modes = {k: oct(os.stat(v).st_mode) for k, v in os.environ.items() if "SSL" in k}
    place = os.path.dirname(os.environ["JUPYTERHUB_SSL_KEYFILE"])
    json.dump({"env": dict(os.environ), "files": files, "modes": modes,
               "place": place, "place_mode": oct(os.stat(place).st_mode),
               "argv": sys.argv, "pgid": os.getpgid(0), "sid": os.getsid(0),
               "pid": os.getpid(), "stdin": sys.stdin.read()}, open(sys.argv[2], "w"))
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "exit-early":
    sys.exit("stub cannot start")
os.write(fd, b"41000\\n"); os.close(fd)
if what == "crash-later":
    runs = open(sys.argv[2], "a+"); runs.write("run %s\\n" % os.getpid()); runs.flush()
    told = os.environ.get("LANDBRIDGE_BIND_PORT")
    print("told to bind", told, flush=True)
    runs.seek(0)
    if len(runs.readlines()) <= int(sys.argv[3]):
        while not os.path.exists(sys.argv[2] + ".ready"):
            time.sleep(0.02)
        os.kill(os.getpid(), int(sys.argv[4]))
if what == "exit":
    sys.exit(int(sys.argv[2]))
if what == "shout":
    sys.stdout.write("x" * 200000 + "the end\\n"); sys.exit(5)
time.sleep(60)
"""


class Agent:
    """One agent process, started as a job's script starts it."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid

    async def finish(self, within=25):
        """Wait for its end; return (exit code, output)."""
        async with asyncio.timeout(within):
            output, _ = await self.process.communicate()
        return self.process.returncode, output.decode()


@pytest.fixture(scope="module")
def munge(tmp_path_factory):
    with private_munge(tmp_path_factory.mktemp("munge")) as socket:
        yield socket


@pytest.fixture
async def start(tmp_path, monkeypatch):
    """Start agents; what is left of them is ended after the test."""
    scratch = tmp_path / "node"
    scratch.mkdir()
    agents = []

    async def start(environment, *, python=sys.executable, **more):
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "SLURMD_NODENAME": "n01",
            "https_proxy": "http://127.0.0.1:9",
            "SITE_MODULES": "kept",
        }
        process = await asyncio.create_subprocess_shell(
            "exec " + shlex.join(agent_command(python)),
            env={**base, **environment, **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        agents.append(process)
        return Agent(process)

    yield start
    for process in agents:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def stub(*arguments):
    return Launch(
        ("{python}", "{dir}/stub.py", *arguments),
        {"JUPYTERHUB_API_TOKEN": "hub-token", "PATH": os.environ["PATH"]},
        {"stub.py": STUB},
    )


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path) as (rig, hub):
        rig.launch = stub("wait")
        yield rig, hub


async def is_ready(rig, record):
    async with asyncio.timeout(20):
        return await rig.jobs.wait(record.name, lambda r: r.endpoint)


async def log_of(rig, record):
    """Return the story's line about the end of the server's process."""
    events = await rig.jobs.events(record.owner)
    return next(event for event in events if event.kind == "server")


def ours(environment, **more):
    return {**environment, "LANDBRIDGE_PYTHON": sys.executable, **more}


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
    endpoint = (await is_ready(rig, record)).endpoint
    assert (endpoint.host, endpoint.port) == ("n01", 41000)
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
    ("module", "oldest"), [(agent, 6), (agent_hub, 6), (job_memory, 6), (singleuser, 8)]
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
    theirs = {"tornado", "jupyterhub", "jupyter_server"} if oldest == 8 else set()
    assert names - set(sys.stdlib_module_names) <= {"spawners"} | theirs


# The hub's absences


async def test_a_hub_that_restarts_in_the_middle_is_waited_for(served, start):
    rig, hub = served
    record, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment))
    line = await agent.process.stdout.readline()
    assert b"Waiting for the hub" in line
    await rig.restart()
    await hub.up()
    await is_ready(rig, record)
    agent.process.terminate()
    await agent.finish()


async def test_lost_answers_are_asked_for_again(served, start):
    rig, hub = served
    rig.launch = stub("exit", "0")
    hub.lose = 3  # two fetches, one later call
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0, output
    assert hub.calls.count("fetch") >= 3
    assert (await log_of(rig, record)).data["exit_code"] == 0


async def test_a_lost_answer_to_ready_is_asked_for_again(served, start):
    rig, hub = served
    record, environment = await rig.submit()
    answer = rig.rendezvous.ready

    async def lose_one(body, peer):
        rig.rendezvous.ready = answer
        hub.lose = 1
        return await answer(body, peer)

    rig.rendezvous.ready = lose_one
    agent = await start(ours(environment))
    async with asyncio.timeout(20):
        while hub.calls.count("ready") < 2:
            await asyncio.sleep(0.05)
    assert agent.process.returncode is None
    assert rig.jobs.get(record.name).endpoint.port == 41000
    agent.process.terminate()
    await agent.finish()


async def test_a_hub_that_never_answers_is_given_up_in_words(served, start):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment, LANDBRIDGE_PATIENCE="1"))
    code, output = await agent.finish()
    assert code == 1
    assert "cannot be reached from this node, so this job ends" in output


async def test_waiting_for_the_hub_can_be_ended(served, start):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment))
    await agent.process.stdout.readline()
    agent.process.terminate()
    code, _ = await agent.finish(within=5)
    assert code == 128 + signal.SIGTERM


async def test_somebody_else_on_the_hubs_port_gets_nothing(
    served, start, tmp_path_factory
):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    impostor = Rig(tmp_path_factory.mktemp("impostor"))
    impostor.port = rig.port
    async with asyncio.timeout(20):
        fake = HubDouble(impostor)
        await fake.up()
        agent = await start(ours(environment, LANDBRIDGE_PATIENCE="1"))
        code, output = await agent.finish()
        await fake.down()
    assert code == 1
    assert "certificate verify failed" in output
    assert fake.calls == []


# Ends that somebody wants


async def test_a_job_that_is_no_longer_wanted_ends_by_itself(served, start):
    rig, _ = served
    rig.scheduler.cancels_work = False
    record, environment = await rig.submit()
    await rig.jobs.cancel(record.name)
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0
    assert "no longer wanted" in output
    assert "stub is starting" not in output


async def test_a_job_that_is_cancelled_before_it_is_ready_ends_its_server(
    served, start
):
    rig, hub = served
    rig.scheduler.cancels_work = False
    record, environment = await rig.submit()
    answer = rig.rendezvous.ready

    async def cancel_first(body, peer):
        await rig.jobs.cancel(record.name)
        return await answer(body, peer)

    rig.rendezvous.ready = cancel_first
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0
    assert "no longer wanted" in output
    assert hub.calls[-1] == "ended"


# What a person reads


async def test_an_environment_without_python_is_named(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    agent = await start({**environment, "LANDBRIDGE_PYTHON": "/no/such/place"})
    code, output = await agent.finish()
    assert code == 127
    assert "There is no Python at /no/such/place on this node." in output
    rig.scheduler.move(record.job, JobState.FAILED, exit_code=127)
    record = await rig.jobs.wait(record.name, lambda r: not r.live)
    assert "/no/such/place" in record.failure.log


async def test_a_command_that_does_not_exist_is_named(served, start):
    rig, _ = served
    rig.launch = Launch(("/no/such/program",), {})
    _, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 127
    assert "/no/such/program cannot be started" in output


async def test_a_directory_of_an_environment_is_enough(served, start):
    rig, _ = served
    rig.launch = stub("exit", "0")
    _, environment = await rig.submit()
    agent = await start({**environment, "LANDBRIDGE_PYTHON": sys.prefix})
    code, output = await agent.finish()
    assert code == 0, output


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}\n",
        "#!{python} -I\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
    ],
)
async def test_the_interpreter_of_the_first_singleuser_on_the_path_is_used(
    served, start, tmp_path, head
):
    rig, _ = served
    place = tmp_path / "bin"
    place.mkdir()
    python = place / "python3.11"
    python.symlink_to(sys.executable)
    script = place / "jupyterhub-singleuser"
    script.write_text(head.format(python=python))
    script.chmod(0o755)
    rig.launch = Launch(
        ("{python}", "-c", "import sys; sys.exit('it is ' + sys.executable)"),
        {"PATH": f"{place}:{os.environ['PATH']}"},
    )
    _, environment = await rig.submit()
    agent = await start(environment)
    _, output = await agent.finish()
    assert f"it is {python}" in output


# Munge, and old Pythons


async def test_munge_proves_the_job_to_the_hub(tmp_path, start, munge):
    user = pwd.getpwuid(os.getuid()).pw_name
    async with serving(
        tmp_path, proof="munge", munge=MungeVerifier(socket=munge), munge_socket=munge
    ) as (rig, hub):
        rig.launch = stub("exit", "0")
        hub.lose = 1
        _, environment = await rig.submit(user=user)
        assert "LANDBRIDGE_TOKEN" not in environment
        agent = await start(ours(environment))
        code, output = await agent.finish()
        assert code == 0, output
        assert hub.calls.count("fetch") == 2

        _, environment = await rig.submit("server:alice/other", "nobody")
        agent = await start(ours(environment))
        code, output = await agent.finish()
        assert code == 1
        assert "does not know this job by this proof" in output


async def test_a_node_without_munge_says_so(tmp_path, start):
    async with serving(tmp_path, proof="munge", munge_socket="/nonexistent") as (
        rig,
        _,
    ):
        _, environment = await rig.submit()
        agent = await start(ours(environment))
        code, output = await agent.finish()
    assert code == 1
    assert "cannot prove who you are" in output


async def test_a_job_without_its_variables_says_so(served, start):
    _, environment = await served[0].submit()
    del environment["LANDBRIDGE_CA"]
    agent = await start(environment)
    code, output = await agent.finish()
    assert code == 1
    assert "lacks the variable 'LANDBRIDGE_CA'" in output


def test_the_environment_is_lines_that_every_tool_can_carry(tmp_path):
    ca = Rig(tmp_path).pki.hub_ca.certificate
    side = JobSideSettings("https://10.0.0.1:8443/hub/api/landbridge/jobs", ca)
    environment = job_environment("lb-one", side)
    for name, value in environment.items():
        assert name.startswith("LANDBRIDGE_")
        assert value.isascii()
        assert value.isprintable()
        assert len(value) < 20_000
    assert environment["LANDBRIDGE_PROOF"] == "munge"
