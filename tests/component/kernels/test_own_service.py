"""The jobs service that a program starts for its account's kernels."""

from __future__ import annotations

import signal
import stat

from rigs.kernels.kernels import run, wait_until


def test_one_serves_all_programs_and_is_started_once(kernels):
    kernels.start()
    pid = kernels.own.pid
    program = kernels.program(
        "from jupyter_client.manager import start_new_kernel\n"
        "km, kc = start_new_kernel(kernel_name='batch-python')\n"
        "print('runs', flush=True); kc.stop_channels(); km.shutdown_kernel()"
    )
    out, _ = program.communicate(timeout=60)
    assert out == "runs\n"
    assert kernels.own.pid == pid
    assert len(kernels.records) == 1


def test_what_it_keeps_is_its_accounts_alone(kernels):
    kernels.start()
    directory = kernels.own.directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in ("jobs-own.token", "jobs-own.hash", "launch-keys", "pki/jobs-ca.key"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600, name


def test_a_kernel_goes_on_when_it_is_killed_and_ends_with_the_next_one(kernels):
    manager, client = kernels.start()
    job = manager.provisioner.status.job
    kernels.own.end(signal.SIGKILL)
    assert run(client, "print(6 * 7)") == "42"
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=40)
    assert manager.provisioner.status.job == job
    wait_until(lambda: kernels.own.answers, 30, "the next one")
    assert [record.job for record in kernels.records] == [job]
    manager.shutdown_kernel()
    wait_until(lambda: not kernels.records, 20, "the end")


def test_a_kernel_that_waits_in_the_queue_starts_though_it_was_killed(kernels):
    name = kernels.spec("batch-gpus", profile="default", gpus=2)
    first, _ = kernels.start(name)
    program = kernels.program(
        "from jupyter_client.manager import start_new_kernel\n"
        f"km, kc = start_new_kernel(kernel_name={name!r})\n"
        "print('runs', flush=True); kc.stop_channels(); km.shutdown_kernel()"
    )
    wait_until(lambda: sum(r.job is not None for r in kernels.records) == 2, 30, "both")
    kernels.own.end(signal.SIGKILL)
    first.shutdown_kernel(now=True)
    out, _ = program.communicate(timeout=90)
    assert out == "runs\n"
