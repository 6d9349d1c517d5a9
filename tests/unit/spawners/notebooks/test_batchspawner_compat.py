"""What batchspawner's own test module asks, asked of our class.

Neither its wheel nor its source archive holds ``batchspawner/tests``, and its module
swaps the shell commands of a spawner for ``echo``: our class runs none. So each of
its tests has its like here, on the fake scheduler, under the name it has there. What
has no like, and why:

* ``test_exec_prefix``: there is no prefix; who becomes the user is
  ``CommandRunner``'s business (``tests/spawners/batch/test_runner*.py``).
* ``test_templates`` (of commands), and the command lines in ``test_torque``,
  ``test_moab``, ``test_pbs``, ``test_slurm``, ``test_condor``, ``test_lfs``: no command
  is a template any more. Their scripts are (see ``test_server_script.py``), but for
  Condor's, which is no script and is refused.
* ``test_stress_submit`` there never awaits what it makes; here it does.
* ``poll()`` of what never started is 0 as JupyterHub's documentation asks, not 1.
* A failing or odd query clears nothing (``test_poll_fails``): that is the point.
"""

from __future__ import annotations

import asyncio

import pytest
from batchspawner import BatchSpawnerBase, CondorSpawner

from rigs.notebooks.spawners import Rig
from spawners.batch.errors import SubmitRejected
from spawners.batch.models import JobState
from spawners.notebooks.errors import StartFailed
from spawners.notebooks.spawner import BatchJobSpawner


async def test_spawner_start_stop_poll(servers: Rig) -> None:
    spawner = servers.spawner()
    assert isinstance(spawner, BatchSpawnerBase)
    assert await spawner.poll() == 0
    assert spawner.job_id == ""
    assert spawner.get_state() == {}
    await servers.bring_up(spawner)
    assert spawner.job_id == spawner.record.job.id
    assert await spawner.poll() is None
    await spawner.stop()
    assert await spawner.poll() is not None
    spawner.clear_state()
    assert spawner.get_state() == {}


async def test_stress_submit(servers: Rig) -> None:
    for _ in range(50):
        spawner = servers.spawner()
        await servers.bring_up(spawner)
        await spawner.stop()
    assert servers.scheduler.calls["submit"] == 50
    assert not servers.scheduler.live()


async def test_spawner_state_reload(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    state = spawner.get_state()
    again = servers.spawner()
    again.clear_state()
    assert again.get_state() == {}
    again.load_state(state)
    assert again.job_id == spawner.job_id
    assert await again.poll() is None


async def test_submit_failure(servers: Rig) -> None:
    spawner = servers.spawner()
    servers.scheduler.fail_next("submit", SubmitRejected("No."))
    with pytest.raises(StartFailed):
        await spawner.start()
    assert spawner.job_id == ""


async def test_submit_pending_fails(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    servers.scheduler.forget(job)
    with pytest.raises(StartFailed) as caught:
        async with asyncio.timeout(10):
            await start
    assert "ost by the scheduler" in caught.value.message


async def test_poll_fails(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    servers.scheduler.fail_next("status", RuntimeError("xyz"))
    await asyncio.sleep(0.1)
    assert await spawner.poll() is None
    assert spawner.job_id


async def test_unknown_status(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    servers.scheduler.move(spawner.record.job, JobState.UNKNOWN, node="n01")
    await asyncio.sleep(0.1)
    assert await spawner.poll() is None


async def test_batch_script(servers: Rig) -> None:
    spawner = servers.spawner(batch_script="#!/bin/sh\n{cmd}\n")
    await servers.bring_up(spawner)
    script = servers.scheduler.spec(spawner.record.job).script
    assert script == "#!/bin/sh\n/usr/bin/python3 -I -c agent\n"


async def test_slurm(servers: Rig) -> None:
    settings = {
        "req_runtime": "10-00:00:00",
        "req_nprocs": "5",
        "req_memory": "5678",
        "req_options": "--exclusive",
        "req_prologue": "PROLOGUE",
        "req_epilogue": "EPILOGUE",
        "req_reservation": "RES123",
        "req_gres": "gpu:3",
    }
    spawner = servers.spawner(**settings)
    await servers.bring_up(spawner)
    spec = servers.scheduler.spec(spawner.record.job)
    assert spec.resources.cpus == 5
    assert spec.resources.memory == 5678 * 1024**2
    assert spec.resources.gpus == 3
    assert spec.resources.reservation == "RES123"
    assert spec.options == ("--exclusive",)
    assert spec.script.index("PROLOGUE") < spec.script.index("EPILOGUE")


async def test_settings_of_the_slurm_spawner_count(servers: Rig) -> None:
    config_class = type("SlurmSpawner", (BatchJobSpawner,), {})
    spawner = servers.spawner(config_class, req_partition="main")
    await servers.bring_up(spawner)
    spec = servers.scheduler.spec(spawner.record.job)
    assert spec.resources.partition == "main"
    assert "SlurmSpawner" in BatchJobSpawner.section_names()


async def test_condor_is_refused_in_words(servers: Rig) -> None:
    template = CondorSpawner.batch_script.default_value
    spawner = servers.spawner(batch_script=template)
    with pytest.raises(StartFailed, match="#!"):
        await spawner.start()


async def test_keepvars(servers: Rig) -> None:
    spawner = servers.spawner(
        batch_script="#!/bin/sh\n#SBATCH --export={keepvars}\n{cmd}\n",
        req_keepvars_extra="ABCDE",
    )
    await servers.bring_up(spawner)
    spec = servers.scheduler.spec(spawner.record.job)
    (line,) = [x for x in spec.script.splitlines() if x.startswith("#SBATCH --export=")]
    assert {*spec.environment, "ABCDE"} <= {*line.partition("=")[2].split(",")}
    assert "LANDBRIDGE_JOB" in spec.environment
    assert "JUPYTERHUB" not in spec.script
    assert spawner.api_token not in spec.script


async def test_early_stop(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    await spawner.stop()
    with pytest.raises(StartFailed):
        await start
    assert servers.scheduler.cancels(job)


async def test_user_options_override_no_variable(servers: Rig) -> None:
    spawner = servers.spawner(req_prologue="safe")
    spawner.user_options = {"prologue": "evil", "cmd": "evil"}
    with pytest.raises(StartFailed):
        await spawner.start()
    assert servers.scheduler.calls["submit"] == 0
