"""What a real Slurm refuses, and what it would accept and never start."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from spawners.batch.errors import InvalidSpec, LimitReached, SubmitRejected
from spawners.batch.models import JobState, Resources

pytestmark = pytest.mark.slurm
GIB = 1024**3


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"partition": "nope"}, "partition"),
        ({"partition": "drain"}, "partition"),
        ({"account": "nope"}, "account"),
        ({"qos": "nope"}, "qos"),
        ({"reservation": "nope"}, "reservation"),
        ({"constraint": "nope"}, "constraint"),
        ({"memory": 900 * GIB}, "memory"),
        ({"partition": "gpu", "gpus": 5}, ""),
        ({"partition": "gpu", "gpus": 1, "gpu_model": "h100"}, ""),
        ({"options": ("--bogus",)}, ""),
        ({"options": ("--gres=tpu:1",)}, "gpus"),
        ({"options": ("--nodelist=n9",)}, "nodes"),
    ],
)
async def test_a_refusal_names_what_is_to_blame(
    slurm, scheduler, new_job, alice, asked, field
):
    spec = new_job(**asked)
    with pytest.raises(SubmitRejected) as refusal:
        await scheduler.submit(spec, user=alice)
    assert refusal.value.field == field
    assert type(refusal.value) is SubmitRejected
    # Some refusals leave a trace in queue and accounting: it is no job.
    assert await scheduler.find(spec.name, user=alice) == ()


async def test_a_set_over_a_limit_is_refused_as_a_whole(two_users, scheduler, new_job):
    spec = new_job()
    with pytest.raises(LimitReached):  # bob may have 5
        await scheduler.submit_set(spec, 6, user="bob")
    assert await scheduler.find(spec.name, user="bob") == ()


async def test_a_set_that_the_users_limits_let_start_in_part_is_told_task_by_task(
    two_users, scheduler, new_job, reaches
):
    jobs = await scheduler.submit_set(new_job(), 5, user="bob")  # 3 may run
    for job in jobs[:3]:
        await reaches(job, JobState.RUNNING)
    for job in jobs[3:]:
        await reaches(job, JobState.PENDING, reason="AssocMaxJobsLimit")
    await scheduler.cancel_many(jobs[:1])
    await reaches(jobs[3], JobState.RUNNING)
    await scheduler.cancel_many(jobs)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"time_limit": timedelta(days=5)}, "time_limit"),
        ({"partition": "closed"}, "partition"),
        ({"partition": "staff"}, "account"),
        ({"cpus": 100}, "cpus"),
        ({"partition": "gpu", "nodes": 5}, "nodes"),
    ],
)
async def test_hopeless_jobs_are_accepted_by_slurm_and_refused_by_the_check(
    slurm, scheduler, new_job, reaches, alice, asked, field
):
    with pytest.raises(SubmitRejected) as refusal:
        await scheduler.check(Resources(**asked), user=alice)
    assert refusal.value.field == field
    assert refusal.value.hint
    # The other half of the reason for the check: sbatch takes each of them.
    spec = new_job(**asked)
    job = await scheduler.submit(spec, user=alice)
    await reaches(job, JobState.PENDING)


async def test_what_is_allowed_passes_the_check(slurm, scheduler, alice):
    for asked in (
        Resources(),
        Resources(partition="staff", account="staff"),
        Resources(partition="gpu", gpus=4, gpu_model="a100", qos="interactive"),
    ):
        await scheduler.check(asked, user=alice)


async def test_the_limits_of_alice(slurm, scheduler, alice):
    limits = await scheduler.limits(alice)
    assert limits.accounts == {
        "proj": {"normal", "interactive", "long"},
        "staff": {"normal"},
    }
    assert limits.default_account == "proj"
    assert limits.max_gpus == {"proj": 6}


async def test_time_limits_of_account_and_qos_are_checked(slurm, scheduler, alice):
    where = ("account=proj", f"user={alice}")
    slurm.admin("sacctmgr", "-iQ", "modify", "qos", "long", "set", "MaxWall=8:0:0")
    set_user = ("sacctmgr", "-iQ", "modify", "user", "where", *where, "set")
    slurm.admin(*set_user, "MaxWall=2:0:0")
    try:
        for asked in ({"qos": "long"}, {"account": "proj"}):
            long = Resources(time_limit=timedelta(hours=9), **asked)
            with pytest.raises(SubmitRejected) as refusal:
                await scheduler.check(long, user=alice)
            assert refusal.value.field == "time_limit"
            assert "Ask for at most 2 h." in refusal.value.hint
        limits = await scheduler.limits(alice)
        assert limits.max_time_qos == {"long": timedelta(hours=8)}
    finally:
        slurm.admin("sacctmgr", "-iQ", "modify", "qos", "long", "set", "MaxWall=-1")
        slurm.admin(*set_user, "MaxWall=-1")


@pytest.mark.root
async def test_a_limit_on_jobs_is_told_from_a_refusal(two_users, scheduler, new_job):
    limits = await scheduler.limits("bob")
    assert (limits.max_jobs, limits.max_submit) == (3, 5)
    for _ in range(5):
        await scheduler.submit(new_job(), user="bob")
    with pytest.raises(LimitReached) as refusal:
        await scheduler.submit(new_job(), user="bob")
    assert "AssocMaxSubmitJobLimit" in refusal.value.hint


@pytest.mark.root
async def test_a_qos_of_others_is_refused_to_bob(two_users, scheduler, new_job):
    with pytest.raises(SubmitRejected) as refusal:
        await scheduler.check(Resources(qos="interactive"), user="bob")
    assert refusal.value.field == "qos"
    with pytest.raises(SubmitRejected) as refusal:
        await scheduler.submit(new_job(qos="interactive"), user="bob")
    assert refusal.value.field == "qos"


@pytest.mark.parametrize("name", ["SBATCH_PARTITION", "LD_PRELOAD", "PATH"])
async def test_variables_that_steer_sbatch_are_refused(
    slurm, scheduler, new_job, alice, name
):
    with pytest.raises(InvalidSpec):
        await scheduler.submit(new_job(environment={name: "x"}), user=alice)


async def test_a_directory_that_does_not_exist_is_slurms_business(
    slurm, scheduler, new_job, reaches, alice
):
    spec = dataclasses.replace(new_job("pwd"), workdir="/nonexistent")
    job = await scheduler.submit(spec, user=alice)
    await reaches(job, JobState.COMPLETED, JobState.FAILED)
