"""``landbridge jobs``: a process of its own, killed and started again."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hub.config.settings import load_settings
from hub.config.site import detect
from hub.run.doctor import check_jobs
from services.jobs.lock import CoreLock, CoreRuns
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.models import JobSpec, JobState, Resources, new_job_name

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
    site = await asyncio.to_thread(detect, process.settings)

    def found():
        return [finding.verdict for finding in check_jobs(process.settings, site)]

    assert found() == []
    await process.start()
    await process.client()
    assert await asyncio.to_thread(found) == ["ok"]
    await process.end(signal.SIGKILL)
    assert await asyncio.to_thread(found) == ["fail"]
