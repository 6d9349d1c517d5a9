"""What jobs used, asked of the jobs service."""

from datetime import UTC, datetime, timedelta

import pytest

from services.jobs.service import TOKEN_VARIABLE
from spawners.batch.errors import InvalidSpec, NotPermitted
from spawners.batch.jobs.usage import JobUsage, UsageReport
from spawners.batch.models import JobState, Launch, new_job_name
from spawners.batch.rendezvous.launches import StoredLaunches

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def kernel(name: str = "") -> JobUsage:
    return JobUsage(
        name=name or new_job_name(),
        job_id="12",
        started=NOW - timedelta(hours=2),
        until=NOW - timedelta(hours=1),
        ended=False,
        cpus=4,
        gpus=2,
        memory=1024,
    )


async def test_servers_are_told_of_by_their_records_and_kernels_by_reports(
    rig, new_spec
):
    hub = await rig.client()
    server = await hub.submit(new_spec(), user="alice", owner="server:alice/")
    rig.scheduler.move(server.job, JobState.RUNNING)
    await hub.wait(server.name, lambda record: record.status.started)
    told = kernel()
    await hub.report_usage("alice", UsageReport((told,)))
    used = {job.usage.name: job for job in await hub.usage("alice", NOW - DAY)}
    assert used[told.name].usage == told
    assert (used[told.name].kind, used[told.name].user) == ("kernel", "alice")
    assert used[server.name].kind == "server"
    assert await hub.usage("bob", NOW - DAY) == ()
    assert len(await hub.usage(None, NOW - DAY)) == 2


async def test_a_report_cannot_speak_of_a_job_of_the_gateway(rig, new_spec):
    hub = await rig.client()
    server = await hub.submit(new_spec(), user="alice", owner="server:alice/")
    with pytest.raises(InvalidSpec, match=server.name):
        await hub.report_usage("alice", UsageReport((kernel(server.name),)))
    assert await hub.usage(None, NOW - DAY) == ()


async def test_a_notebook_server_sees_nobodys_usage_and_reports_none(rig, new_spec):

    hub = await rig.client()
    record = await hub.submit(
        new_spec(), user="alice", owner="server:alice/", launch=Launch(("serve",), {})
    )
    launches = rig.service.jobs._launches
    assert isinstance(launches, StoredLaunches)
    token = (await launches.load(record.name)).environment[TOKEN_VARIABLE]
    server = await rig.client_with(lambda: token, prefix="kernel:alice/")
    with pytest.raises(NotPermitted):
        await server.usage("alice", NOW - DAY)
    with pytest.raises(NotPermitted):
        await server.report_usage("alice", UsageReport((kernel(),)))
