"""Arguments for Slurm's commands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spawners.batch.models import BatchJob, JobSpec, Resources
from spawners.batch.runners import launcher
from spawners.batch.slurm import accounts, cluster, notation, sacct, sbatch, squeue

MIB = 1024**2


def spec(resources: Resources | None = None, **fields: object) -> JobSpec:
    given = {"name": "lb-x", "script": "#!/bin/sh\n", "workdir": "/home/alice"}
    return JobSpec(**{**given, **fields}, resources=resources or Resources())


def test_everything_that_is_asked_for_is_an_argument():
    resources = Resources(
        cpus=4,
        memory=2048 * MIB + 1,
        gpus=2,
        gpu_model="a100",
        nodes=2,
        time_limit=timedelta(minutes=90, seconds=1),
        partition="gpu",
        account="proj",
        qos="long",
        reservation="school",
        constraint="a100&ib",
    )
    fields = {
        "output": "/home/alice/x.%j",
        "environment": {"LANDBRIDGE_JOB": "lb-x", "A": "secret"},
        "warn_before": timedelta(minutes=5),
        "comment": "hub alice",
        "options": ("--exclusive",),
    }
    assert sbatch.sbatch_argv(spec(resources, **fields)) == [
        "sbatch",
        "--parsable",
        "--propagate=NONE",
        "--exclusive",
        "--job-name=lb-x",
        "--chdir=/home/alice",
        "--output=/home/alice/x.%j",
        "--export=A,LANDBRIDGE_JOB",
        "--no-requeue",
        "--comment=hub alice",
        "--signal=B:USR1@300",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=4",
        "--mem=2049M",
        "--gres=gpu:a100:2",
        "--time=91",
        "--partition=gpu",
        "--account=proj",
        "--qos=long",
        "--reservation=school",
        "--constraint=a100&ib",
    ]


def test_what_is_not_asked_for_is_left_to_the_scheduler():
    assert sbatch.sbatch_argv(spec()) == [
        "sbatch",
        "--parsable",
        "--propagate=NONE",
        "--job-name=lb-x",
        "--chdir=/home/alice",
        "--output=/dev/null",
        "--export=NIL",
        "--no-requeue",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
    ]


def test_no_value_of_the_environment_is_an_argument():
    argv = sbatch.sbatch_argv(spec(environment={"TOKEN": "canary-7f3a"}))
    assert "canary-7f3a" not in " ".join(argv)
    assert "--export=TOKEN" in argv


def test_gpus_of_any_model_and_a_requeue_on_request():
    argv = sbatch.sbatch_argv(spec(Resources(gpus=1), requeue=True))
    assert "--gres=gpu:1" in argv
    assert "--requeue" in argv
    assert "--no-requeue" not in argv


def test_an_estimate_asks_the_same_without_submitting():
    argv = sbatch.sbatch_argv(spec(), test_only=True)
    assert argv[1] == "--test-only"
    assert "--parsable" not in argv


def test_the_listing_asks_for_no_text_that_users_write():
    for argv in (squeue.listing_argv(), squeue.named_argv(["lb-x"])):
        form = next(item for item in argv if item.startswith("--Format="))
        asked = {field.removesuffix(":|") for field in form[9:].split(",")}
        assert not asked & {"Name", "Comment", "Command", "WorkDir", "STDOUT"}


@pytest.mark.parametrize(
    "job_id", ["", ",", "1,2", "-1", "all", "1 2", "1\n", "1_", "_1", "1_[2-3]", "٣"]
)
def test_only_ids_of_slurm_become_arguments(job_id):
    job = BatchJob(job_id, "lb-x", "alice")
    for build in (sbatch.scancel_argv, squeue.some_jobs_argv, sacct.accounting_argv):
        with pytest.raises(ValueError, match="no id"):
            build([job])


def test_the_accounting_is_never_asked_about_all_jobs():
    with pytest.raises(ValueError, match="every job"):
        sacct.accounting_argv([])


def test_the_accounting_is_asked_once_for_several_jobs():
    jobs = [BatchJob("12", "lb-b", "bob"), BatchJob("3_4", "lb-a-4", "alice")]
    argv = sacct.accounting_argv(jobs)
    assert "--jobs=12,3" in argv
    assert "--name=lb-a,lb-b" in argv


# -- sets ---------------------------------------------------------------------------


def tasks(*numbers: int, array: str = "7", **fields: str) -> list[BatchJob]:
    return [BatchJob(f"{array}_{n}", f"lb-x-{n}", "alice", **fields) for n in numbers]


def test_a_set_is_one_array_whose_tasks_write_where_their_ids_say():
    argv = sbatch.sbatch_argv(spec(output="/x/%j-%x.%%j.log"), tasks=200)
    assert argv[-1] == "--array=0-199"
    assert "--job-name=lb-x" in argv
    assert "--output=/x/%A_%a-%x.%%j.log" in argv
    (task,) = tasks(3)
    assert sbatch.output_path("/x/%j-%x.%%j.log", task) == "/x/7_3-lb-x.%j.log"


def test_the_tasks_of_an_array_are_cancelled_as_one_word():
    jobs = [
        *tasks(0, 1, 2, 3, 9, 11, 10),
        *tasks(5, array="8"),
        *tasks(4, 6, array="9"),
    ]
    jobs.append(BatchJob("12", "lb-b", "alice"))
    words = ["12", "7_[0-3,9-11]", "8_5", "9_[4,6]"]
    assert sbatch.scancel_argv(jobs) == ["scancel", *words]
    assert sbatch.scancel_argv(tasks(1, cluster="east"))[1:] == [
        "--clusters=east",
        "7_1",
    ]
    with pytest.raises(ValueError, match="no id"):
        sbatch.scancel_argv([])


def test_a_set_is_asked_about_by_its_one_number_and_name():
    jobs = tasks(*range(1000))
    assert "--jobs=7" in squeue.some_jobs_argv(jobs)
    assert "--name=lb-x" in squeue.named_argv([job.name for job in jobs], user="alice")
    assert {"--jobs=7", "--name=lb-x"} <= set(sacct.accounting_argv(jobs))
    assert "--name=lb-x" in sacct.accounting_by_name_argv("lb-x-17", user="alice")


def test_no_command_line_grows_without_bound():
    many = [
        BatchJob(str(n), f"lb-{n:026}", "alice") for n in range(10**6, 10**6 + 5000)
    ]
    lots = list(notation.batches(many))
    assert [job for lot in lots for job in lot] == many
    assert max(map(len, lots)) == 1000
    long = [BatchJob(str(n), f"{n:059}", "alice") for n in range(5000)]
    for lot in [*lots, *notation.batches(long), *notation.batches(tasks(*range(5000)))]:
        assert len(lot) <= 1000
        for argv in (
            sbatch.scancel_argv(lot),
            squeue.some_jobs_argv(lot),
            squeue.named_argv({job.name for job in lot}),
            sacct.accounting_argv(lot),
        ):
            assert len(argv) < 2000
            assert max(map(len, argv)) < 32_768
    assert list(notation.batches([])) == []


def test_another_cluster_is_named_in_every_command():
    job = BatchJob("12", "lb-b", "bob", cluster="east")
    assert "--clusters=east" in sbatch.scancel_argv([job])
    assert "--clusters=east" in squeue.some_jobs_argv([job], cluster="east")
    assert "--clusters=east" in squeue.listing_argv(cluster="east")


@pytest.mark.parametrize(
    ("pattern", "job_id", "expected"),
    [
        ("/h/x.%j", "12", "/h/x.12"),
        ("/h/x.%A_%a", "12_3", "/h/x.12_3"),
        ("/h/%x", "12", "/h/lb-x"),
        ("/h/100%%j", "12", "/h/100%j"),
        ("/h/plain", "12", "/h/plain"),
    ],
)
def test_the_output_of_a_job_is_where_its_pattern_says(pattern, job_id, expected):
    job = BatchJob(job_id, "lb-x", "alice")
    assert sbatch.output_path(pattern, job) == expected


def test_every_question_passes_the_launcher_that_sudo_and_ssh_start():
    job = BatchJob("12", "lb-b", "bob")
    for argv in (
        squeue.listing_argv(),
        squeue.named_argv(["lb-b"], user="bob"),
        squeue.some_jobs_argv([job]),
        sacct.accounting_argv([job]),
        sacct.accounting_by_name_argv("lb-b", user="bob"),
        cluster.config_argv(),
        cluster.partitions_argv(),
        cluster.nodes_argv(),
        accounts.user_argv("bob", "lab"),
        accounts.accounts_argv(["proj"], "lab"),
        accounts.qos_argv(),
    ):
        launcher.check_command(argv, as_user=False)
    for argv in (sbatch.sbatch_argv(spec()), sbatch.scancel_argv([job])):
        launcher.check_command(argv, as_user=True)
