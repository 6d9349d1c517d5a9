"""SlurmScheduler against a runner that answers what a test says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from rigs.slurm.answers import (
    ENDED,
    GHOSTS,
    JOB,
    LINE,
    NAMED,
    ROW,
    SUBMITTED,
    Runner,
    recorded,
    scheduler,
)
from spawners.batch import errors
from spawners.batch.models import BatchJob, JobSpec, JobState, Resources
from spawners.batch.scheduler import ABSENT


def spec(**fields: object) -> JobSpec:
    given = {"script": "#!/bin/sh\ntrue\n", "resources": Resources(), "workdir": "/x"}
    return JobSpec(name="lb-run", **{**given, **fields})


# -- status -------------------------------------------------------------------------


async def test_one_listing_reads_all_jobs():
    runner = Runner(listing=recorded("squeue-listing.txt"))
    jobs = [
        BatchJob(job_id, "lb", "alice", 1001, SUBMITTED)
        for job_id in ("70", "75", "76", "77", "80_1")
    ]
    readings = await scheduler(runner).status(jobs)
    assert [readings[job].state for job in jobs] == [
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.FAILED,
        JobState.RUNNING,
    ]
    assert runner.kinds() == ["listing"]


async def test_an_end_known_to_the_accounting_alone_is_an_end():
    runner = Runner(listing=b"", sacct=ROW)
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    assert runner.kinds() == ["listing", "sacct"]


async def test_without_accounting_a_missing_job_is_absent():
    text = recorded("scontrol-config.txt")
    text = text.replace(b"accounting_storage/slurmdbd", b"accounting_storage/none")
    runner = Runner(config=text, listing=b"")
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert status.reason == ABSENT
    assert runner.kinds() == ["listing"]


async def test_no_job_is_no_command():
    runner = Runner()
    assert await scheduler(runner).status([]) == {}
    assert runner.calls == []


async def test_a_requeued_job_is_recognised_by_its_name():
    again = LINE.replace(b"901|RUNNING", b"905|RUNNING").replace(b"|0|0|", b"|1|0|")
    runner = Runner(listing=again)
    status = (await scheduler(runner).status([JOB]))[JOB]
    assert (status.state, status.restarts) == (JobState.RUNNING, 1)
    assert runner.kinds() == ["listing", "named"]


@pytest.mark.parametrize("user", ["alice", "bob"])
async def test_a_name_counts_for_its_own_user_only(user):
    job = dataclasses.replace(JOB, uid=None, submitted=None)
    runner = Runner(named=NAMED.replace(b"alice", user.encode()))
    status = (await scheduler(runner).status([job]))[job]
    expected = JobState.RUNNING if user == "alice" else JobState.UNKNOWN
    assert status.state is expected


async def test_cancelled_tasks_of_an_array_are_covered_by_the_arrays_line():
    line = b"75|1001|1795529901|CANCELLED||1795529955|1795529955|1|cpu|0|0|None|\n"
    task = dataclasses.replace(JOB, id="75_3")
    assert (await scheduler(Runner(listing=line)).status([task]))[
        task
    ].state is JobState.CANCELLED
    row = (
        b"75_[2-4%2]|1001|1795529901|None|1795529955|CANCELLED by 0|0:0|None assigned\n"
    )
    readings = await scheduler(Runner(listing=b"", sacct=row)).status([task])
    assert readings[task].state is JobState.CANCELLED


def hiding() -> bytes:
    text = recorded("scontrol-config.txt")
    return text.replace(b"PrivateData             = none", b"PrivateData = jobs,users")


async def test_where_jobs_are_hidden_each_user_is_asked():
    runner = Runner(config=hiding())
    bobs = dataclasses.replace(JOB, id="76", user="bob", uid=1002)
    slurm = scheduler(runner)
    await slurm.status([JOB, bobs])
    assert slurm.hides_jobs
    listings = [user for kind, _, user in runner.calls if kind == "listing"]
    assert listings == ["alice", "bob"]


async def test_an_operators_account_sees_hidden_jobs():
    runner = Runner(config=hiding())
    slurm = scheduler(runner, sees_all_jobs=True)
    await slurm.status([JOB])
    assert not slurm.hides_jobs
    assert ("listing", None) in [(kind, user) for kind, _, user in runner.calls]


# -- submit -------------------------------------------------------------------------


async def test_a_submission_answers_with_the_whole_identity():
    runner = Runner()
    job = await scheduler(runner).submit(
        spec(environment={"A": "secret"}), user="alice"
    )
    assert job == JOB
    assert runner.stdin == b"#!/bin/sh\ntrue\n"
    assert runner.env == {"A": "secret"}
    assert "secret" not in str(runner.calls)
    assert [user for kind, _, user in runner.calls if kind == "sbatch"] == ["alice"]


async def test_an_array_answers_with_all_its_tasks():
    lines = (
        b"75_0|1001|alice|1795529901|PENDING||\n75_1|1001|alice|1795529901|PENDING||\n"
    )
    runner = Runner(named=lines)
    jobs = await scheduler(runner).submit_set(spec(), 3, user="alice")
    assert [job.id for job in jobs] == ["75_0", "75_1", "75_2"]
    assert [job.name for job in jobs] == ["lb-run-0", "lb-run-1", "lb-run-2"]
    assert [job.submitted for job in jobs] == [SUBMITTED, SUBMITTED, None]
    assert runner.kinds() == ["sbatch", "named"]


@pytest.mark.parametrize(
    "named", [b"", (1, b"", b"slurm_load_jobs error: Socket timed out\n"), b"x\n"]
)
async def test_an_accepted_job_is_answered_even_if_its_identity_is_not_known_yet(named):
    job = await scheduler(Runner(named=named)).submit(spec(), user="alice")
    assert (job.id, job.uid, job.submitted) == ("75", None, None)


async def test_the_cluster_of_the_answer_is_kept():
    runner = Runner(sbatch=b"75;east\n")
    job = await scheduler(runner).submit(spec(), user="alice")
    assert job.cluster == "east"
    assert "--clusters=east" in runner.calls[-1][1]


@pytest.mark.parametrize(
    "answer",
    [
        errors.SchedulerUnavailable("sbatch did not answer within 30 s."),
        (1, b"", b"sbatch: error: Batch job submission failed: Socket timed out\n"),
        (-9, b"", b""),
        (0, b"", b""),
        (0, b"Submitted batch job 75\n", b""),
        (0, b"75\n76\n", b""),
    ],
)
async def test_a_lost_answer_is_uncertain(answer):
    with pytest.raises(errors.SubmitUncertain):
        await scheduler(Runner(sbatch=answer)).submit(spec(), user="alice")


# -- find ---------------------------------------------------------------------------


async def test_a_job_is_found_by_name_in_the_queue():
    runner = Runner()
    assert await scheduler(runner).find("lb-run", user="alice") == (JOB,)
    assert runner.kinds() == ["named"]


async def test_a_job_that_ended_is_found_in_the_accounting():
    runner = Runner(named=b"", sacct=ROW)
    assert await scheduler(runner).find("lb-run", user="alice") == (JOB,)


@pytest.mark.parametrize("row", sorted(set(GHOSTS) - {"somebody else's"}))
async def test_ghosts_and_refused_submissions_are_not_found(row):
    if row in ("an older job under the id", "ended, then a younger ghost"):
        return  # under our own random name these are jobs
    runner = Runner(named=b"", sacct=GHOSTS[row])
    assert await scheduler(runner).find("lb-run", user="alice") == ()


async def test_a_refused_submission_in_the_queue_is_not_found():
    line = b"75|1001|alice|1795529901|FAILED||\n"
    assert await scheduler(Runner(named=line)).find("lb-run", user="alice") == ()


@pytest.mark.parametrize(
    "answers",
    [
        {"named": (0, b"", b"squeue: error: Invalid user: alice\n\n")},
        {"named": (1, b"", b"slurm_load_jobs error: Socket timed out\n")},
        {"named": b"", "sacct": (1, b"", b"sacct: error: Connection refused\n")},
        {"named": b"75|"},
    ],
)
async def test_no_answer_is_not_nothing_found(answers):
    with pytest.raises(errors.SchedulerUnavailable):
        await scheduler(Runner(**answers)).find("lb-run", user="alice")


# -- cancel -------------------------------------------------------------------------


async def test_a_cancel_is_made_as_the_user_after_a_look():
    runner = Runner()
    await scheduler(runner).cancel(JOB)
    assert runner.kinds() == ["one", "scancel"]
    assert runner.calls[-1][1:] == (["scancel", "75"], "alice")


@pytest.mark.parametrize(
    "answers",
    [
        {"one": LINE.replace(b"1001|1", b"1002|1", 1)},
        {"one": LINE.replace(b"901|RUNNING", b"999|RUNNING"), "named": b""},
        {"one": ENDED},
        {"one": b""},
        {"one": (1, b"", b"slurm_load_jobs error: Invalid job id specified\n")},
    ],
)
async def test_an_id_that_is_not_ours_any_more_is_left_alone(answers):
    runner = Runner(**answers)
    await scheduler(runner).cancel(JOB)
    assert "scancel" not in runner.kinds()


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"one": (1, b"", b"Socket timed out\n")}, errors.SchedulerUnavailable),
        ({"one": b"<html>\n"}, errors.SchedulerUnavailable),
        ({"scancel": (210, b"", b"Access/permission denied\n")}, errors.NotPermitted),
        ({"scancel": (140, b"", b"Socket timed out\n")}, errors.SchedulerUnavailable),
        (
            {"scancel": errors.SchedulerUnavailable("no end")},
            errors.SchedulerUnavailable,
        ),
    ],
)
async def test_a_cancel_that_may_not_have_arrived_says_so(answers, error):
    with pytest.raises(error):
        await scheduler(Runner(**answers)).cancel(JOB)


async def test_a_job_that_ended_meanwhile_is_cancelled_enough():
    words = (
        b"scancel: error: Kill job error on job id 75: Job/step already completing\n"
    )
    await scheduler(Runner(scancel=(1, b"", words))).cancel(JOB)


# -- the other questions --------------------------------------------------------------


async def test_checks_share_one_reading():
    runner = Runner()
    slurm = scheduler(runner)
    await slurm.check(Resources(), user="alice")
    await slurm.check(Resources(), user="alice")
    assert sorted(runner.kinds()) == ["assoc", "partition", "qos", "sinfo", "user"]
    with pytest.raises(errors.SubmitRejected, match="closed"):
        await slurm.check(Resources(partition="closed"), user="alice")


async def test_a_site_that_enforces_no_accounts_has_no_limits():
    text = recorded("scontrol-config.txt")
    text = text.replace(b"associations,limits,qos", b"none")
    limits = await scheduler(Runner(config=text)).limits("alice")
    assert limits.accounts == {}


async def test_the_output_is_read_with_the_users_rights():
    runner = Runner()
    text = await scheduler(runner).read_output(JOB, "/home/alice/x.%j")
    assert text == "the end�"
    assert runner.calls[-1] == ("read", ["/home/alice/x.75"], "alice")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((1, b"", b"allocation failure: Requested node configuration\n"), None),
        ((0, b"", b"nothing of use\n"), None),
        ((1, b"", b"sbatch: error: Invalid qos specification\n"), None),
    ],
)
async def test_no_estimate_is_none(answer, outcome):
    found = await scheduler(Runner(sbatch=answer)).estimate(spec(), user="alice")
    assert found is outcome


async def test_an_estimate_of_a_controller_that_is_away_is_no_uncertain_job():
    runner = Runner(sbatch=(1, b"", b"Socket timed out on send/recv operation\n"))
    with pytest.raises(errors.SchedulerUnavailable) as error:
        await scheduler(runner).estimate(spec(), user="alice")
    assert not isinstance(error.value, errors.SubmitUncertain)


async def test_the_last_good_configuration_is_kept(monkeypatch):
    runner = Runner()
    slurm = scheduler(runner)
    config = await slurm.config()
    runner.answers["config"] = (1, b"", b"Socket timed out\n")
    later: Callable[[], float] = lambda: 1e9  # noqa: E731
    monkeypatch.setattr("spawners.batch.slurm.commands.monotonic", later)
    assert await slurm.config() == config
