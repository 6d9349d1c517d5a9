"""What a notebook server has of the service by the edge: TLS, and its job's token."""

import asyncio
from dataclasses import replace

import pytest

from rigs.services.jobs import QUICK
from services.jobs.service import TOKEN_VARIABLE
from spawners.batch.errors import InvalidSpec, NotPermitted
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.http import HttpClient, NoAnswer
from spawners.batch.jobs.remote import RemoteJobs
from spawners.batch.models import Launch
from spawners.batch.rendezvous.certificates import ensure_hub_pki

OWNER = "kernel:alice//k1/a"
LAUNCH = Launch(("kernel",), {"A": "1"})


@pytest.fixture
async def token(rig, new_spec):
    """The token of alice's notebook server's job."""
    hub = await rig.client()
    record = await hub.submit(
        new_spec(), user="alice", owner="server:alice/", launch=LAUNCH
    )
    launch = await rig.service.jobs._launches.load(record.name)
    return launch.environment[TOKEN_VARIABLE]


@pytest.fixture
async def way(rig):
    return await rig.listen_for_jobs()


@pytest.fixture
async def kernels(way, token):
    remote = RemoteJobs(
        way,
        lambda: token,
        prefix="kernel:alice/",
        sends_scripts=False,
        settings=QUICK,
    )
    await remote.start()
    yield remote
    await remote.close()


async def test_a_kernel_is_submitted_watched_and_ended(rig, kernels, new_spec):
    spec = new_spec(script="#!/bin/sh\nours\n", options=("--exclusive",))
    record = await kernels.submit(
        spec, user="alice", owner=OWNER, launch=LAUNCH, facts={"profile": "gpu"}
    )
    submitted = rig.scheduler.spec(record.job)
    lines = submitted.script.splitlines()
    assert lines.index("module load cuda") + 1 == lines.index("ulimit -c 0")
    assert "ours" not in submitted.script
    assert submitted.options == ()
    assert kernels.current(OWNER).name == record.name
    assert [r.name for r in kernels.records()] == [record.name]
    await kernels.cancel(record.name)
    async with asyncio.timeout(20):
        await kernels.wait(record.name, lambda r: not r.live)
    assert record.job not in rig.scheduler.live()


async def test_what_opens_a_kernel_is_for_its_owner_and_for_as_long_as_it_lives(
    rig, kernels, new_spec
):
    record = await kernels.submit(new_spec(), user="alice", owner=OWNER, launch=LAUNCH)
    credential = await kernels.credential(record.name)
    assert credential.host == f"{record.name}.landbridge.internal"
    assert credential.authority == rig.parts.jobs_ca.certificate
    assert "KEY" not in repr(credential)
    server = (await rig.client()).current("server:alice/")
    with pytest.raises(UnknownJob):
        await kernels.credential(server.name)
    with pytest.raises(UnknownJob):
        await (await rig.client("clusters")).credential(record.name)
    await kernels.cancel(record.name)
    async with asyncio.timeout(20):
        await kernels.wait(record.name, lambda r: not r.live)
    with pytest.raises(UnknownJob):
        await kernels.credential(record.name)
    await kernels.release(record.name)
    async with asyncio.timeout(20):
        while kernels.get(record.name) is not None:
            await asyncio.sleep(0.01)


async def test_a_profile_that_the_site_does_not_have_is_refused(rig, kernels, new_spec):
    with pytest.raises(InvalidSpec, match="profile"):
        await kernels.submit(
            new_spec(),
            user="alice",
            owner=OWNER,
            launch=LAUNCH,
            facts={"profile": "secret"},
        )
    assert rig.scheduler.calls["submit"] == 1  # the server's


async def test_a_client_of_the_table_does_not_get_in_there(rig, way):
    hub = rig.tokens.file_of("hub").read_text().strip()
    client = HttpClient(way)
    for path in ("/v1/jobs", "/v1/cluster", "/v1/watch?after=x-0"):
        response = await client.request("GET", path, token=hub, seconds=5)
        assert response.status == 401, path
    for path in ("/metrics", "/health", "/"):
        response = await client.request("GET", path, token=hub, seconds=5)
        assert response.status == 404, path


async def test_it_ends_with_its_job(rig, kernels, new_spec):
    hub = await rig.client()
    server = hub.current("server:alice/")
    await hub.cancel(server.name)
    async with asyncio.timeout(20):
        await hub.wait(server.name, lambda r: not r.live)
    with pytest.raises(NotPermitted):
        await kernels.submit(new_spec(), user="alice", owner=OWNER, launch=LAUNCH)


async def test_it_may_have_nothing_of_another_user(rig, kernels, new_spec):
    for user, owner in (("alice", "kernel:bob//k/a"), ("bob", OWNER)):
        with pytest.raises(NotPermitted):
            await kernels.submit(new_spec(), user=user, owner=owner, launch=LAUNCH)
    assert rig.scheduler.calls["submit"] == 1


async def test_whoever_has_another_authority_or_name_is_told_nothing(
    rig, way, tmp_path
):
    other = ensure_hub_pki(tmp_path / "pki")
    for wrong in (
        replace(way, authority=other.hub_ca_file),
        replace(way, name="kernel.landbridge.internal"),
    ):
        with pytest.raises(NoAnswer, match="CERTIFICATE"):
            await HttpClient(wrong).request("GET", "/v1/jobs", token="t", seconds=5)
