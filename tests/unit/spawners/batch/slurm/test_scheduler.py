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


# -- many at once -------------------------------------------------------------------


def array(number: int, tasks: int, user: str = "alice", uid: int = 1001, **fields):
    """The tasks of a set, and what squeue has of them."""
    jobs = [
        BatchJob(f"{number}_{n}", f"lb-s{number}-{n}", user, uid, SUBMITTED, **fields)
        for n in range(tasks)
    ]
    head = f"|{uid}|".encode()
    rest = LINE.partition(b"|1001|")[2]
    return jobs, b"".join(job.id.encode() + head + rest for job in jobs)


async def test_many_jobs_of_one_user_end_by_two_commands():
    jobs, lines = array(80, 200)
    runner = Runner(one=LINE + lines)
    answers = await scheduler(runner).cancel_many([*jobs, JOB])
    assert answers == dict.fromkeys([*jobs, JOB])
    assert runner.kinds() == ["one", "scancel"]
    assert runner.calls[-2][1][-1] == "--jobs=75,80"
    assert runner.calls[-1][1:] == (["scancel", "75", "80_[0-199]"], "alice")


async def test_each_user_and_cluster_has_a_cancel_of_its_own():
    alices, lines = array(80, 3)
    bobs, more = array(81, 2, "bob", 1002)
    others, east = array(82, 2, cluster="east")
    runner = Runner(one=lines + more + east)
    await scheduler(runner).cancel_many([*alices, *bobs, *others])
    assert runner.kinds() == ["one", "one", "scancel", "scancel", "scancel"]
    cancels = [call[1:] for call in runner.calls if call[0] == "scancel"]
    assert sorted(cancels) == [
        (["scancel", "--clusters=east", "82_[0-1]"], "alice"),
        (["scancel", "80_[0-2]"], "alice"),
        (["scancel", "81_[0-1]"], "bob"),
    ]


async def test_only_what_is_still_ours_is_cancelled():
    jobs, _ = array(80, 6)
    _, theirs = array(80, 1, uid=1002)
    lines = theirs.replace(b"80_0", b"80_1")  # another user's, ids come back
    for task, change in (
        (0, (b"RUNNING", b"RUNNING")),
        (2, (b"RUNNING", b"COMPLETED")),
        (3, (b"901|RUNNING", b"999|RUNNING")),  # submitted at another time
        (4, (b"RUNNING", b"running")),  # not to be read
    ):
        lines += LINE.replace(b"75|", b"80_%d|" % task, 1).replace(*change)
    runner = Runner(one=lines, named=b"")
    answers = await scheduler(runner).cancel_many(jobs)
    failed = [job for job, error in answers.items() if error]
    # The line that cannot be read may be about any of those without one of their own.
    assert failed == [jobs[1], jobs[4], jobs[5]]
    assert runner.calls[-1][1:] == (["scancel", "80_0"], "alice")


async def test_a_requeued_task_is_cancelled_by_its_sets_name():
    (task, *_), lines = array(80, 1)
    again = lines.replace(b"901|RUNNING", b"999|RUNNING")
    named = NAMED.replace(b"75|", b"80_0|", 1).replace(b"901|", b"999|")
    runner = Runner(one=again, named=named)
    assert await scheduler(runner).cancel_many([task]) == {task: None}
    assert "--name=lb-s80" in runner.calls[-2][1]
    assert runner.calls[-1][1] == ["scancel", "80_0"]


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        (
            b"scancel: error: Kill job error on job id 80_[0-2]: Socket timed out\n",
            "sss",
        ),
        (
            b"scancel: error: Kill job error on job id 75: Access/permission denied\n",
            "p",
        ),
        (
            b"sudo: unable to resolve host\n"
            b"scancel: error: Kill job error on job id 75: Job/step already over\n"
            b"scancel: error: Kill job error on job id 80_[0-2]: "
            b"Invalid job id specified\n",
            "",
        ),
        (
            b"scancel: error: Unable to contact slurm controller (connect failure)\n",
            "ssss",
        ),
        (b"", "ssss"),
    ],
)
async def test_a_cancel_that_failed_says_for_which_jobs(words, failed):
    jobs, lines = array(80, 3)
    runner = Runner(one=LINE + lines, scancel=(210, b"", words))
    answers = await scheduler(runner).cancel_many([*jobs, JOB])
    kinds = {errors.SchedulerUnavailable: "s", errors.NotPermitted: "p"}
    assert "".join(kinds[type(e)] for e in answers.values() if e) == failed
    if failed == "p":
        assert answers[JOB] is not None


async def test_a_controller_that_is_away_is_the_answer_for_each():
    jobs, _ = array(80, 3)
    runner = Runner(one=(1, b"", b"slurm_load_jobs error: Socket timed out\n"))
    answers = await scheduler(runner).cancel_many(jobs)
    assert {type(error) for error in answers.values()} == {errors.SchedulerUnavailable}
    runner = Runner(config=errors.SchedulerUnavailable("no end"))
    assert None not in (await scheduler(runner).cancel_many(jobs)).values()
    complaint = b"squeue: error: something is wrong\n"
    runner = Runner(one=(0, LINE, complaint))
    answers = await scheduler(runner).cancel_many([JOB, *jobs])
    assert answers[JOB] is None
    assert None not in [answers[job] for job in jobs]


async def test_more_than_fit_on_a_line_are_cancelled_by_several_commands():
    lines = [LINE.replace(b"75|", b"%d|" % n, 1) for n in range(1000, 3500)]
    jobs = [
        dataclasses.replace(JOB, id=str(n), name=f"lb-{n}") for n in range(1000, 3500)
    ]
    runner = Runner(one=b"".join(lines))
    answers = await scheduler(runner).cancel_many(jobs)
    assert answers == dict.fromkeys(jobs)
    assert runner.kinds() == ["one"] * 3 + ["scancel"] * 3


async def test_where_jobs_are_hidden_each_user_looks_and_cancels():
    alices, lines = array(80, 3)
    bobs, more = array(81, 2, "bob", 1002)
    runner = Runner(config=hiding(), one=lines + more)
    assert None in (await scheduler(runner).cancel_many([*alices, *bobs])).values()
    users = [(kind, user) for kind, _, user in runner.calls if kind != "config"]
    assert sorted(users) == [
        ("one", "alice"),
        ("one", "bob"),
        ("scancel", "alice"),
        ("scancel", "bob"),
    ]


async def test_a_set_is_found_in_queue_and_accounting_together():
    named = NAMED.replace(b"75|", b"75_1|", 1)
    row = ROW.replace(b"75|", b"75_0|", 1)
    waits = ROW.replace(b"75|", b"75_[2-3]|", 1)
    gone = waits.replace(b"COMPLETED", b"CANCELLED by 1001")
    for more, found in (
        (waits.replace(b"COMPLETED", b"PENDING"), "01"),
        (gone, "0123"),
    ):
        runner = Runner(named=named, sacct=row + more)
        jobs = await scheduler(runner).find("lb-run", user="alice")
        ids = sorted((job.id, job.name) for job in jobs)
        assert ids == [(f"75_{n}", f"lb-run-{n}") for n in found]
        assert {job.submitted for job in jobs} == {SUBMITTED}
    assert await scheduler(Runner(named=named)).find("lb-run-0", user="alice") == ()
    (task,) = await scheduler(Runner(named=named)).find("lb-run-1", user="alice")
    assert task.id == "75_1"


@pytest.mark.parametrize(
    ("listing", "rows", "state"),
    [
        # A row of all that wait may be older than a cancel: what is listed counts.
        (b"75_2|", b"75_[2-4]|PENDING", JobState.CANCELLED),
        (b"75_2|", b"75_2|COMPLETED", JobState.CANCELLED),
        (b"75_2|", b"75_3|COMPLETED", JobState.COMPLETED),
        (b"75_2|", b"75_3|RUNNING", JobState.UNKNOWN),
        (b"76|", b"75_[2-4]|PENDING", JobState.UNKNOWN),
        (b"76|", b"75_[0,2,4,...]|PENDING", JobState.UNKNOWN),
        (b"76|", b"75_[0,2,4,...]|CANCELLED by 0", JobState.CANCELLED),
        (b"76|", b"75_[2,4]|CANCELLED by 0", JobState.CANCELLED),
        (b"76|", b"75_2|COMPLETED", JobState.CANCELLED),
        (b"76|", b"", JobState.UNKNOWN),
    ],
)
async def test_what_is_known_of_a_task_that_has_no_line(listing, rows, state):
    task = dataclasses.replace(JOB, id="75_3", name="lb-run-3")
    line = LINE.replace(b"75|", listing, 1)
    job_id, _, word = rows.partition(b"|")
    row = ROW.replace(b"75|", job_id + b"|", 1).replace(b"COMPLETED", word)
    runner = Runner(listing=line, sacct=row if rows else b"")
    status = (await scheduler(runner).status([task]))[task]
    assert status.state is state
    if state is JobState.UNKNOWN:
        assert status.reason == ABSENT


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
