"""Starts that fail, and what their users are told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rigs.kernels.kernels import run, wait_until
from spawners.kernels.errors import KernelJobEnded, KernelNotStarted


def refused(kernels, name) -> str:
    manager = kernels.manager(name)
    with pytest.raises(KernelNotStarted) as caught:
        manager.start_kernel()
    assert kernels.records == []
    assert not manager.has_kernel
    return str(caught.value)


def test_an_interpreter_that_the_node_lacks_is_named(kernels):
    text = refused(
        kernels, kernels.spec("gone", "/no/such/python", "-f", "{connection_file}")
    )
    assert "/no/such/python cannot be started: No such file" in text
    assert "environment can be seen on that node" in text


def test_resources_that_nobody_has_are_refused_before_any_job(kernels):
    text = refused(kernels, kernels.spec("many", profile="default", gpus=3))
    assert "2 GPUs" in text
    jobs = kernels.path / "state/local/jobs"
    assert not jobs.exists() or not list(jobs.iterdir())


def test_an_unknown_profile_or_option_names_those_there_are(kernels):
    assert "must be one of default" in refused(kernels, kernels.spec("p", profile="x"))
    text = refused(kernels, kernels.spec("o", profile="default", gpu=1))
    assert "Did you mean gpus?" in text


def test_a_prologue_that_fails_is_told_with_its_output(kernels):
    kernels.write(prologue=["echo 'no module cuda/12'", "exit 7"])
    text = refused(kernels, "batch-python")
    assert "no module cuda/12" in text


def test_settings_that_cannot_be_used_are_named(kernels):
    kernels.write(shedule="x")
    manager = kernels.manager()
    with pytest.raises(KernelNotStarted, match="shedule"):
        manager.start_kernel()
    assert not manager.has_kernel
    del kernels.data["shedule"]


def test_a_kernel_over_its_jobs_memory_is_told_so_and_not_started_again(kernels):
    name = kernels.spec("small", profile="default", memory="300 MB")
    manager, client = kernels.start(name)
    client.execute("x = bytearray(600 * 1024 ** 2); import time; time.sleep(30)")
    wait_until(lambda: manager.provisioner.status.phase == "ended", 30, "the job's end")
    failure = manager.provisioner.status.failure
    assert failure.title == "Out of memory"
    assert "300" in failure.detail
    assert not manager.is_alive()
    # What nobody asked for is refused, what its user asks for is another matter.
    manager.may_start_job = False
    with pytest.raises(KernelJobEnded, match="Out of memory"):
        manager.restart_kernel(now=True)
    manager.may_start_job = True
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=20)
    assert run(client, "print(1)") == "1"


def test_a_missing_directory_is_noted_and_the_kernel_starts_at_home(kernels):
    manager = kernels.manager()
    place = kernels.path / "soon-gone"
    manager.start_kernel(cwd=str(place))
    client = kernels.client(manager)
    client.wait_for_ready(timeout=20)
    assert run(client, "import os; print(os.getcwd())") == str(Path.home())
    assert str(place) in manager.provisioner.status.notes[0]


def test_no_process_of_ours_is_left(kernels):
    manager, _ = kernels.start()
    name = manager.provisioner.status.job.name
    manager.shutdown_kernel()
    listing = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True)
    assert name not in listing.stdout


def test_logs_of_failures_are_kept_for_a_while(kernels):
    kernels.write(prologue=["echo 'first words'", "exit 7"])
    refused(kernels, "batch-python")
    logs = kernels.path / "state/logs"
    (log,) = logs.glob("*.log")
    assert log.read_text() == "first words\n"
    assert log.stat().st_mode & 0o077 == 0
    os.utime(log, (0, 0))
    kernels.write(prologue=[])
    manager, _ = kernels.start()
    assert not log.exists()
    manager.shutdown_kernel()
    assert list(logs.iterdir()) == []
