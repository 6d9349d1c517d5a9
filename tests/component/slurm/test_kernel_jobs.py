"""Kernels as Slurm jobs on other machines, each with a network of its own."""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import secrets
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from jupyter_client.ioloop import AsyncIOLoopKernelManager

from rigs.kernels.kernels import KernelRig, run, wait_until
from rigs.kernels.on_slurm import kernel_rig
from rigs.slurm.machines import Machines
from spawners.kernels import tunnel as kernel_tunnel
from spawners.node.kernel import tunnel as kernel_relay

pytestmark = [pytest.mark.slurm, pytest.mark.root]

WHERE = "import os; print(os.environ['SLURM_JOB_ID'], os.environ['SLURMD_NODENAME'])"


@pytest.fixture
def nodes(machines_rig: Machines) -> Iterator[Machines]:
    """The session's machines, without jobs and faults."""
    machines_rig.repair()
    machines_rig.clear_jobs()
    yield machines_rig
    machines_rig.repair()
    machines_rig.clear_jobs()


@pytest.fixture
def kernels(nodes: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelRig]:
    """Kernels as jobs of those machines."""
    with kernel_rig(nodes, monkeypatch) as rig:
        yield rig


class Wire:
    """What passes over a network's bridge, as bytes."""

    def __init__(self, interface: str) -> None:
        self.seen = bytearray()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)
        self._socket.bind((interface, 0x0003))  # ETH_P_ALL
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                self.seen += self._socket.recv(65536)

    def close(self) -> bytes:
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return bytes(self.seen)


def test_a_kernel_on_another_machine_is_encrypted_on_the_wire(nodes, kernels):
    wire = Wire(f"{nodes.tag}br")
    try:
        manager, client = kernels.start()
        job, node = run(client, WHERE).split()
        said = run(client, "print('canary-' + 'output' * 50)  # canary-code")
        manager.restart_kernel()
        client.wait_for_ready(timeout=20)
        assert run(client, WHERE).split() == [job, node]
        (record,) = kernels.records
        with socket.create_connection((nodes.address(node), 16918), timeout=5) as plain:
            plain.sendall(b"control-sample-in-clear")
            # That it is heard shows that the rest was.
            wait_until(lambda: b"control-sample-in-clear" in wire.seen, 10)
    finally:
        seen = wire.close()
    assert said.startswith("canary-output")
    assert record.address.address == nodes.address(node)
    assert socket.inet_aton(nodes.address(node)) in seen
    for secret in (b"canary-", b"execute_request", b"ipykernel", b"kernel_info"):
        assert secret not in seen
    assert manager.session.key not in seen


def test_secrets_are_in_nothing_that_slurm_shows(nodes, kernels):
    manager, client = kernels.start()
    job, _ = run(client, WHERE).split()
    shown = nodes.admin("scontrol", "show", "job", "-dd", job)
    script = nodes.admin("scontrol", "write", "batch_script", job, "-")
    opened = manager.provisioner._job._credential
    for secret in (manager.session.key.decode(), opened.key.splitlines()[1]):
        assert secret not in shown
        assert secret not in script
    assert "LANDBRIDGE_AGENT" in script  # it is the right one
    bob = nodes.run(["scontrol", "write", "batch_script", job, "-"], user="bob")
    assert bob.stdout == ""
    assert "Invalid user id" in bob.stderr
    manager.shutdown_kernel()
    assert nodes.wait_state(job, "COMPLETED", "COMPLETING")


def test_another_user_on_the_kernels_machine_gets_nothing(nodes, kernels):
    _, client = kernels.start()
    _, node = run(client, WHERE).split()
    (record,) = kernels.records
    knock = (
        "import socket, ssl, sys\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)\n"
        "try:\n"
        "    t = c.wrap_socket(s); t.sendall(b'ctl\\n'); print('got', t.recv(99))\n"
        "except OSError as error: print('refused', type(error).__name__)\n"
    )
    port = str(record.address.port)
    argv = [*nodes.enter(node), "runuser", "-u", "bob", "--", "/usr/bin/python3", "-c"]
    said = nodes.admin(*argv, knock, record.address.address, port)
    # TLS 1.3 tells a client only after its own part of the handshake.
    assert said.startswith(("refused SSL", "refused Connection", "got b''"))
    assert run(client, "print(1)") == "1"


def test_a_token_proves_a_job_where_there_is_no_munge(nodes, monkeypatch):
    with kernel_rig(nodes, monkeypatch, proof="token", logs="none") as kernels:
        _, client = kernels.start()
        job, _ = run(client, WHERE).split()
        shown = nodes.admin("scontrol", "show", "job", "-dd", job)
        script = nodes.admin("scontrol", "write", "batch_script", job, "-")
        assert "LANDBRIDGE_TOKEN=" not in shown + script
        assert run(client, "print('LANDBRIDGE_TOKEN' in os.environ)") == "False"


async def test_a_cancelled_job_is_told_and_its_restarter_gives_up(nodes, kernels):
    manager = AsyncIOLoopKernelManager(kernel_name="batch-python")
    await manager.start_kernel()
    dead = asyncio.Event()
    restarted = []
    manager.add_restart_callback(dead.set, "dead")
    manager.add_restart_callback(lambda: restarted.append(1), "restart")
    job = manager.provisioner.status.job.id
    try:
        await asyncio.to_thread(nodes.admin, "scancel", job)
        async with asyncio.timeout(30):
            await dead.wait()
            while manager.provisioner.status.phase != "ended":
                await asyncio.sleep(0.1)
        assert "ancel" in manager.provisioner.status.failure.title
        assert restarted == []
        await asyncio.sleep(4)  # another tick of a restarter
        assert max(int(row[0]) for row in nodes.squeue("%A")) == int(job)
        # Its user may well start it again, under the same name and sockets.
        before = manager.get_connection_info()
        await manager.restart_kernel(now=True)
        assert manager.provisioner.status.job.id != job
        assert manager.get_connection_info() == before
    finally:
        await manager.shutdown_kernel(now=True)
        manager.context.destroy(linger=0)


def test_a_time_limit_is_announced_and_told(nodes, kernels):
    kernels.write(warn_before="1min")
    name = kernels.spec("batch-short", profile="default", time_limit="10min")
    manager, client = kernels.start(name)
    job, _ = run(client, WHERE).split()
    soon = datetime.now() + timedelta(seconds=12)  # noqa: DTZ005 - Slurm's own
    end = f"EndTime={soon:%Y-%m-%dT%H:%M:%S}"
    nodes.admin("scontrol", "update", f"JobId={job}", end)
    wait_until(lambda: manager.provisioner.status.warned, 60, "the warning")
    wait_until(lambda: manager.provisioner.status.phase == "ended", 90, "the end")
    failure = manager.provisioner.status.failure
    assert "time limit" in f"{failure.title} {failure.detail}".lower()
    assert not manager.is_alive()


def test_a_controller_that_is_away_hinders_no_running_kernel(nodes, kernels):
    manager, client = kernels.start()
    job, _ = run(client, WHERE).split()
    with nodes.stopped("slurmctld"):
        assert run(client, "print(6 * 7)") == "42"
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=20)
        assert run(client, WHERE).split()[0] == job
        manager.shutdown_kernel()
    assert nodes.wait_state(job, "COMPLETED", timeout=40)


def test_a_machine_that_is_cut_off_is_no_dead_kernel(nodes, kernels, monkeypatch):
    monkeypatch.setattr(kernel_tunnel, "PING_SECONDS", 0.5)
    monkeypatch.setattr(kernel_tunnel, "SILENCE_SECONDS", 2.0)
    manager, client = kernels.start()
    run(client, "x = 4711")
    _, node = run(client, WHERE).split()
    nodes.unplug(node)
    wait_until(lambda: manager.provisioner.status.phase == "lost", 20, "the silence")
    assert manager.is_alive()
    nodes.plug(node)
    wait_until(lambda: manager.provisioner.status.phase == "running", 40, "contact")
    fresh = kernels.client(manager)
    fresh.wait_for_ready(timeout=40)
    assert run(fresh, "print(x)") == "4711"
    assert kernel_relay.SILENCE_SECONDS == 45


def test_a_machine_that_fails_is_named(nodes, kernels, monkeypatch):
    monkeypatch.setattr(kernel_tunnel, "PING_SECONDS", 0.5)
    monkeypatch.setattr(kernel_tunnel, "SILENCE_SECONDS", 2.0)
    manager, client = kernels.start()
    job, node = run(client, WHERE).split()
    nodes.unplug(node)
    wait_until(lambda: manager.provisioner.status.phase == "lost", 20, "the silence")
    nodes.admin("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    wait_until(lambda: manager.provisioner.status.phase == "ended", 60, "the end")
    failure = manager.provisioner.status.failure
    assert node in f"{failure.title} {failure.detail}"
    assert nodes.state(job) == "NODE_FAIL"
    nodes.plug(node)
    nodes.admin("scontrol", "update", f"nodename={node}", "state=resume")


def test_server_and_kernel_share_no_disk(nodes, monkeypatch):
    with kernel_rig(nodes, monkeypatch, nodes.path / "own", logs="none") as kernels:
        manager, client = kernels.start()  # in a directory that is only here
        look = f"import os; print(os.path.exists({str(kernels.config)!r}), os.getcwd())"
        there, cwd = run(client, look).split()
        assert there == "False"
        assert cwd != str(kernels.path)
        (note,) = manager.provisioner.status.notes
        assert "is not on this node" in note
        job, _ = run(client, WHERE).split()
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=20)
        assert run(client, WHERE).split()[0] == job


FROM_WITHIN = """
import os, socket
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="batch-python")
said = []
client.execute_interactive(
    "import os; print(os.environ['SLURM_JOB_ID'], os.environ['SLURMD_NODENAME'],"
    " os.getuid())",
    output_hook=lambda m: said.append(m["content"].get("text", "")),
    timeout=30,
)
print(os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"], *said)
client.stop_channels()
manager.shutdown_kernel()
"""


def test_a_user_starts_a_kernel_from_within_her_job_on_another_machine(
    nodes, monkeypatch
):
    where = nodes.path / "job"
    state = where / f"state-{secrets.token_hex(4)}"
    with kernel_rig(nodes, monkeypatch, state=str(state)) as kernels:
        kernels.path.chmod(0o755)
        # The other machines' only free one.
        nodes.admin("scontrol", "update", "nodename=m3", "state=drain", "reason=test")
        program = kernels.path / "program.py"
        program.write_text(FROM_WITHIN)
        exports = [f"export {k}={shlex.quote(v)}" for k, v in kernels.variables.items()]
        places = [f"export JUPYTER_RUNTIME_DIR={state}-run IPYTHONDIR={state}-ipython"]
        command = [f"exec {sys.executable} {program}"]
        job = nodes.submit(
            "\n".join([*exports, *places, *command]),
            "--nodelist=m1",
            "--exclusive",
            f"--output={where}/%j.out",
            user="alice",
        )
        try:
            nodes.wait_state(job, "COMPLETED", "FAILED", timeout=60)
            said = (where / f"{job}.out").read_text()
        finally:
            nodes.admin("scontrol", "update", "nodename=m3", "state=resume")
    outer, outer_node, inner, inner_node, uid = said.split()[-5:]
    assert (outer, outer_node) == (job, "m1"), said
    assert inner != outer
    assert inner_node == "m2"
    assert int(uid) == pwd.getpwnam("alice").pw_uid
    assert not list((state / "kernels").glob("*.lock"))
