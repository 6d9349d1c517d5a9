"""The launcher as the agent starts it, with a real kernel and its owner's tunnel."""

import asyncio
import os
import signal
import ssl
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from jupyter_client import AsyncKernelClient

from rigs.batch.agent import is_ready, log_of
from spawners.batch.jobs.wire import Credential
from spawners.batch.rendezvous.certificates import job_host
from spawners.kernels.launch import kernel_launch
from spawners.kernels.settings import KernelSettings
from spawners.kernels.tunnel import Tunnel, private_directory
from spawners.node.kernel.names import CHANNELS, CONTROL

KEY = "a key of messages"
ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
HELLO = b'{"event": "hello"'


def told(argv=ARGV, **env):
    return {
        "argv": argv,
        "env": {"IPYTHONDIR": "/nonexistent", **env},
        "cwd": "/",
        "storage": None,
        "connection": {"key": KEY, "signature_scheme": "hmac-sha256"},
    }


class Owner:
    """The near end of a kernel's job: its tunnel, and what it heard."""

    def __init__(self, rig):
        self.rig = rig
        self.heard = []
        self.lost = asyncio.Event()
        self.tunnel = Tunnel(private_directory(), self.heard.append, self.lost.set)
        self.hello = {}

    def credential(self, name):
        pair = self.rig.pki.jobs_ca.issue_client(job_host(name))
        authority = self.rig.pki.jobs_ca.certificate
        return Credential(pair.key, pair.certificate, authority, job_host(name))

    async def attach(self, record):
        address = record.address
        self.hello = await self.tunnel.attach(
            address.address, address.port, self.credential(record.name)
        )

    async def event(self, kind):
        async with asyncio.timeout(20):
            while True:
                for message in self.heard:
                    if message.get("event") == kind:
                        return message
                await asyncio.sleep(0.02)

    def client(self):
        client = AsyncKernelClient(transport="ipc", ip=self.tunnel.prefix)
        for number, channel in enumerate(CHANNELS, 1):
            setattr(client, f"{channel}_port", number)
        client.session.key = KEY.encode()
        client.start_channels()
        return client


@pytest.fixture
async def owner(served):
    owner = Owner(served[0])
    await owner.tunnel.open()
    yield owner
    await owner.tunnel.close()


@pytest.fixture
async def kernel(served, start):
    """Start a kernel's job; return its record, once it is ready, and its agent."""
    rig, _ = served

    async def begin(*, settings=None, **more):
        settings = settings or KernelSettings(scheduler="local")
        record, environment = await rig.submit("kernel:alice//k/1", node=None)
        launch = kernel_launch(record.name, told(**more), settings, warn_before=30)
        assert await rig.jobs.give_launch(record.name, launch)
        rig.run(record)
        agent = await start(environment)
        return await is_ready(rig, record), agent

    return begin


def launcher_of(agent):
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text()
    (launcher,) = map(int, children.split())
    return launcher


async def answers(client, code):
    async with asyncio.timeout(40):
        await client.wait_for_ready()
        printed = []

        def hear(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        await client.execute_interactive(code, output_hook=hear, allow_stdin=False)
    return "".join(printed).strip()


async def test_a_kernel_answers_through_the_tunnel_and_ends_its_job(
    served, owner, kernel
):
    rig, _ = served
    record, agent = await kernel()
    await owner.attach(record)
    assert owner.hello["connection"]["key"] == KEY
    assert owner.hello["cwd"] == "/"
    client = owner.client()
    try:
        seen = await answers(client, "import os; print(dict(os.environ), os.getpid())")
        job = Path(f"/proc/{agent.pid}/environ").read_text()
    finally:
        client.stop_channels()
    assert KEY not in seen
    assert KEY not in job
    for ours in ("JUPYTERHUB_", "JUPYTER_RUNTIME_DIR", "hub-token"):
        assert ours not in seen
    owner.tunnel.tell({"op": "end"})
    assert (await owner.event("bye"))["event"] == "bye"
    code, output = await agent.finish()
    assert code == 0, output
    assert (await log_of(rig, record)).data["exit_code"] == 0


async def test_nothing_secret_is_left_in_the_jobs_directory(owner, kernel):
    record, agent = await kernel()
    await owner.attach(record)
    launcher = launcher_of(agent)
    (kernel,) = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    words = Path(f"/proc/{kernel}/cmdline").read_text().split("\0")
    place = Path(words[-2]).parent  # of the connection file
    names = {path.name for path in place.iterdir()}
    assert not names & {"kernel.json", "server.key", "server.crt", "identity.pem"}


async def test_a_kernel_that_cannot_be_started_is_told_of_in_words(owner, kernel):
    record, _ = await kernel(argv=["/no/such/python", "-f", "{connection_file}"])
    await owner.attach(record)
    assert "/no/such/python cannot be started: No such file" in owner.hello["failed"]
    answer = await owner.tunnel.ask({"op": "restart", "launch": told()})
    assert answer["run"] == 2
    assert "failed" not in answer
    client = owner.client()
    try:
        assert await answers(client, "print(6 * 7)") == "42"
    finally:
        client.stop_channels()


async def test_only_the_owner_of_this_very_job_is_heard(served, owner, kernel):
    rig, _ = served
    record, _ = await kernel()
    address = record.address
    authority = rig.pki.jobs_ca

    async def knock(pair):
        context = ssl.create_default_context(cadata=authority.certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if pair is not None:
            file = rig.directory / "knock.pem"
            file.write_text(pair.key + pair.certificate)
            context.load_cert_chain(file)
        try:
            reader, writer = await asyncio.open_connection(
                address.address,
                address.port,
                ssl=context,
                server_hostname=job_host(record.name),
            )
            writer.write(f"{CONTROL}\n".encode())
            async with asyncio.timeout(10):
                answer = await reader.read(len(HELLO) + 100)
            writer.transport.abort()
        except OSError:
            return b""
        return answer

    assert await knock(None) == b""
    assert await knock(authority.issue_client(job_host("lb-other"))) == b""
    assert await knock(authority.issue_server(job_host(record.name))) == b""
    assert await knock(rig.pki.hub_ca.issue_client(job_host(record.name))) == b""
    own = await knock(authority.issue_client(job_host(record.name)))
    assert b'"hello"' in own


async def test_the_warning_reaches_the_owner_and_a_signal_ends_all(owner, kernel):
    record, agent = await kernel()
    await owner.attach(record)
    pid = owner.hello["pid"]
    agent.process.send_signal(signal.SIGUSR1)
    assert (await owner.event("time-limit"))["seconds"] <= 30
    agent.process.send_signal(signal.SIGTERM)
    ending = await owner.event("ending")
    assert ending["signal"] == signal.SIGTERM
    await agent.finish()
    assert not Path(f"/proc/{pid}").exists()


async def test_it_ends_by_itself_when_nobody_is_attached(kernel):
    settings = KernelSettings(scheduler="local", lease=timedelta(seconds=1))
    _, agent = await kernel(settings=settings)
    code, output = await agent.finish()
    assert code == 0
    assert "nobody has been attached" in output


async def test_a_launcher_that_is_killed_is_not_started_again(owner, kernel):
    record, agent = await kernel()
    await owner.attach(record)
    os.kill(launcher_of(agent), signal.SIGKILL)
    try:
        code, output = await agent.finish()
    finally:
        os.kill(owner.hello["pid"], signal.SIGKILL)  # the scheduler's part
    assert code == 128 + signal.SIGKILL
    assert "started again" not in output
    async with asyncio.timeout(10):
        await owner.lost.wait()
