"""What becomes of a kernel when whoever started it goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rigs.kernels.kernels import run, wait_until
from spawners.kernels import start
from spawners.kernels.errors import KernelJobError

START = """
import sys, time
from jupyter_client.manager import KernelManager
class Manager(KernelManager):
    kernel_owner = "server:test"
km = Manager(kernel_name=sys.argv[1] if len(sys.argv) > 1 else {name!r})
km.start_kernel()
kc = km.client(); kc.start_channels(); kc.wait_for_ready(timeout=40)
kc.execute_interactive("x = 4711; import os; pid = os.getpid()", timeout=20)
print(km.kernel_id, flush=True)
{then}
"""
STAY = "sys.stdin.read()"


def find_again(kernels, kernel_id):
    """Return a manager and a client of a recorded kernel, as a new server would."""
    manager = kernels.manager()
    manager.kernel_id = kernel_id
    manager._launch_args = {"env": dict(os.environ)}
    manager._attempted_start = True
    from jupyter_client.provisioning import KernelProvisionerFactory

    factory = KernelProvisionerFactory.instance()
    provisioner = factory.create_provisioner_instance(
        kernel_id, manager.kernel_spec, parent=manager
    )
    manager.provisioner = provisioner
    asyncio.run(provisioner.load_provisioner_info({"kernel_id": kernel_id}))
    manager.write_connection_file()
    client = kernels.client(manager)
    client.wait_for_ready(timeout=20)
    return manager, client


def start_elsewhere(kernels, then=STAY, name="batch-python"):
    program = kernels.program(START.format(name=name, then=then))
    kernel_id = program.stdout.readline().strip()
    assert kernel_id, "the program did not start a kernel"
    return program, kernel_id


def leave(program):
    program.kill()
    program.wait()
    program.stdin.close()
    program.stdout.close()


def test_a_kernel_is_found_again_after_its_server_was_killed(kernels):
    program, kernel_id = start_elsewhere(kernels)
    with pytest.raises(KernelJobError, match="another program"):
        find_again(kernels, kernel_id)
    leave(program)
    manager, client = find_again(kernels, kernel_id)
    assert run(client, "print(x)") == "4711"
    manager.restart_kernel()
    client.wait_for_ready(timeout=20)
    assert "NameError" in run(client, "print(x)")
    manager.shutdown_kernel()
    assert kernels.records == []


def test_a_cell_that_runs_while_nobody_is_there_finishes(kernels):
    program, kernel_id = start_elsewhere(
        kernels,
        "kc.execute('import time; time.sleep(1); y = x + 1')\n"
        "while kc.get_iopub_msg(timeout=5)['msg_type'] != 'execute_input': pass\n"
        "print('running', flush=True)\n" + STAY,
    )
    assert program.stdout.readline() == "running\n"
    leave(program)
    _, client = find_again(kernels, kernel_id)
    assert run(client, "print(y)") == "4712"


def test_after_a_kill_of_everything_the_job_ends_by_its_lease(kernels):
    kernels.write(lease="2s")
    program, kernel_id = start_elsewhere(kernels)
    pid = launcher_of(kernels)
    leave(program)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 15, "the lease's end")
    with pytest.raises(KernelJobError):
        find_again(kernels, kernel_id)
    assert kernels.records == []


def test_a_program_that_just_ends_leaves_no_job(kernels):
    program, _ = start_elsewhere(kernels, "pass")
    pid = launcher_of(kernels)
    program.stdin.close()
    program.stdout.close()
    assert program.wait(20) == 0
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5, "the end of the job")
    assert kernels.records == []


def test_a_manager_that_is_dropped_leaves_no_job(kernels):
    program, _ = start_elsewhere(
        kernels,
        "kc.stop_channels(); import gc; km.provisioner.parent = None; km = kc = None;"
        "gc.collect(); print('dropped', flush=True); sys.stdin.read()",
    )
    assert program.stdout.readline() == "dropped\n"
    wait_until(lambda: not kernels.records, 10, "the end of the job")
    leave(program)


async def test_a_kernel_that_is_kept_outlives_its_server(kernels):
    kernels.write(lease="1s")
    program, kernel_id = start_elsewhere(
        kernels,
        "import asyncio\n"
        "asyncio.run(km.provisioner.keep(60))\n"
        "asyncio.run(km.provisioner.detach())\n"
        "print('left', flush=True)",
    )
    assert await asyncio.to_thread(program.stdout.readline) == "left\n"
    await asyncio.to_thread(program.wait, 20)
    leave(program)
    await asyncio.sleep(3)  # longer than the lease
    (record,) = await asyncio.to_thread(lambda: kernels.records)
    assert record.facts["server"] == "server:test"
    manager, client = await asyncio.to_thread(find_again, kernels, kernel_id)
    assert await asyncio.to_thread(run, client, "print(x)") == "4711"
    left = manager.provisioner.kept_until - datetime.now(UTC)
    assert timedelta(0) < left < timedelta(seconds=58)
    pid = launcher_of(kernels)
    await manager.provisioner.keep(0)
    await manager.provisioner.detach()
    await asyncio.to_thread(
        wait_until, lambda: not Path(f"/proc/{pid}").exists(), 15, "the lease's end"
    )


def test_a_kernel_in_the_queue_is_found_again(kernels):
    name = kernels.spec("batch-gpus", profile="default", gpus=2)
    first, _ = kernels.start(name)
    program = kernels.program(START.format(name=name, then=STAY))

    def queued():
        return next((r for r in kernels.records if r.job and r.facts["server"]), None)

    record = wait_until(queued, 20, "a second record")
    leave(program)
    first.shutdown_kernel(now=True)
    _, client = find_again(kernels, record.facts["kernel"])
    assert run(client, "print(6 * 7)") == "42"


def test_what_a_killed_program_left_behind_is_ended_by_the_next(kernels, monkeypatch):
    program = kernels.program(
        START.format(name="batch-python", then=STAY).replace("server:test", "")
    )
    kernel_id = program.stdout.readline().strip()
    pid = launcher_of(kernels)
    leave(program)
    monkeypatch.setattr(start, "_STALE", timedelta(0))
    other, kept = start_elsewhere(kernels)
    kernels.start()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 15, "the end of the job")
    names = {record.facts["kernel"] for record in kernels.records}
    assert kernel_id not in names
    assert kept in names
    leave(other)


def launcher_of(kernels) -> int:
    """Return the process id of the one job that runs."""
    jobs = Path(kernels.path / "state/local/jobs").glob("*/run.json")
    (run_file,) = [path for path in jobs if not (path.parent / "end.json").exists()]
    pid = int(json.loads(run_file.read_text())["leader"])
    os.kill(pid, signal.SIGCONT)  # it is there
    return pid
