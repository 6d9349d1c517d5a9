"""A cluster in memory for tests of services that have jobs, moved by hand.

::

    async with FakeCluster(tmp_path) as cluster:
        rig = ServiceRig(SERVICE, open_toy, tmp_path, jobs=cluster.jobs)
        ...
        cluster.scheduler.move(job, JobState.RUNNING, node="n01")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from spawners.batch.explain.vocabulary import JOB, Vocabulary
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import JobRecord, Retain
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobSpec, JobState, Launch

_MS = timedelta(milliseconds=1)

QUICK = Policy(
    fast=10 * _MS,
    slow=200 * _MS,
    rest=2 * _MS,
    backoff=100 * _MS,
    search_delays=(0 * _MS, 30 * _MS, 60 * _MS),
    identity_delays=(20 * _MS, 100 * _MS),
    duplicate_delays=(100 * _MS, 200 * _MS, 400 * _MS),
    lost_after=20 * _MS,
    cancel_delays=(50 * _MS, 100 * _MS),
    cancel_alarm=300 * _MS,
    event_interval=100 * _MS,
)
"""The shape of the real periods, a hundred times as fast."""


class FakeCluster:
    """A scheduler that is moved by hand, and the records of its jobs.

    Args:
        directory: of the records; a test's own.

    Attributes:
        scheduler: moves jobs, and fails as it is told.
    """

    def __init__(self, directory: Path) -> None:
        self.scheduler = FakeScheduler()
        self._directory = directory

    async def __aenter__(self) -> Self:
        """Open the records."""
        self._directory.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{self._directory / 'fake-cluster.sqlite'}"
        self._store = await JobStore.open(url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close them."""
        await self._store.close()

    def jobs(self) -> Jobs:
        """Return the batch core over it, as one life of a service has it."""
        return _LaunchlessJobs(self.scheduler, self._store, QUICK)

    def run_all(self, node: str = "n01") -> None:
        """Have every job run that has not ended."""
        for job in self.scheduler.live():
            self.scheduler.move(job, JobState.RUNNING, node=node)


class _LaunchlessJobs(Jobs):
    """Takes a launch as the jobs service does, and starts nothing: no job is real."""

    async def submit(
        self,
        spec: JobSpec,
        *,
        user: str,
        owner: str,
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> JobRecord:
        return await super().submit(
            spec,
            user=user,
            owner=owner,
            facts=facts,
            vocabulary=vocabulary,
            retain=retain,
        )

    async def submit_set(
        self,
        spec: JobSpec,
        *,
        user: str,
        owners: Sequence[str],
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> list[JobRecord]:
        return await super().submit_set(
            spec,
            user=user,
            owners=owners,
            facts=facts,
            vocabulary=vocabulary,
            retain=retain,
        )
