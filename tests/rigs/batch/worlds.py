"""Places where jobs live, for tests that hold in all of them.

A world is what stays when a hub dies: the fake scheduler's dictionary, the local
scheduler's directory and processes, the private Slurm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.settings import Policy
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.batch.models import JobSpec, JobState, Resources, new_job_name, task_name
from spawners.batch.runners.direct import (
    Completed,
    RootRunner,
    RunnerSettings,
    SelfRunner,
)
from spawners.batch.scheduler import Scheduler
from spawners.batch.slurm.scheduler import SlurmScheduler

_MS = timedelta(milliseconds=1)
_MIB = 1024**2

#: Periods for real schedulers: short, but not shorter than their commands take.
SETTINGS = Policy(
    fast=200 * _MS,
    slow=1000 * _MS,
    rest=50 * _MS,
    backoff=200 * _MS,
    search_delays=(0 * _MS, 500 * _MS, 1000 * _MS),
    duplicate_delays=(1000 * _MS, 2000 * _MS, 2000 * _MS, 5000 * _MS),
    lost_after=3000 * _MS,
    cancel_delays=(2000 * _MS, 4000 * _MS),
)

_WAITING = """\
#!/bin/bash
echo it runs
while [ ! -e {sign} ]; do sleep 0.1; done
echo its last words
exit $(cat {sign})
"""


class World(Protocol):
    """What a test needs of a place where jobs live."""

    user: str

    def open(self) -> Scheduler:
        """Return a scheduler as a new process has it."""

    def spec(self) -> JobSpec:
        """Return a job that runs until :meth:`finish`."""

    async def start(self, record: JobRecord) -> None:
        """Let the job run, where that does not happen by itself."""

    async def finish(self, record: JobRecord, code: int) -> None:
        """Let the job exit with ``code``."""

    async def live(self) -> list[str]:
        """Return the names of the jobs that have not ended, from the source."""

    async def close(self) -> None:
        """End what is left."""


class FakeWorld:
    """Jobs in a dictionary."""

    user = "alice"

    def __init__(self) -> None:
        self.scheduler = FakeScheduler()

    def open(self) -> FakeScheduler:
        return self.scheduler

    def spec(self) -> JobSpec:
        return JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/tmp", output="/x")

    async def start(self, record: JobRecord) -> None:
        self.scheduler.move(record.job, JobState.RUNNING, node="n01")

    async def finish(self, record: JobRecord, code: int) -> None:
        state = JobState.FAILED if code else JobState.COMPLETED
        output = "it runs\nits last words\n"
        self.scheduler.move(record.job, state, exit_code=code, output=output)

    async def live(self) -> list[str]:
        return sorted(job.name for job in self.scheduler.live())

    async def close(self) -> None:
        """Nothing is left."""


class _Signs:
    """Jobs that wait for a file of their name."""

    user: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spec(self) -> JobSpec:
        name = new_job_name()
        return JobSpec(
            name,
            _WAITING.format(sign=self._sign(name)),
            Resources(memory=10 * _MIB),
            str(self.directory),
            # Not by its id alone: a controller that forgot a job gives that to another.
            output=f"{self.directory}/{name}-%j.out",
        )

    async def start(self, record: JobRecord) -> None:
        """It starts by itself."""

    async def finish(self, record: JobRecord, code: int) -> None:
        self._sign(record.name).write_text(str(code))

    def _sign(self, name: str) -> Path:
        return self.directory / f"{name}.go"


class LocalWorld(_Signs):
    """Processes of this machine."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.user = "alice"
        self._opened: list[LocalScheduler] = []

    def open(self) -> LocalScheduler:
        scheduler = open_local(self.directory)
        self._opened.append(scheduler)
        return scheduler

    async def live(self) -> list[str]:
        scheduler = self.open()
        tickets = await scheduler._read()
        return sorted(
            ticket.name for ticket, status in tickets.values() if not status.state.ended
        )

    async def close(self) -> None:
        await self.open().shutdown()
        for scheduler in self._opened:
            await scheduler.close()


class SlurmWorld(_Signs):
    """The private Slurm."""

    def __init__(self, rig) -> None:
        super().__init__(Path(rig.path) / "job")
        self.rig = rig
        self.user = rig.users[0]
        self._opened: list[SlurmScheduler] = []

    def open(self) -> SlurmScheduler:
        scheduler = open_slurm(self.rig.environment)
        self._opened.append(scheduler)
        return scheduler

    async def live(self) -> list[str]:
        return sorted(
            task_name(name, int(index)) if index.isdigit() else name
            for name, index, state in self.rig.squeue("%j|%K|%T")
            if not JobState(state).ended
        )

    async def close(self) -> None:
        for scheduler in self._opened:
            await scheduler.close()


class CountingRunner(RootRunner if os.geteuid() == 0 else SelfRunner):
    """Becomes whom it can, and remembers the commands that it was given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(RunnerSettings(environment=environment))
        self.commands: list[Sequence[str]] = []

    async def run(self, argv: Sequence[str], **given: object) -> Completed:
        self.commands.append(argv)
        return await super().run(argv, **given)

    def beside_listings(self) -> list[str]:
        """Return the programs of all but the watcher's listings of all jobs."""
        narrow = ("--jobs=", "--name=")
        return [
            argv[0]
            for argv in self.commands
            if argv[0] != "squeue" or any(word.startswith(narrow) for word in argv)
        ]


def open_local(directory: Path) -> LocalScheduler:
    """Return a local scheduler with many slots and little patience."""
    return LocalScheduler(
        LocalSettings(
            directory / "queue",
            cpus=64,
            memory=1024**4,
            gpus=0,
            kill_wait=1000 * _MS,
        )
    )


def open_slurm(environment: dict[str, str]) -> SlurmScheduler:
    """Return a Slurm scheduler that acts as anybody if we are root."""
    kind = RootRunner if os.geteuid() == 0 else SelfRunner
    return SlurmScheduler(kind(RunnerSettings(environment=environment)))
