"""Arguments for Slurm's commands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spawners.batch.models import BatchJob, JobSpec, Resources
from spawners.batch.runners import launcher
from spawners.batch.slurm import accounts, cluster, sacct, sbatch, squeue

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
        array_size=3,
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
        "--array=0-2",
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
    for build in (sbatch.scancel_argv, squeue.one_job_argv):
        with pytest.raises(ValueError, match="no id"):
            build(job)
    with pytest.raises(ValueError, match="no id"):
        sacct.accounting_argv([job])


def test_the_accounting_is_never_asked_about_all_jobs():
    with pytest.raises(ValueError, match="every job"):
        sacct.accounting_argv([])


def test_the_accounting_is_asked_once_for_several_jobs():
    jobs = [BatchJob("12", "lb-b", "bob"), BatchJob("3_4", "lb-a", "alice")]
    argv = sacct.accounting_argv(jobs)
    assert "--jobs=12,3_4" in argv
    assert "--name=lb-a,lb-b" in argv


def test_another_cluster_is_named_in_every_command():
    job = BatchJob("12", "lb-b", "bob", cluster="east")
    assert "--clusters=east" in sbatch.scancel_argv(job)
    assert "--clusters=east" in squeue.one_job_argv(job)
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
        squeue.one_job_argv(job),
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
    for argv in (sbatch.sbatch_argv(spec()), sbatch.scancel_argv(job)):
        launcher.check_command(argv, as_user=True)
