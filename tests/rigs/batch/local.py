"""A queue of the local scheduler for a test, and waiting for its facts."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from spawners.batch.local.files import Run, read_record
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.models import (
    BatchJob,
    JobSpec,
    JobState,
    JobStatus,
    Resources,
    new_job_name,
)

SLEEP = "exec sleep 300"
PATIENCE = 20


class Rig:
    """A directory, its settings, and the schedulers that were opened on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = LocalSettings(
            directory=root / "queue", cpus=4, memory=2 * 1024**3, gpus=2,
            gpu_model="a100", kill_wait=timedelta(seconds=1),
        )  # fmt: skip
        self._opened: list[LocalScheduler] = []

    def open(self, **changes: object) -> LocalScheduler:
        scheduler = LocalScheduler(replace(self.settings, **changes))
        self._opened.append(scheduler)
        return scheduler

    def spec(self, body: str, **fields: object) -> JobSpec:
        resources = fields.pop("resources", Resources())
        return JobSpec(
            name=new_job_name(), script=f"#!/bin/bash\n{body}\n", resources=resources,
            workdir=str(self.root), output=str(self.root / "out-%j"), **fields,
        )  # fmt: skip

    def output(self, job: BatchJob) -> str:
        """What the job has written; a job that runs may not have begun to."""
        return readable(self.root / f"out-{job.id}")

    def directory(self, job: BatchJob) -> Path:
        return self.settings.directory / "jobs" / job.id

    def run(self, job: BatchJob) -> Run:
        run = read_record(self.directory(job) / "run.json", Run)
        assert run is not None
        return run

    async def close(self) -> None:
        last = self.open()
        await last.shutdown()
        for scheduler in self._opened:
            await scheduler.close()


async def submit(scheduler, spec: JobSpec, user: str = "alice") -> BatchJob:
    return await scheduler.submit(spec, user=user)


async def until(scheduler, job: BatchJob, wanted: JobState | str) -> JobStatus:
    """Return the first reading whose state is, or has, what is wanted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = (await scheduler.status([job]))[job]
        if status.state is wanted or (wanted == "ended" and status.state.ended):
            return status
        assert time.monotonic() < deadline, f"still {status}"
        assert not status.state.ended, f"ended as {status}"
        await asyncio.sleep(0.05)


async def until_true(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def readable(path: Path) -> str:
    return path.read_text() if path.exists() else ""
