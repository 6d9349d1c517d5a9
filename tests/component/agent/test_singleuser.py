"""The real jupyterhub-singleuser behind the shim, from fetch to a kernel's answer."""

import asyncio
import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
import websockets

from rigs.batch.rendezvous import serving
from spawners.batch.models import JobState
from spawners.batch.rendezvous.certificates import job_host
from spawners.batch.rendezvous.launch import agent_command
from spawners.notebooks.launch import notebook_launch

PREFIX = "/user/alice/"
# The ports on which the kernel listens, as it sees them itself; UDP included.
PORTS = """
import os
from pathlib import Path
fds = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
inodes = {os.readlink(fd)[8:-1] for fd in fds if os.path.lexists(fd)}
tables = [Path("/proc/self/net", name) for name in ("tcp", "tcp6", "udp", "udp6")]
rows = [row.split() for table in tables for row in table.open()]
[row[1] for row in rows if row[9] in inodes and row[3] in ("0A", "07")]
"""
ALICE = {
    "kind": "user",
    "name": "alice",
    "admin": False,
    "groups": [],
    "scopes": ["access:servers!server=alice/"],
}


def environment_of_hub(port, home):
    """What JupyterHub's Spawner.get_env() gives, with a URL that fits nowhere."""
    api = f"https://127.0.0.1:{port}/hub/api"
    return {
        "JUPYTERHUB_API_TOKEN": "hub-token",
        "JUPYTERHUB_API_URL": api,
        "JUPYTERHUB_ACTIVITY_URL": f"{api}/users/alice/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-alice",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=alice/"]',
        "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=alice/"]',
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:0{PREFIX}",
        "JUPYTERHUB_USER": "alice",
        "HOME": str(home),
    }


class Server:
    """A running single-user server and how to talk to it."""

    def __init__(self, rig, record, process):
        self.rig = rig
        self.record = record
        self.process = process
        self.address = record.address
        self.name = job_host(record.name)

    def trust(self, certificate=None, key=None):
        context = ssl.create_default_context(cafile=self.rig.pki.jobs_ca_file)
        if certificate:
            context.load_cert_chain(certificate, key)
        return context

    @property
    def proxy(self):
        """How the proxy and the hub come."""
        return self.trust(self.rig.pki.client_pem)

    async def request(self, context, method, path, body=b"", token="alices", more=""):
        """Make a request signed in as alice; return (status, JSON)."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.address.port, ssl=context, server_hostname=self.name
        )
        try:
            writer.write(
                f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: token {token}\r\nContent-Length: {len(body)}\r\n"
                f"{more}Connection: close\r\n\r\n".encode()
                + body
            )
            answer = await reader.read()
        finally:
            writer.transport.abort()
        head, _, text = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(text)


@pytest.fixture
def arguments():
    """More words for the server's command line."""
    return []


@pytest.fixture
async def server(tmp_path, arguments):
    async with serving(tmp_path) as (rig, hub):
        known = {"alices", "thiefs"}
        hub.requests["/hub/api/user"] = lambda token: (
            (200, ALICE) if token in known else (403, {})
        )
        rig.launch = notebook_launch(
            environment_of_hub(rig.port, tmp_path),
            [
                "--allow-root",
                f"--notebook-dir={tmp_path}",
                *arguments,
            ],
        )
        record, environment = await rig.submit()
        environment |= {
            "PATH": os.environ["PATH"],
            "SLURMD_NODENAME": "n01",
            "LANDBRIDGE_PYTHON": sys.executable,
        }
        log = (tmp_path / "log").open("wb")
        process = await asyncio.create_subprocess_shell(
            "exec " + shlex.join(agent_command(sys.executable)),
            env=environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        try:
            async with asyncio.timeout(120):
                record = await rig.jobs.wait(record.name, lambda r: r.address)
            server = Server(rig, record, process)
            server.known, server.log = known, tmp_path / "log"
            yield server
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
            sys.stdout.write((tmp_path / "log").read_text())


async def test_it_runs_kernels_for_the_proxy_and_answers_nobody_else(server, tmp_path):
    # the hub's client certificate: accepted
    status, answer = await server.request(server.proxy, "GET", "api")
    assert (status, set(answer)) == (200, {"version"})

    # none, that of another job, the hub's own edge: refused in the handshake
    other = server.rig.pki.jobs_ca.issue_server(job_host("lb-other"))
    (tmp_path / "other.crt").write_text(other.certificate)
    (tmp_path / "other.key").write_text(other.key)
    for context in (
        server.trust(),
        server.trust(tmp_path / "other.crt", tmp_path / "other.key"),
        server.trust(server.rig.pki.edge_pem),
    ):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await server.request(context, "GET", "api")

    # no TLS, and an old one: no answer
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
    writer.write(b"GET /user/alice/api HTTP/1.1\r\nHost: x\r\n\r\n")
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    old = server.proxy
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await server.request(old, "GET", "api")

    # what Jupyter itself believes and writes is the port that is bound
    (written,) = [json.loads(text) for text in runtime_files(server.process.pid)]
    assert written["port"] == server.address.port
    assert listeners(server.address.port) == {"00000000", "0" * 32}

    assert await run_cell(server, "6 * 7") == "42"
    seen = await run_cell(
        server,
        "import os; ' '.join(sorted(k for k in os.environ if 'LANDBRIDGE' in k))",
    )
    assert seen == "''"
    # and no port of a kernel is open to others on the node
    info = "import ipykernel.connect as c; c.get_connection_info(unpack=True)"
    transport = await run_cell(server, f"{info}['transport']")
    assert transport == "'ipc'"
    assert await run_cell(server, PORTS) == "[]"

    server.process.terminate()
    async with asyncio.timeout(20):
        await server.process.wait()
    assert not list(runtime_files(server.process.pid))


def test_a_site_may_say_otherwise_and_the_rest_is_ours():
    ours = notebook_launch({}, []).argv[2:]
    assert "--KernelManager.transport=ipc" in ours
    assert "--ServerApp.websocket_ping_interval=60" in ours
    assert "--LabApp.extension_manager=readonly" in ours
    given = "--ServerApp.websocket_ping_interval=7"
    assert notebook_launch({}, [given]).argv[2:].count(given) == 1
    assert len(notebook_launch({}, [given]).argv) == len(ours) + 2


async def connect(server, head):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.address.port, ssl=server.proxy, server_hostname=server.name
    )
    head = [head, "Host: x", "Authorization: token alices"]
    return reader, writer, "\r\n".join(head)


@pytest.mark.parametrize("arguments", [["--ServerApp.websocket_ping_interval=1"]])
async def test_a_quiet_websocket_is_asked_whether_anybody_is_there(server):
    """That of events, for which Jupyter has no ping of its own: the proxy hears it."""
    head = f"GET {PREFIX}api/events/subscribe HTTP/1.1"
    reader, writer, text = await connect(server, head)
    writer.write(
        f"{text}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        "\r\n\r\n".encode()
    )
    async with asyncio.timeout(20):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await reader.readexactly(2) == b"\x89\x00", "a ping"
    writer.transport.abort()


async def test_jupyterlab_installs_nothing_by_a_click(server):
    reader, writer, text = await connect(server, f"GET {PREFIX}lab HTTP/1.1")
    writer.write(f"{text}\r\nConnection: close\r\n\r\n".encode())
    page = (await reader.read()).decode()
    writer.transport.abort()
    manager = re.search(r'"extensionManager":\s*(\{[^}]*\})', page)
    assert json.loads(manager[1])["can_install"] is False


async def new_kernel(server):
    status, kernel = await server.request(
        server.proxy, "POST", "api/kernels", b'{"name": "python3"}'
    )
    assert status == 201
    return kernel["id"]


def socket_to(server, path, token="alices"):
    """Open a websocket of the server's, as the proxy does for a browser."""
    return websockets.connect(
        f"wss://{server.name}:{server.address.port}{PREFIX}{path}",
        host="127.0.0.1",
        ssl=server.proxy,
        additional_headers={"Authorization": f"token {token}"},
        proxy=None,
    )


async def run_cell(server, code):
    """Run code in a fresh kernel through its websocket; return its result."""
    kernel = await new_kernel(server)
    async with asyncio.timeout(30):
        async with socket_to(server, f"api/kernels/{kernel}/channels") as socket:
            return await execute(socket, code)


async def execute(socket, code):
    """Run code through a kernel's websocket; return its result."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
    }
    await socket.send(
        json.dumps(
            {
                "header": header,
                "parent_header": {},
                "metadata": {},
                "channel": "shell",
                "content": {"code": code, "silent": False},
            }
        )
    )
    async for message in socket:
        message = json.loads(message)
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue  # another client's
        if message["msg_type"] == "execute_result":
            return message["content"]["data"]["text/plain"]
        assert message["msg_type"] != "error", message["content"]


async def test_a_token_that_is_revoked_is_dead_within_30_s_with_all_it_opened(
    server, tmp_path
):
    session = "Cookie: jupyterhub-session-id=canary-session\r\nX-A: b\r\n"
    kernel = await new_kernel(server)
    status, terminal = await server.request(server.proxy, "POST", "api/terminals")
    assert status == 200
    channels = f"api/kernels/{kernel}/channels"
    async with (
        socket_to(server, channels) as alices,
        socket_to(server, channels, "thiefs") as thiefs,
        socket_to(server, f"terminals/websocket/{terminal['name']}", "thiefs") as shell,
        socket_to(server, "api/events/subscribe", "thiefs") as events,
    ):
        assert await execute(thiefs, "6 * 7") == "42"
        assert await execute(alices, "6 * 7") == "42"
        page = ("GET", "lab", b"", "thiefs", session)
        with suppress(json.JSONDecodeError):  # it is a page
            await server.request(server.proxy, *page)

        began = asyncio.get_running_loop().time()
        server.known.discard("thiefs")
        async with asyncio.timeout(30):
            for socket in (thiefs, shell, events):
                with pytest.raises(websockets.ConnectionClosed):
                    while True:
                        await socket.recv()
            while (
                await server.request(server.proxy, "GET", "api/kernels", b"", "thiefs")
            )[0] != 403:
                await asyncio.sleep(0.2)
        assert asyncio.get_running_loop().time() - began < 30
        assert await execute(alices, "7 * 7") == "49"
    log = server.log.read_text()
    assert "canary-session" not in log
    assert "thiefs" not in log
    assert "A token or session has ended: closing 3 of its connections" in log


def children(pid):
    """Return the pids of a process's children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def runtime_files(agent):
    """Return the texts of the runtime files of the agent's server."""
    if not Path(f"/proc/{agent}").exists():
        return []
    (server,) = children(agent)
    environ = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    (place,) = [e for e in environ if e.startswith(b"JUPYTER_RUNTIME_DIR=")]
    place = Path(place.partition(b"=")[2].decode())
    return [path.read_text() for path in place.glob("jpserver-*.json")]


def listeners(port):
    """Return the addresses, in the kernel's hex, on which somebody listens."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, _, in_hex = line.split()[1].partition(":")
            if int(in_hex, 16) == port and line.split()[3] == "0A":
                found.add(address)
    return found


@pytest.mark.parametrize(
    ("missing", "error", "told"),
    [
        ("tornado", "ModuleNotFoundError('No', name='tornado')", "is not installed"),
        ("jupyterhub", "ModuleNotFoundError('No', name='jupyterhub')", "JupyterHub is"),
        ("jupyter_server", "ImportError('libx.so: gone')", "libx.so: gone"),
    ],
)
async def test_an_environment_without_jupyterlab_is_explained(
    tmp_path, missing, error, told
):
    stub = tmp_path / "site" / missing
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(f"raise {error}")
    async with serving(tmp_path) as (rig, _):
        rig.launch = notebook_launch(
            environment_of_hub(rig.port, tmp_path)
            | {"PYTHONPATH": str(tmp_path / "site")}
        )
        record, environment = await rig.submit()
        process = await asyncio.create_subprocess_shell(
            "exec " + shlex.join(agent_command(sys.executable)),
            env=environment
            | {"PATH": os.environ["PATH"], "LANDBRIDGE_PYTHON": sys.executable},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 127
        assert told.encode() in output
        assert b"Traceback" not in output
        rig.scheduler.move(record.job, JobState.FAILED, exit_code=127)
        record = await rig.jobs.wait(record.name, lambda r: not r.live)
        assert told in record.failure.log


LOOK = """
import sys
from spawners.node.notebook_server import put_off_grammar
put_off_grammar()
import jsonschema
assert "lark" not in sys.modules, "the grammar was built at import"
schema = {"type": "string", "format": "iri"}
validator = jsonschema.Draft202012Validator
checker = validator.FORMAT_CHECKER
check = validator(schema, format_checker=checker).is_valid
print(check("http://\u00e4.example/"), check("no iri"))
import rfc3987_syntax.syntax_helpers
from rfc3987_syntax import is_valid_syntax
print(is_valid_syntax.__module__)
"""


def test_the_grammar_of_iris_is_built_when_one_is_checked():
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True", "False", "rfc3987_syntax.syntax_helpers"], (
        done.stderr
    )
