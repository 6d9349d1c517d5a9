"""Agents as processes, started as a job's script starts them, with stub servers."""

import asyncio
import os
import shlex
import sys

import pytest

from rigs.batch.rendezvous import serving
from spawners.batch.models import Launch
from spawners.batch.rendezvous.launch import agent_command

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
if what == "flood":
    for _ in range(1200):
        sys.stdout.write("x" * 65535 + "\\n")
    sys.stdout.write("the end of the flood\\n"); sys.exit(6)
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
        return await rig.jobs.wait(record.name, lambda r: r.address)


async def log_of(rig, record):
    """Return the story's line about the end of the server's process."""
    events = await rig.jobs.events(record.owner)
    return next(event for event in events if event.kind == "server")


def ours(environment, **more):
    return {**environment, "LANDBRIDGE_PYTHON": sys.executable, **more}
