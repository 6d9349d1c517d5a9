"""A hub's rendezvous over the fake scheduler, and an HTTPS server around it.

``Rig`` is the hub without JupyterHub: real Jobs, store, certificates and rendezvous,
and a proof by token from a job that the fake scheduler runs on ``n01`` (127.0.0.1).
``HubDouble`` serves it to real agents over TLS, with faults on request.
"""

import asyncio
import json
import secrets
import shutil
import ssl
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta

import pytest

from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobSpec, JobState, Launch, Resources, new_job_name
from spawners.batch.rendezvous.certificates import ensure_hub_pki
from spawners.batch.rendezvous.launch import JobSideSettings
from spawners.batch.rendezvous.launches import StoredLaunches
from spawners.batch.rendezvous.rendezvous import Rendezvous, RendezvousSettings
from spawners.batch.rendezvous.store import StoredProofs

QUICK = Policy(fast=timedelta(seconds=0.05), slow=timedelta(seconds=0.2))
NONCE = "n" * 32
AGENT_PATH = "/jobs/agent"


class Rig:
    """See the module. Attributes: pki, scheduler, store, jobs, rendezvous, launch."""

    def __init__(self, directory):
        self.directory = directory
        self.pki = ensure_hub_pki(directory / "pki", names=["127.0.0.1"])
        self.scheduler = FakeScheduler()
        self.launch = Launch(("true",), {"JUPYTERHUB_API_TOKEN": "hub-token"})
        self.secrets = [b"key of launches"]
        self.port = 0
        self.proof = "token"
        self.munge = None
        self.munge_socket = None
        self.node_wait = timedelta(seconds=0.3)
        self.repeat_within = timedelta(minutes=10)

    async def start(self):
        """Start, or start again over the same store as after a crash."""
        self.store = await JobStore.open(f"sqlite:///{self.directory}/jobs.sqlite")
        side = JobSideSettings(
            f"https://127.0.0.1:{self.port}{AGENT_PATH}",
            self.pki.hub_ca.certificate,
            proof=self.proof,
            munge_socket=self.munge_socket,
            patience=timedelta(seconds=20),
        )
        settings = RendezvousSettings(
            side, node_wait=self.node_wait, repeat_within=self.repeat_within
        )
        self.launches = StoredLaunches(self.store, self.secrets, side)
        self.jobs = Jobs(self.scheduler, self.store, QUICK, launches=self.launches)
        await self.jobs.start()
        self.rendezvous = Rendezvous(
            self.jobs,
            self.pki.jobs_ca,
            StoredProofs(self.store),
            self.launches,
            settings,
            munge=self.munge,
        )

    async def stop(self):
        await self.jobs.close()
        await self.store.close()

    async def restart(self):
        await self.stop()
        await self.start()

    async def submit(self, owner="server:alice/", user="alice", *, node="n01"):
        """Submit a job, running on ``node`` unless that is None; return its pieces."""
        spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/")
        record = await self.jobs.submit(
            spec, user=user, owner=owner, launch=self.launch
        )
        environment = dict(self.scheduler.spec(record.job).environment)
        if node is not None:
            self.run(record, node)
        return record, environment

    def run(self, record, node="n01"):
        self.scheduler.move(record.job, JobState.RUNNING, node=node)

    async def call(self, verb, body, peer="127.0.0.1"):
        """Make one of the three calls with a dict or bytes; return the answer."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        return await getattr(self.rendezvous, verb)(body, peer)

    async def fetch(self, record, environment, **changes):
        peer = changes.pop("peer", "127.0.0.1")
        proof = environment.get("LANDBRIDGE_TOKEN", "")
        body = {"job": record.name, "nonce": NONCE, "proof": proof, **changes}
        return await self.call("fetch", body, peer)

    async def ready(self, record, fetched, **changes):
        body = {
            "job": record.name,
            "secret": fetched.json["report_secret"],
            "host": "n01",
            "port": 41000,
            "fingerprint": fetched.json["fingerprint"],
            **changes,
        }
        return await self.call("ready", body)


class HubDouble:
    """An HTTPS server with the hub's certificate around a rig.

    Attributes:
        calls: names of the calls that were answered, in order.
        lose: how many answers to lose: the call is made, the connection cut.
        seen: (method, path) of other requests, to JupyterHub's own API.
    """

    def __init__(self, rig):
        self.rig = rig
        self.calls = []
        self.seen = []
        self.lose = 0
        self.server = None
        # Path to JSON of the hub's own API, or to what makes (status, JSON) of a token.
        self.requests = {}

    async def up(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.rig.pki.edge_pem)
        self.server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.rig.port, ssl=context
        )
        self.rig.port = self.server.sockets[0].getsockname()[1]

    async def down(self):
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._answer(reader, writer)
        with suppress(ConnectionError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v for k, _, v in (x.partition(": ") for x in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        verb = path.rpartition("/")[2]
        if path.startswith(AGENT_PATH):
            peer = writer.get_extra_info("peername")[0]
            answer = await self.rig.call(verb, body, peer)
            status, value = answer.status, answer.json
            self.calls.append(verb)
        else:
            self.seen.append((method, path))
            status, value = 200, self.requests.get(path, {"version": "6.1.1"})
            if callable(value):
                token = headers.get("authorization", "").rpartition(" ")[2]
                status, value = value(token)
        if self.lose and path.startswith(AGENT_PATH):
            self.lose -= 1
            writer.transport.abort()
            return
        text = json.dumps(value).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n"
            "Content-Type: application/json\r\nX-JupyterHub-Version: 6.1.1\r\n"
            "Connection: close\r\n\r\n".encode()
            + text
        )
        await writer.drain()


@contextmanager
def private_munge(place):
    """Run a munged of our own, as whoever runs the tests; give its socket."""
    program = shutil.which("munged", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        pytest.skip("needs munged (Debian: munge)")
    (place / "key").write_bytes(secrets.token_bytes(1024))
    (place / "key").chmod(0o400)
    socket = place / "s"
    files = {"key-file": "key", "socket": "s", "pid-file": "pid", "log-file": "log"}
    process = subprocess.Popen(
        [
            program,
            "--foreground",
            "--force",  # the parents of the socket need not be open to all users
            f"--seed-file={place}/seed",
            *(f"--{option}={place}/{name}" for option, name in files.items()),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield str(socket)
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def serving(directory, **settings):
    """Give a started rig with a served hub around it."""
    rig = Rig(directory)
    for name, value in settings.items():
        setattr(rig, name, value)
    hub = HubDouble(rig)
    await hub.up()
    await rig.start()
    try:
        yield rig, hub
    finally:
        await hub.down()
        await rig.stop()
