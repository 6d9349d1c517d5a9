"""Fixtures of the batch core's tests."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from rigs.batch.jobs import OWNER
from services.common.testing.cluster import QUICK
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobSpec, Resources, new_job_name
from spawners.batch.scheduler import Scheduler

OpenJobs = Callable[..., Awaitable[Jobs]]
Submit = Callable[..., Awaitable[JobRecord]]


@pytest.fixture
def quick() -> Policy:
    """Periods for tests: the shape of the real ones, a hundred times as fast."""
    return QUICK


@pytest.fixture
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that waits for what never comes fails, after 30 s or ``DEADLINE``."""
    seconds = getattr(request.module, "DEADLINE", 30)

    def fail(*_: object) -> None:
        raise TimeoutError(f"the test waited for {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def new_spec() -> Callable[..., JobSpec]:
    """Make a spec under a fresh name."""

    def make(**fields: object) -> JobSpec:
        values: dict[str, object] = {
            "name": new_job_name(),
            "script": "#!/bin/sh\nexec sleep 600\n",
            "resources": Resources(),
            "workdir": "/tmp",
        }
        return JobSpec(**(values | fields))

    return make


@pytest.fixture
def fake() -> FakeScheduler:
    """A scheduler that is moved by hand."""
    return FakeScheduler()


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Where this test's job store is."""
    return f"sqlite:///{tmp_path / 'jobs.sqlite'}"


@pytest.fixture
async def open_jobs(
    fake: FakeScheduler, quick: Policy, store_url: str
) -> AsyncIterator[OpenJobs]:
    """Start a ``Jobs`` on this test's store; more than one is a restart."""
    opened: list[tuple[Jobs, JobStore]] = []

    async def open_one(
        scheduler: Scheduler | None = None, settings: Policy | None = None
    ) -> Jobs:
        store = await JobStore.open(store_url, timeout_seconds=0.3)
        jobs = Jobs(scheduler or fake, store, settings or quick)
        opened.append((jobs, store))
        await jobs.start()
        return jobs

    yield open_one
    for jobs, store in opened:
        await jobs.close()
        await store.close()


@pytest.fixture
async def jobs(open_jobs: OpenJobs) -> Jobs:
    """Jobs over the fake scheduler."""
    return await open_jobs()


@pytest.fixture
def submit(jobs: Jobs, new_spec: Callable[..., JobSpec]) -> Submit:
    """Submit a job, by default alice's."""

    async def do(
        owner: str = OWNER, user: str = "alice", **fields: object
    ) -> JobRecord:
        return await jobs.submit(new_spec(**fields), user=user, owner=owner)

    return do


@pytest.fixture
def kinds(jobs: Jobs) -> Callable[[], Awaitable[list[str]]]:
    """Read the kinds of an owner's events."""

    async def read(owner: str = OWNER) -> list[str]:
        return [event.kind for event in await jobs.events(owner)]

    return read
