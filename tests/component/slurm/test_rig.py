"""The rig itself: what other tests rely on."""

from pathlib import Path

import pytest

from rigs.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm


def output_of(slurm: Cluster, script: str, *options: str, user: str) -> str:
    path = slurm.path / f"job/{user}.%j"
    job = slurm.submit(script, *options, f"--output={path}", user=user)
    slurm.wait_state(job, "COMPLETED")
    return Path(str(path).replace("%j", job)).read_text()


def test_a_job_runs_as_its_user_with_the_gpus_it_asked_for(slurm: Cluster) -> None:
    script = "id -un; echo $CUDA_VISIBLE_DEVICES; echo $SLURM_JOB_NODELIST"
    options = ("-p", "gpu", "--gres=gpu:a100:2", "-w", "n2")
    seen = output_of(slurm, script, *options, user=slurm.users[0])
    assert seen.split() == [slurm.users[0], "0,1", "n2"]


def test_limits_are_enforced(slurm: Cluster) -> None:
    argv = ["sbatch", "-A", "nope", "--wrap", "true"]
    done = slurm.run(argv, user=slurm.users[0])
    assert done.returncode == 1
    assert "Invalid account" in done.stderr


def test_a_running_job_survives_a_crash_of_its_node_daemon(slurm: Cluster) -> None:
    job = slurm.submit("sleep 300", "-w", "n4")
    slurm.wait_state(job, "RUNNING")
    slurm.restart("slurmd.n4", crash=True)
    slurm.wait_up()
    assert slurm.state(job) == "RUNNING"


def test_a_stopped_controller_answers_only_when_it_goes_on(slurm: Cluster) -> None:
    with slurm.stopped("slurmctld"):
        done = slurm.run(["timeout", "1", "sinfo"])
        assert done.returncode == 124
    assert slurm.nodes_up() == 4


def test_repair_brings_back_a_killed_controller(slurm: Cluster) -> None:
    slurm.kill("slurmctld")
    assert slurm.pid("slurmctld") is None
    slurm.repair()
    assert slurm.nodes_up() == 4


def test_repair_takes_back_a_node_that_slurm_drained(slurm: Cluster) -> None:
    drain = ("scontrol", "update", "NodeName=n4", "State=DRAIN")
    slurm.admin(*drain, "Reason=Duplicate jobid")
    slurm.repair()
    assert "n4" not in slurm.admin("sinfo", "-hR", "-o", "%N|%E")


def test_clearing_leaves_no_job_and_no_process(slurm: Cluster) -> None:
    job = slurm.submit("trap '' TERM; while :; do sleep 1; done", user=slurm.users[-1])
    slurm.wait_state(job, "RUNNING")
    slurm.clear_jobs()
    assert slurm.state(job) not in {"PENDING", "RUNNING", "COMPLETING"}
    assert slurm.processes() == []
