"""The jobs service for tests: a rig, and both ways to use the batch core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from rigs.batch.fixtures import new_spec, quick
from rigs.services.jobs import Meddler, Rig
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.settings import Policy

__all__ = ["new_spec", "quick"]


@dataclass
class Use:
    """A way to use the batch core, and the scheduler below it."""

    api: JobsApi
    fake: FakeScheduler


@pytest.fixture
async def rig(quick: Policy) -> AsyncIterator[Rig]:
    """The service, running."""
    rig = Rig(replace(quick, rest_time=timedelta(milliseconds=300)))
    await rig.start()
    yield rig
    await rig.close()


@pytest.fixture
async def meddler(rig: Rig) -> AsyncIterator[Meddler]:
    """A proxy before the service."""
    meddler = Meddler(rig.socket)
    await meddler.start()
    yield meddler
    await meddler.close()


@pytest.fixture(params=["in process", "over the socket"])
async def use(request: pytest.FixtureRequest, rig: Rig) -> Use:
    """The batch core itself, or the service's client."""
    if request.param == "in process":
        return Use(rig.service.jobs, rig.scheduler)
    return Use(await rig.client(), rig.scheduler)
