"""Which choices users have, and that a wrapspawner configuration still works."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import wrapspawner
from jupyterhub.spawner import LocalProcessSpawner, SpawnException
from traitlets import TraitError

from rigs.notebooks.spawners import Rig
from spawners.batch.models import JobState
from spawners.notebooks.errors import StartFailed
from spawners.notebooks.profiles_spawner import ProfilesSpawner

WRAPPED = [
    ("Small", "small", "batchspawner.SlurmSpawner", {"req_nprocs": "1"}),
    (
        "Big",
        "big",
        "batchspawner.SlurmSpawner",
        {"req_nprocs": "8", "req_memory": "16G", "req_partition": "main"},
    ),
]


def start_with(servers: Rig, options: Any) -> tuple[Any, asyncio.Future[str]]:
    spawner = servers.spawner(ProfilesSpawner, profiles=WRAPPED)
    spawner.user_options = options
    return spawner, asyncio.ensure_future(spawner.start())


async def test_a_wrapspawner_profile_is_a_job_without_a_child(servers: Rig) -> None:
    spawner, start = start_with(servers, {"profile": "big"})
    job = await servers.submitted(spawner)
    spec = servers.scheduler.spec(job)
    assert (spec.resources.cpus, spec.resources.partition) == (8, "main")
    assert isinstance(spawner, wrapspawner.ProfilesSpawner)
    assert spawner.child_spawner is None
    assert set(spawner.get_state()) <= {"job_id", "landbridge"}
    start.cancel()
    await servers.over(job.name)


@pytest.mark.parametrize(
    "options", [{"profile": "none"}, {"profile": "big", "req_nprocs": "9"}, [], "big"]
)
async def test_an_unknown_profile_starts_nothing(servers: Rig, options: Any) -> None:
    spawner = servers.spawner(ProfilesSpawner, profiles=WRAPPED)
    with pytest.raises(StartFailed):
        await spawner._run_apply_user_options(options)
    assert servers.scheduler.calls["submit"] == 0
    assert spawner.orm_spawner.user_options == {}


async def test_no_profile_is_the_first_and_no_local_process(servers: Rig) -> None:
    spawner, start = start_with(servers, {})
    job = await servers.submitted(spawner)
    assert servers.scheduler.spec(job).resources.cpus == 1
    servers.scheduler.move(job, JobState.FAILED, node="n01", exit_code=1)
    with pytest.raises(StartFailed):
        await start


async def test_a_profile_of_local_processes_is_refused_at_once(servers: Rig) -> None:
    with pytest.raises(TraitError):
        servers.spawner(
            ProfilesSpawner, profiles=[("Local", "local", LocalProcessSpawner, {})]
        )


async def test_the_form_offers_them_and_a_link_starts_nothing(servers: Rig) -> None:
    spawner = servers.spawner(ProfilesSpawner, profiles=WRAPPED)
    form = await spawner.get_options_form()
    assert 'value="small"' in form
    assert spawner.run_options_from_form({"profile": ["big"]}) == {"profile": "big"}
    with pytest.raises(SpawnException):
        spawner.options_from_query({"profile": ["big"]})


async def test_there_is_always_a_form(servers: Rig) -> None:
    assert "<button" in await servers.spawner().get_options_form()
