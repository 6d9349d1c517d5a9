"""A Python kernel listens on no TCP port, and what its forks print still arrives.

Its debugger has to listen on one, which is for its user alone.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from spawners.node.kernel_pipe import with_private_pipe

PYTHON = ["/opt/py/bin/python3.11", "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
# What the kernel finds out about itself: the ports on which it listens.
PORTS = """
import os
def ports():
    inodes = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            inodes.add(os.readlink("/proc/self/fd/" + name)[8:-1])
        except OSError:
            pass
    lines = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines += open("/proc/self/net/" + table).read().splitlines()[1:]
    rows = [line.split() for line in lines]
    return [row[1] for row in rows if row[9] in inodes and row[3] in ("0A", "07")]
print("ports:", ports())
"""
FORK = """
import multiprocessing
child = multiprocessing.get_context("fork").Process(
    target=print, args=("printed by a fork",), kwargs={"flush": True})
child.start(); child.join(); print("then by us", child.exitcode)
"""
ABOUT = """
import sys
print(sys.argv[0].endswith("ipykernel_launcher.py"), "" in sys.path, __name__)
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel on ipc, started as we start those of users."""
    # A socket's path is short, and this is what the agent gives a server.
    place = Path("/tmp", f"lbt-{os.getpid()}")
    place.mkdir(mode=0o700)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # A folder of the user's own, with modules of such names in it.
    work = tmp_path / "work"
    work.mkdir()
    for name in ("zmq", "runpy", "ipykernel"):
        (work / f"{name}.py").write_text("raise RuntimeError('of the user')")
    manager = KernelManager(
        transport="ipc",
        ip=str(place / "k"),
        connection_file=str(place / "k.json"),
    )
    command = [sys.executable, *PYTHON[1:], "-f", str(place / "k.json")]
    monkeypatch.setattr(
        KernelManager,
        "format_kernel_cmd",
        lambda self, extra_arguments=None: with_private_pipe(command, str(place)),
    )
    manager.start_kernel(cwd=str(work))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client, place
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        shutil.rmtree(place)


def printed(client, code):
    text = []

    def hear(message):
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])
        assert message["msg_type"] != "error", message["content"]

    client.execute_interactive(code, timeout=60, output_hook=hear)
    return "".join(text)


def test_no_port_is_open_and_forks_are_heard(kernel):
    client, place = kernel
    assert printed(client, PORTS) == "ports: []\n"
    said = printed(client, FORK)
    assert "printed by a fork\n" in said
    assert "then by us 0\n" in said
    assert printed(client, ABOUT) == "True True __main__\n"
    (pipe,) = place.glob("out-*")
    assert stat.S_ISSOCK(pipe.stat().st_mode)


def test_only_python_kernels_are_started_otherwise():
    changed = with_private_pipe([*PYTHON, "-f", "k.json"], "/tmp/lb-x/run")
    assert changed[:3] == [*PYTHON[:2], "-c"]
    assert changed[4:] == ["-f", "k.json"]
    assert "'/tmp/lb-x/run'" in changed[3]
    compile(changed[3], "starter", "exec")
    for other in (
        [],
        ["python3"],
        ["/usr/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "k.json"],
        ["python3", "-m", "xonsh_kernel", "-f", "k.json"],
        ["python3", "-c", "import x", "-m", "ipykernel_launcher"],
        ["bash", "-c", "python3 -m ipykernel_launcher -f k.json"],
        ["python3", "script.py", "-m", "ipykernel_launcher"],
    ):
        assert with_private_pipe(other, "/tmp/lb-x/run") == other
    assert with_private_pipe(PYTHON, "/" + "x" * 100) == PYTHON


def test_an_ipykernel_that_has_no_such_pipe_is_started_as_it_is(tmp_path):
    """As of a release to come: nothing to change, and no word about it."""
    package = tmp_path / "ipykernel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "iostream.py").write_text("class IOPubThread: pass\n")
    (package / "__main__.py").write_text("import sys; print('started', sys.argv[1:])")
    argv = with_private_pipe([sys.executable, "-m", "ipykernel", "-f", "k"], "/tmp/x")
    done = subprocess.run(
        argv, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("started ['-f', 'k']\n", "")


# Debugpy's protocol as anybody may speak it: attach, then have code run.
STRANGER = """
import json, os, socket, sys
os.setgroups([]); os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
one = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
one.settimeout(10)
stream = one.makefile("rwb")
def ask(number, command, arguments):
    text = json.dumps({"seq": number, "type": "request", "command": command,
                       "arguments": arguments}).encode()
    stream.write(b"Content-Length: %d\\r\\n\\r\\n" % len(text) + text)
    stream.flush()
def hear(command):
    while True:
        head = stream.readline()
        if not head:
            raise ConnectionError("hung up")
        stream.readline()
        message = json.loads(stream.read(int(head.split(b":")[1])))
        if message.get("command") == command:
            return message
try:
    ask(1, "initialize", {"adapterID": "x", "pathFormat": "path"})
    hear("initialize")
    ask(2, "attach", {})
    ask(3, "configurationDone", {})
    ask(4, "evaluate", {"expression": "6 * 7", "context": "repl"})
    print(hear("evaluate"))
except OSError as error:
    print("refused", type(error).__name__)
"""


def debug(client, number, command, **arguments):
    """Ask the kernel's debugger as JupyterLab does; return its answer."""
    content = {"type": "request", "seq": number, "command": command}
    message = client.session.msg("debug_request", {**content, "arguments": arguments})
    client.control_channel.send(message)
    while True:
        answer = client.control_channel.get_msg(timeout=60)
        if answer["parent_header"]["msg_id"] == message["header"]["msg_id"]:
            return answer["content"]


def adapter_port(place):
    """The port of the debugger's adapter: the only process started from ``place``."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(word.startswith(f"{place}/debug-") for word in words):
            return int(words[words.index("--port") + 1])
    raise AssertionError("there is no adapter")


@pytest.mark.root
def test_the_debugger_is_its_users_alone(kernel):
    client, place = kernel
    assert debug(client, 1, "debugInfo")["success"]
    began = debug(client, 2, "initialize", clientID="x", adapterID="x")
    assert began["success"], began
    assert debug(client, 3, "attach")["success"]
    port = adapter_port(place)

    def stranger(uid):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", STRANGER, str(port), str(uid)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout or done.stderr

    assert stranger(65534).startswith("refused"), "while the debugger is in use"
    assert debug(client, 4, "disconnect", terminateDebuggee=False)["success"]
    assert stranger(65534).startswith("refused"), "and after it was"
    assert "'result': '42'" in stranger(os.getuid()), "the attack itself is good"
    assert printed(client, "print(1)") == "1\n"


def test_a_debugger_that_cannot_be_guarded_is_none(tmp_path):
    package = tmp_path / "ipykernel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "debugger.py").write_text("_is_debugpy_available = True\n")
    (package / "__main__.py").write_text(
        "from ipykernel import debugger; print(debugger._is_debugpy_available)"
    )
    place = tmp_path / "place"
    for name in ("debugpy", "debugpy/common", "debugpy/server", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "debugpy/common/sockets.py").touch()  # without what we guard
    (tmp_path / "debugpy/server/api.py").write_text("class adapter: __file__ = 'x/y'\n")
    argv = with_private_pipe([sys.executable, "-m", "ipykernel"], str(place))
    done = subprocess.run(
        argv, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
