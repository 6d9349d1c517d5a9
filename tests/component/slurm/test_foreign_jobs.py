"""The attack H3 on a real Slurm: hostile jobs of another account, ours still read."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rigs.slurm.cluster import Cluster
from spawners.batch.models import JobState
from spawners.batch.scheduler import ABSENT
from spawners.batch.slurm import notation, sacct, squeue
from spawners.batch.slurm.scheduler import SlurmScheduler

pytestmark = [pytest.mark.slurm, pytest.mark.root]

FORGED = "x\n{id}|{uid}|1795529901|FAILED|n1|1795529901|1795531701|1|gpu|0|256|None|"
HOSTILE: dict[str, list[str]] = {
    "in 7,000 years": ["--begin=9999-12-31"],
    "in 3,000 years": ["--begin=now+99999999999"],
    "a name with lines of others": ["--hold", f"--job-name={FORGED}"],
    "a comment with lines of others": ["--hold", f"--comment={FORGED}"],
    "a name of bars": ["--hold", "--job-name=75|1001|0|FAILED|" + "|" * 40],
    "a name that is ours": ["--hold", "--job-name={name}"],
    "a name with a tab and a bell": ["--hold", "--job-name=a\tb\x07\x1b[2J"],
    "features and a dependency": ["--dependency=after:{id}", "--hold"],
    "a deadline and nice": ["--deadline=9999-12-31", "--nice=2147483640", "--hold"],
    "an array": ["--array=0-4%1", "--hold"],
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_job_of_anothers_changes_what_is_read_of_ours(
    two_users: Cluster, scheduler: SlurmScheduler, new_job, reaches, kind: str
) -> None:
    slurm = two_users
    job = await scheduler.submit(new_job(), user="alice")
    await reaches(job, JobState.RUNNING)
    facts = {"id": job.id, "uid": job.uid, "name": job.name}
    options = [option.format(**facts) for option in HOSTILE[kind]]
    done = slurm.run(
        ["sbatch", "--parsable", "-n1", "--mem=10", *options, "--wrap=true"],
        user="bob",
    )
    assert done.returncode == 0, done.stderr
    foreign = done.stdout.strip()
    assert foreign in slurm.run(["squeue", "-h", "-a", "-t", "all", "-o", "%A"]).stdout
    status = (await scheduler.status([job]))[job]
    assert (status.state, status.reason) == (JobState.RUNNING, "")
    assert await scheduler.find(job.name, user="alice") == (job,)
    listing = squeue.parse_listing(
        slurm.run(
            squeue.listing_argv(), env=notation.CLIENT_ENVIRONMENT
        ).stdout.encode()
    )
    assert listing.odd.count == 0, "our formats read all that Slurm 22.05 prints"
    # One that starts beside it, is read to its end; alice's own can be ended.
    short = await scheduler.submit(new_job("exit 3"), user="alice")
    end = await reaches(short, JobState.FAILED)
    assert end.exit_code == 3
    await scheduler.cancel(job)
    await reaches(job, JobState.CANCELLED)
    slurm.run(["scancel", foreign], user="bob")


async def test_what_left_the_queue_is_read_from_the_accounting_beside_namesakes(
    two_users: Cluster, scheduler: SlurmScheduler, new_job, reaches
) -> None:
    """The name of a job can be seen by everybody, and used by everybody."""
    slurm = two_users
    spec = new_job("exit 4")
    job = await scheduler.submit(spec, user="alice")
    await reaches(job, JobState.FAILED)
    for begin in ("9999-12-31", "now+99999999999"):
        argv = ["sbatch", "--parsable", "--mem=10", f"--job-name={spec.name}"]
        done = slurm.run([*argv, f"--begin={begin}", "--wrap=true"], user="bob")
        assert done.returncode == 0, done.stderr
    argv = sacct.accounting_argv([job])
    async with asyncio.timeout(60):  # slurmdbd takes its time
        while True:
            rows = slurm.run(argv, env=notation.CLIENT_ENVIRONMENT).stdout.encode()
            found, odd = sacct.parse_accounting(rows, job.submitted)
            assert odd.count == 0
            if [row for row in found if row.status.state is JobState.FAILED]:
                break
            await asyncio.sleep(0.2)
    assert [(row.id, row.uid) for row in found] == [(job.id, job.uid)]
    assert await scheduler.find(spec.name, user="alice") == (job,)
    slurm.run(["scancel", f"--name={spec.name}"], user="bob")


async def test_a_queue_too_long_to_list_is_asked_about_ours_alone(
    two_users: Cluster,
    scheduler: SlurmScheduler,
    new_job,
    reaches,
    monkeypatch,
    caplog,
) -> None:
    """The bound is lowered to what a test can fill; the questions are the real ones."""
    slurm = two_users
    job = await scheduler.submit(new_job(), user="alice")
    other = await scheduler.submit(new_job(), user="alice")
    await reaches(job, JobState.RUNNING)
    argv = ["sbatch", "--parsable", "--mem=10", "--hold", "--array=0-4", "--wrap=true"]
    foreign = slurm.run(argv, user="bob").stdout.strip()
    seconds = notation.CLIENT_ENVIRONMENT
    whole = slurm.run(squeue.listing_argv(), env=seconds).stdout
    most = len(whole) - 100  # more than our two lines, fewer than all
    assert whole.count("\n") >= 7
    monkeypatch.setattr("spawners.batch.slurm.lines.MAX_OUTPUT", most)
    gone = replace(job, id="999999", name="lb-none")
    readings = await scheduler.status([job, other, gone])
    assert "too long; only our own" in caplog.text
    assert readings[job].state is JobState.RUNNING
    assert readings[other].state in (JobState.RUNNING, JobState.PENDING)
    assert readings[gone].reason == ABSENT
    monkeypatch.setattr("spawners.batch.slurm.lines.MAX_OUTPUT", 100)
    assert (await scheduler.status([gone]))[gone].reason == ABSENT
    monkeypatch.undo()
    slurm.run(["scancel", foreign], user="bob")
    for mine in (job, other):
        await scheduler.cancel(mine)


@pytest.mark.parametrize("option", ["--job-name={name}", "--job-name=", "--comment="])
async def test_arrays_of_anothers_decide_about_no_task_of_ours(
    two_users: Cluster, scheduler: SlurmScheduler, new_job, reaches, option: str
) -> None:
    """Of the set's own name, and with names and comments that look like its lines."""
    slurm = two_users
    spec = new_job(cpus=20)
    jobs = await scheduler.submit_set(spec, 4, user="alice")
    for job in jobs[:3]:
        await reaches(job, JobState.RUNNING)
    forged = FORGED.format(id=jobs[0].id, uid=jobs[0].uid)
    option = option.format(name=spec.name) if "{" in option else option + forged
    argv = ["sbatch", "--parsable", "-n1", "--mem=10", "--hold", option]
    done = slurm.run([*argv, "--array=0-3,7%1", "--wrap=true"], user="bob")
    assert done.returncode == 0, done.stderr
    foreign = done.stdout.strip()
    readings = await scheduler.status(jobs)
    states = [readings[job].state for job in jobs]
    assert states == [JobState.RUNNING] * 3 + [JobState.PENDING]
    found = await scheduler.find(spec.name, user="alice")
    assert {job.id for job in found} == {job.id for job in jobs}
    # Bob's tasks under alice's name are not hers to end.
    theirs = [replace(job, id=f"{foreign}_{n}") for n, job in enumerate(jobs)]
    asked = [*theirs, jobs[3]]
    assert await scheduler.cancel_many(asked) == dict.fromkeys(asked)
    await reaches(jobs[3], JobState.CANCELLED)
    waiting = slurm.run(["squeue", "-h", "-r", "-j", foreign, "-o", "%i %T"]).stdout
    assert waiting.split().count("PENDING") == 5
    slurm.run(["scancel", foreign], user="bob")
    await scheduler.cancel_many(jobs)
    for job in jobs:
        await reaches(job, JobState.CANCELLED)
