"""The agent where the hub is away, wants the end, or is told what is missing."""

import asyncio
import os
import pwd
import signal
import sys

import pytest

from rigs.batch.agent import is_ready, log_of, ours, stub
from rigs.batch.rendezvous import HubDouble, Rig, private_munge, serving
from spawners.batch.models import JobState, Launch
from spawners.batch.rendezvous.launch import JobSideSettings, job_environment
from spawners.batch.rendezvous.proofs import MungeVerifier


@pytest.fixture(scope="module")
def munge(tmp_path_factory):
    with private_munge(tmp_path_factory.mktemp("munge")) as socket:
        yield socket


# The hub's absences


async def test_a_hub_that_restarts_in_the_middle_is_waited_for(served, start):
    rig, hub = served
    record, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment))
    line = await agent.process.stdout.readline()
    assert b"Waiting for the hub" in line
    await rig.restart()
    await hub.up()
    await is_ready(rig, record)
    agent.process.terminate()
    await agent.finish()


async def test_a_job_starts_while_the_core_alone_is_there(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    rig.launch = None  # whoever submitted it is dead
    await rig.restart()
    agent = await start(ours(environment))
    await is_ready(rig, record)
    agent.process.terminate()
    _, output = await agent.finish()
    assert "Waiting" not in output


async def test_lost_answers_are_asked_for_again(served, start):
    rig, hub = served
    rig.launch = stub("exit", "0")
    hub.lose = 3  # two fetches, one later call
    record, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0, output
    assert hub.calls.count("fetch") >= 3
    assert (await log_of(rig, record)).data["exit_code"] == 0


async def test_a_lost_answer_to_ready_is_asked_for_again(served, start):
    rig, hub = served
    record, environment = await rig.submit()
    answer = rig.rendezvous.ready

    async def lose_one(body, peer):
        rig.rendezvous.ready = answer
        hub.lose = 1
        return await answer(body, peer)

    rig.rendezvous.ready = lose_one
    agent = await start(ours(environment))
    async with asyncio.timeout(20):
        while hub.calls.count("ready") < 2:
            await asyncio.sleep(0.05)
    assert agent.process.returncode is None
    assert rig.jobs.get(record.name).address.port == 41000
    agent.process.terminate()
    await agent.finish()


async def test_a_hub_that_never_answers_is_given_up_in_words(served, start):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment, LANDBRIDGE_PATIENCE="1"))
    code, output = await agent.finish()
    assert code == 1
    assert "cannot be reached from this node, so this job ends" in output


async def test_waiting_for_the_hub_can_be_ended(served, start):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    agent = await start(ours(environment))
    await agent.process.stdout.readline()
    agent.process.terminate()
    code, _ = await agent.finish(within=5)
    assert code == 128 + signal.SIGTERM


async def test_somebody_else_on_the_hubs_port_gets_nothing(
    served, start, tmp_path_factory
):
    rig, hub = served
    _, environment = await rig.submit()
    await hub.down()
    impostor = Rig(tmp_path_factory.mktemp("impostor"))
    impostor.port = rig.port
    async with asyncio.timeout(20):
        fake = HubDouble(impostor)
        await fake.up()
        agent = await start(ours(environment, LANDBRIDGE_PATIENCE="1"))
        code, output = await agent.finish()
        await fake.down()
    assert code == 1
    assert "certificate verify failed" in output
    assert fake.calls == []


# Ends that somebody wants


async def test_a_job_that_is_no_longer_wanted_ends_by_itself(served, start):
    rig, _ = served
    rig.scheduler.cancels_work = False
    record, environment = await rig.submit()
    await rig.jobs.cancel(record.name)
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0
    assert "no longer wanted" in output
    assert "stub is starting" not in output


async def test_a_job_that_is_cancelled_before_it_is_ready_ends_its_server(
    served, start
):
    rig, hub = served
    rig.scheduler.cancels_work = False
    record, environment = await rig.submit()
    answer = rig.rendezvous.ready

    async def cancel_first(body, peer):
        await rig.jobs.cancel(record.name)
        return await answer(body, peer)

    rig.rendezvous.ready = cancel_first
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 0
    assert "no longer wanted" in output
    assert hub.calls[-1] == "ended"


# What a person reads


async def test_an_environment_without_python_is_named(served, start):
    rig, _ = served
    record, environment = await rig.submit()
    agent = await start({**environment, "LANDBRIDGE_PYTHON": "/no/such/place"})
    code, output = await agent.finish()
    assert code == 127
    assert "There is no Python at /no/such/place on this node." in output
    rig.scheduler.move(record.job, JobState.FAILED, exit_code=127)
    record = await rig.jobs.wait(record.name, lambda r: not r.live)
    assert "/no/such/place" in record.failure.log


async def test_a_command_that_does_not_exist_is_named(served, start):
    rig, _ = served
    rig.launch = Launch(("/no/such/program",), {})
    _, environment = await rig.submit()
    agent = await start(ours(environment))
    code, output = await agent.finish()
    assert code == 127
    assert "/no/such/program cannot be started" in output


async def test_a_directory_of_an_environment_is_enough(served, start):
    rig, _ = served
    rig.launch = stub("exit", "0")
    _, environment = await rig.submit()
    agent = await start({**environment, "LANDBRIDGE_PYTHON": sys.prefix})
    code, output = await agent.finish()
    assert code == 0, output


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}\n",
        "#!{python} -I\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
    ],
)
async def test_the_interpreter_of_the_first_singleuser_on_the_path_is_used(
    served, start, tmp_path, head
):
    rig, _ = served
    place = tmp_path / "bin"
    place.mkdir()
    python = place / "python3.11"
    python.symlink_to(sys.executable)
    script = place / "jupyterhub-singleuser"
    script.write_text(head.format(python=python))
    script.chmod(0o755)
    rig.launch = Launch(
        ("{python}", "-c", "import sys; sys.exit('it is ' + sys.executable)"),
        {"PATH": f"{place}:{os.environ['PATH']}"},
    )
    _, environment = await rig.submit()
    agent = await start(environment)
    _, output = await agent.finish()
    assert f"it is {python}" in output


# Munge, and old Pythons


async def test_munge_proves_the_job_to_the_hub(tmp_path, start, munge):
    user = pwd.getpwuid(os.getuid()).pw_name
    async with serving(
        tmp_path, proof="munge", munge=MungeVerifier(socket=munge), munge_socket=munge
    ) as (rig, hub):
        rig.launch = stub("exit", "0")
        hub.lose = 1
        _, environment = await rig.submit(user=user)
        assert "LANDBRIDGE_TOKEN" not in environment
        agent = await start(ours(environment))
        code, output = await agent.finish()
        assert code == 0, output
        assert hub.calls.count("fetch") == 2

        _, environment = await rig.submit("server:alice/other", "nobody")
        agent = await start(ours(environment))
        code, output = await agent.finish()
        assert code == 1
        assert "does not know this job by this proof" in output


async def test_a_node_without_munge_says_so(tmp_path, start):
    async with serving(tmp_path, proof="munge", munge_socket="/nonexistent") as (
        rig,
        _,
    ):
        _, environment = await rig.submit()
        agent = await start(ours(environment))
        code, output = await agent.finish()
    assert code == 1
    assert "cannot prove who you are" in output


async def test_a_job_without_its_variables_says_so(served, start):
    _, environment = await served[0].submit()
    del environment["LANDBRIDGE_CA"]
    agent = await start(environment)
    code, output = await agent.finish()
    assert code == 1
    assert "lacks the variable 'LANDBRIDGE_CA'" in output


def test_the_environment_is_lines_that_every_tool_can_carry(tmp_path):
    ca = Rig(tmp_path).pki.hub_ca.certificate
    side = JobSideSettings("https://10.0.0.1:8443/jobs/agent", ca)
    environment = job_environment("lb-one", side)
    for name, value in environment.items():
        assert name.startswith("LANDBRIDGE_")
        assert value.isascii()
        assert value.isprintable()
        assert len(value) < 20_000
    assert environment["LANDBRIDGE_PROOF"] == "munge"
