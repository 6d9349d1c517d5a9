"""The life of a kernel in a job: every call that jupyter_client makes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from jupyter_client.manager import AsyncKernelManager

from rigs.kernels.kernels import run, wait_until
from spawners.kernels.errors import KernelNotStarted

EVENTS = "import os; print(os.environ['LANDBRIDGE_EVENTS'])"
JOB = "import os; print(os.environ['LANDBRIDGE_JOB_ID'])"


def test_a_kernel_computes_asks_and_ends_with_its_job(kernels):
    manager, client = kernels.start()
    assert run(client, "print(6 * 7)") == "42"
    client.execute("name = input('who? ')", allow_stdin=True)
    assert client.get_stdin_msg(timeout=10)["content"]["prompt"] == "who? "
    client.input("ada")
    client.get_shell_msg(timeout=10)
    assert run(client, "print(name)") == "ada"
    pid = int(run(client, "import os; print(os.getpid())"))
    assert len(kernels.records) == 1
    manager.shutdown_kernel()
    assert not Path(f"/proc/{pid}").exists()
    assert kernels.records == []
    assert manager.provisioner.status is None
    manager.shutdown_kernel(now=True)  # nbclient does so, too


def test_a_restart_stays_in_the_job_and_keeps_the_client(kernels):
    manager, client = kernels.start()
    job = run(client, JOB)
    run(client, "x = 1")
    for now in (False, True):
        manager.restart_kernel(now=now)
        client.wait_for_ready(timeout=20)
        assert run(client, JOB) == job
    assert run(client, "print('x' in globals())") == "False"
    assert manager.is_alive()


@pytest.mark.parametrize("mode", ["signal", "message"])
def test_an_interrupt_reaches_a_sleeping_cell(kernels, mode):
    manager, client = kernels.start(kernels.spec("batch-mode", interrupt_mode=mode))
    asked = client.execute("import time; time.sleep(60)")
    wait_until(lambda: client.get_iopub_msg(timeout=9)["msg_type"] == "execute_input")
    time.sleep(0.2)  # the cell is in its sleep
    began = time.monotonic()
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=20)
    while reply["parent_header"]["msg_id"] != asked:  # the start's, late
        reply = client.get_shell_msg(timeout=20)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - began < 30


def test_a_kernel_that_dies_is_told_and_started_again_in_the_job(kernels):
    manager, client = kernels.start()
    job = run(client, JOB)
    client.execute("import os; os.kill(os.getpid(), 9)")
    wait_until(lambda: not manager.is_alive(), 5, "the death")
    status = manager.provisioner.status
    assert status.exit_code == -9
    assert status.failure.title == "Killed"
    assert status.phase == "running"
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=20)
    assert run(client, JOB) == job


def test_a_kernel_that_dies_at_once_after_a_restart_is_dead(kernels):
    flag = kernels.path / "die"
    code = (
        f"import os, sys; os.path.exists({str(flag)!r}) and sys.exit(3);"
        "from ipykernel.kernelapp import launch_new_instance as go; go()"
    )
    name = kernels.spec(
        "batch-dying", sys.executable, "-c", code, "-f", "{connection_file}"
    )
    manager, _ = kernels.start(name)
    flag.touch()
    manager.restart_kernel(now=True)
    wait_until(lambda: not manager.is_alive(), 10, "the death")
    assert manager.provisioner.status.exit_code == 3


async def test_an_async_manager_starts_two_kernels_at_once(kernels):
    managers = [AsyncKernelManager(kernel_name="batch-python") for _ in range(2)]
    try:
        await asyncio.gather(*(manager.start_kernel() for manager in managers))
        jobs = {(await m.provisioner.get_provisioner_info())["job"] for m in managers}
        assert len(jobs) == 2
        assert len(kernels.records) == 2
    finally:
        await asyncio.gather(*(m.shutdown_kernel(now=True) for m in managers))
    assert kernels.records == []


async def test_cancelling_a_start_in_the_queue_leaves_no_job(kernels):
    name = kernels.spec("batch-gpus", profile="default", gpus=2)
    first = AsyncKernelManager(kernel_name=name)
    await first.start_kernel()
    second = AsyncKernelManager(kernel_name=name)
    starting = asyncio.create_task(second.start_kernel())
    try:
        async with asyncio.timeout(10):
            while True:
                status = second.provisioner and second.provisioner.status
                if status and status.phase == "queued" and status.reading.queue_place:
                    break
                await asyncio.sleep(0.05)
        assert "number 1 in line" in status.words
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        async with asyncio.timeout(10):
            while len(kernels.records) > 1:
                await asyncio.sleep(0.05)
        assert await first.is_alive()
    finally:
        await first.shutdown_kernel(now=True)


async def test_a_kernel_in_the_queue_is_cancelled_at_once(kernels):
    name = kernels.spec("batch-gpus", profile="default", gpus=2)
    first = AsyncKernelManager(kernel_name=name)
    await first.start_kernel()
    second = AsyncKernelManager(kernel_name=name)
    starting = asyncio.create_task(second.start_kernel())
    try:
        async with asyncio.timeout(10):
            while len(kernels.records) < 2 or second.provisioner.status.job is None:
                await asyncio.sleep(0.05)
        began = time.monotonic()
        await second.provisioner.cancel()
        with pytest.raises(KernelNotStarted, match="Cancelled"):
            await starting
        assert time.monotonic() - began < 2
        assert len(kernels.records) == 1
        assert await first.is_alive()
    finally:
        await first.shutdown_kernel(now=True)


def test_the_time_limits_warning_reaches_the_server_and_the_users_code(kernels):
    short = kernels.spec("batch-short", profile="default", time_limit="3min")
    manager, client = kernels.start(short)
    pid = int(run(client, "import os; print(os.getppid())"))
    listen = (
        "import json, os, socket\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(os.environ['LANDBRIDGE_EVENTS'])\n"
        "s.settimeout(10)"
    )
    run(client, listen)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: manager.provisioner.status.warned, 5, "the warning")
    said = json.loads(run(client, "print(s.makefile().readline())"))
    assert said["event"] == "time-limit"
    assert 55 < said["seconds"] <= 60
    late = json.loads(run(client, f"{listen}\nprint(s.makefile().readline())"))
    assert 0 < late["seconds"] < said["seconds"]  # as long as is left then
    assert manager.is_alive()


def test_a_scheduler_that_ends_the_job_is_named_and_nothing_is_submitted(kernels):
    manager, client = kernels.start()
    pid = int(run(client, "import os; print(os.getppid())"))
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not manager.is_alive(), 10, "the end")
    wait_until(lambda: manager.provisioner.status.phase == "ended", 15)
    assert manager.provisioner.status.failure is not None
    assert kernels.records == []


def test_the_sockets_are_for_their_user_alone(kernels):
    manager, client = kernels.start()
    near = Path(manager.ip).parent
    assert stat.S_IMODE(near.stat().st_mode) == 0o700
    assert manager.transport == "ipc"
    far = str(Path(run(client, EVENTS)).parent)
    assert stat.S_IMODE(Path(far).stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(f"{far}/k1.json").stat().st_mode) == 0o600
    listening = run(
        client,
        "import os, pathlib\n"
        "own = pathlib.Path('/proc/self/fd')\n"
        "inodes = {os.readlink(fd) for fd in own.iterdir() if fd.is_symlink()}\n"
        "rows = [line.split() for line in open('/proc/net/tcp')][1:]\n"
        "print([r[1] for r in rows if r[3] == '0A' and f'socket:[{r[9]}]' in inodes])",
    )
    # Of ipykernel itself it would be one, for its children's output.
    assert listening == "[]"
