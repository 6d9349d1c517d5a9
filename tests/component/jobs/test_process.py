"""``landbridge jobs``: a process of its own, killed and started again."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from hub.config.settings import load_settings
from hub.config.site import detect
from hub.run.doctor import judge_process
from hub.run.processes import jobs
from rigs.batch.agent import stub
from rigs.batch.rendezvous import HubDouble
from services.jobs.lock import CoreLock, CoreRuns
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.models import JobSpec, JobState, Resources, new_job_name
from spawners.batch.rendezvous.certificates import ensure_hub_pki
from spawners.batch.rendezvous.launch import agent_command
from spawners.batch.rendezvous.messages import Answer

OWNER = "server:alice/"


class Process:
    """``landbridge jobs`` with a state of its own, on the local scheduler."""

    def __init__(self, state: Path) -> None:
        self.state = state
        config = state / "gateway.toml"
        config.write_text('[scheduler]\nfast_poll = "1s"\n')
        self.environment = {
            **os.environ,
            "LANDBRIDGE_CONFIG": str(config),
            "LANDBRIDGE_STATE": str(state / "var"),
            "LANDBRIDGE_SCHEDULER": "local",
            "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
        }
        self.settings = load_settings(self.environment)
        self.socket = self.settings.state / "run" / "jobs.sock"
        self.token = self.settings.state / "secrets" / "jobs-hub.token"
        self.running: asyncio.subprocess.Process | None = None
        self.clients: list[RemoteJobs] = []

    def limit_to_one_cpu(self) -> None:
        with (self.state / "gateway.toml").open("a") as config:
            config.write("slots_cpus = 1\n")
        self.settings = load_settings(self.environment)

    async def start(self) -> None:
        self.running = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "hub.cli", "jobs", env=self.environment
        )

    async def end(self, number: int = signal.SIGTERM) -> int:
        running = self.running
        assert running is not None
        running.send_signal(number)
        async with asyncio.timeout(30):
            return await running.wait()

    async def client(self) -> RemoteJobs:
        async with asyncio.timeout(60):
            while not self.token.exists():
                await asyncio.sleep(0.05)
            remote = RemoteJobs(self.socket, lambda: self.token.read_text().strip())
            self.clients.append(remote)
            await remote.start()
        return remote

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hub.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        if self.running is not None and self.running.returncode is None:
            await self.end()


@pytest.fixture
async def process():
    state = Path(tempfile.mkdtemp(prefix="lb-jobs-"))
    process = Process(state)
    yield process
    await process.close()
    shutil.rmtree(state)


def spec(tmp_path: Path, seconds: int) -> JobSpec:
    return JobSpec(
        name=new_job_name(),
        script=f"#!/bin/sh\nexec sleep {seconds}\n",
        resources=Resources(),
        workdir=str(tmp_path),
    )


async def test_jobs_outlive_the_process_and_are_taken_up(process, tmp_path):
    await process.start()
    api = await process.client()
    user = getpass.getuser()
    async with asyncio.timeout(90):
        kept = await api.submit(spec(tmp_path, 600), user=user, owner=OWNER)
        short = await api.submit(spec(tmp_path, 8), user=user, owner=f"{OWNER}x")
        await api.wait(kept.name, lambda r: r.status.state is JobState.RUNNING)
        await process.end(signal.SIGKILL)
        await api.wait(kept.name, lambda r: not r.status_is_current)
        assert api.get(kept.name).live
        await process.start()
        record = await api.wait(short.name, lambda r: not r.live)
        assert record.status.state is JobState.COMPLETED
        assert api.get(kept.name).job == kept.job
        await api.cancel(kept.name)
        record = await api.wait(kept.name, lambda r: not r.live)
    assert record.status.state is JobState.CANCELLED
    assert record.failure is None
    assert await process.end() == 0
    assert not process.socket.exists()


class Edge:
    """What of the gateway is there besides the jobs service: its door for jobs."""

    def __init__(self, process: Process) -> None:
        self.process = process
        site = detect(process.settings)
        self.address, self.port = site.jobs_address, site.jobs_port
        self.pki = ensure_hub_pki(
            process.settings.state / "pki", names=[site.jobs_address]
        )

    async def call(self, verb: str, body: bytes, peer: str) -> Answer:
        """Hand one of an agent's three calls on."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.process.socket))
        async with httpx.AsyncClient(transport=transport, timeout=30) as client:
            answer = await client.post(
                f"http://jobs/jobs/agent/{verb}",
                content=body,
                headers={"X-Forwarded-For": peer},
            )
        return Answer(answer.status_code, answer.json())


def stored(process: Process, name: str) -> tuple[bool, bool]:
    """Whether the database has an address of a job, and what it starts."""
    database = sqlite3.connect(process.settings.state / "db" / "jobs.sqlite")
    with closing(database):
        (address,) = database.execute(
            "select endpoint from landbridge_jobs where name = ?", (name,)
        ).fetchone()
        launch = database.execute(
            "select 1 from landbridge_job_launches where name = ?", (name,)
        ).fetchone()
    return address is not None, launch is not None


async def test_a_job_starts_with_all_dead_but_the_jobs_service(process, tmp_path):
    process.limit_to_one_cpu()
    await process.start()
    hub = await process.client()
    edge = HubDouble(Edge(process))
    waiting = JobSpec(
        name=new_job_name(),
        script=f"#!/bin/sh\nexec {shlex.join(agent_command(sys.executable))}\n",
        resources=Resources(),
        workdir=str(tmp_path),
        output=str(tmp_path / "output"),
    )
    user = getpass.getuser()
    async with asyncio.timeout(90):
        first = await hub.submit(spec(tmp_path, 600), user=user, owner=f"{OWNER}x")
        await hub.submit(waiting, user=user, owner=OWNER, launch=stub("wait"))
        await hub.wait(first.name, lambda r: r.status.state is JobState.RUNNING)
        await hub.cancel(first.name)
        await hub.close()
        await process.end(signal.SIGKILL)
        assert stored(process, waiting.name) == (False, True)
        await edge.up()  # not earlier: no job can have asked before
        await process.start()
        while stored(process, waiting.name) != (True, False):
            await asyncio.sleep(0.1)
        later = await process.client()
        record = later.get(waiting.name)
        assert record.address.port == 41000
        await later.cancel(waiting.name)
        await later.wait(waiting.name, lambda r: not r.live)
    await edge.down()


async def test_one_process_looks_after_the_jobs_of_a_state(process):
    await process.start()
    await process.client()
    second = await asyncio.to_thread(process.run, "jobs")
    assert second.returncode == 1
    assert "Another process of this gateway looks after its jobs." in second.stderr
    assert "Traceback" not in second.stderr
    with pytest.raises(CoreRuns):  # as a hub with jobs of its own would
        async with CoreLock(
            process.settings.state / "run" / "jobs.lock", patience_seconds=0
        ):
            pass


async def test_a_token_is_rotated_while_it_runs(process):
    await process.start()
    api = await process.client()
    before = process.token.read_text()
    done = await asyncio.to_thread(process.run, "jobs", "--rotate", "hub")
    assert done.returncode == 0
    assert str(process.token) in done.stdout
    assert process.token.read_text() != before
    assert process.token.read_text().strip() not in done.stdout
    # The client is refused once, and reads the file again.
    assert await api.events(OWNER) == []
    done = await asyncio.to_thread(process.run, "jobs", "--rotate", "nobody")
    assert done.returncode == 1
    assert "there is no client nobody; there is hub" in done.stderr


async def test_the_doctor_looks_at_its_socket(process):
    def verdict():
        return judge_process(jobs(process.settings)).verdict

    assert verdict() == "fail"
    await process.start()
    await process.client()
    assert await asyncio.to_thread(verdict) == "ok"
    await process.end(signal.SIGKILL)
    assert await asyncio.to_thread(verdict) == "fail"


async def test_a_conquered_service_has_no_way_in_by_its_own_token(process, tmp_path):
    """Storage, the culler and the operator are known to the hub, and to it alone."""
    await process.start()
    hub = await process.client()
    user = getpass.getuser()
    record = await hub.submit(spec(tmp_path, 600), user=user, owner=OWNER)
    secrets = process.settings.state / "secrets"
    tokens = {
        file.name: file.read_text().strip()
        for name in ("service-storage.token", "service-*.token", "operator-token")
        for file in secrets.glob(name)
    }
    assert {"service-storage.token", "operator-token"} <= tokens.keys()
    transport = httpx.AsyncHTTPTransport(uds=str(process.socket))
    async with httpx.AsyncClient(transport=transport, timeout=30) as client:
        for token in tokens.values():
            # As it is, and under the names of those who are known.
            for shown in (token, f"hub.{token}", f"{record.name}.{token}"):
                headers = {"Authorization": f"Bearer {shown}"}
                for method, path in [
                    ("GET", "/v1/jobs"),
                    ("GET", f"/v1/jobs/{record.name}"),
                    ("PUT", "/v1/jobs/lb-theirs"),
                    ("DELETE", f"/v1/jobs/{record.name}"),
                    ("DELETE", "/v1/jobs?owner=server:"),
                    ("POST", "/v1/cancellations"),
                ]:
                    answer = await client.request(
                        method, f"http://jobs{path}", headers=headers
                    )
                    assert answer.status_code == 401, (method, path)
    assert hub.get(record.name).live
    await hub.cancel(record.name)
    async with asyncio.timeout(60):
        await hub.wait(record.name, lambda r: not r.live)
