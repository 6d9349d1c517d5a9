"""Time from asking for a kernel until it answers, in a Slurm of three machines (root).

    python tests/benchmarks/kernel_start.py [STARTS]

The peers take turns: the same ipykernel in an ``sbatch`` by hand, with its connection
file on the shared disk and its five ports in clear on the node's address; the same with
``srun``, which is no batch job; ``gateway_provisioners`` (:mod:`gateway_peer`), without
a queue to wait in; and a restart of ours inside its job against a new job.
Exit code 1 if ours takes more than 1.25 times the sbatch by hand, by the median.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from jupyter_client import BlockingKernelClient
from jupyter_client.manager import KernelManager

sys.path.append(str(Path(__file__).resolve().parents[1]))

from gateway_peer import GatewayKernels

from rigs.kernels.kernels import KernelRig
from rigs.slurm.machines import Machines

LIMIT = 1.25
NODE = "m2"


@contextlib.contextmanager
def cluster() -> Iterator[tuple[Machines, KernelRig]]:
    """A Slurm, and kernels as its jobs."""
    with tempfile.TemporaryDirectory(prefix="lbb-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        machines = Machines(path / "rig")
        try:
            machines.up()
            kernels = KernelRig(
                path,
                {
                    "scheduler": "slurm",
                    "slurm_conf": machines.environment["SLURM_CONF"],
                    "munge_socket": machines.munge_socket,
                },
            )
            kernels.spec("local", provisioner="local-provisioner")
            os.environ.update(kernels.variables)
            yield machines, kernels
        finally:
            machines.down()


def answer(client: BlockingKernelClient) -> None:
    """Ask until the kernel answers, in the same way for every peer.

    ``wait_for_ready`` would not do: without a manager, it counts as dead what is not
    there yet, and with one it waits a while more for output that might still come.
    """
    client.start_channels()
    while True:
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_shell_msg(timeout=0.1)
            break
    client.stop_channels()


def by_hand(machines: Machines, kernels: KernelRig, *, batch: bool) -> float:
    """Start an ipykernel as a person would; return the seconds until it answers."""
    file = kernels.path / f"hand-{uuid.uuid4()}.json"
    ports = iter(range(40000 + os.getpid() % 5000, 60000))
    names = ("shell", "iopub", "stdin", "control", "hb")
    info = {f"{name}_port": next(ports) for name in names}
    info |= {"ip": machines.address(NODE), "transport": "tcp", "key": "k"}
    info |= {"signature_scheme": "hmac-sha256"}
    file.write_text(json.dumps(info))
    command = f"{sys.executable} -m ipykernel_launcher -f {file}"
    began = time.perf_counter()
    child = None
    if batch:
        machines.submit(f"exec {command}", f"--nodelist={NODE}", user="root")
    else:
        argv = ["srun", "--quiet", "--mem=10", f"--nodelist={NODE}", *command.split()]
        child = subprocess.Popen(argv, env={**os.environ, **machines.environment})
    client = BlockingKernelClient()
    client.load_connection_info(info)
    answer(client)
    took = time.perf_counter() - began
    if child is not None:
        child.terminate()
        child.wait(60)
    machines.clear_jobs()
    return took


def ready(manager: KernelManager, start: Callable[[], object]) -> float:
    """Return the seconds from ``start`` until a client has an answer."""
    began = time.perf_counter()
    start()
    answer(manager.client())
    return time.perf_counter() - began


def ours(name: str) -> tuple[float, float]:
    """Return the seconds of a start and of a restart."""
    manager = KernelManager(kernel_name=name)
    started = ready(manager, manager.start_kernel)
    restarted = ready(manager, lambda: manager.restart_kernel(now=True))
    manager.shutdown_kernel(now=True)
    manager.context.destroy(linger=0)
    return started, restarted


def main() -> int:
    """Measure and print a table."""
    starts = int(sys.argv[1]) if sys.argv[1:] else 8
    found: dict[str, list[float]] = {}
    with cluster() as (machines, kernels), GatewayKernels() as gateway:
        ours("batch-python")  # modules and the first reading of the cluster
        for _ in range(starts):
            start, again = ours("batch-python")
            for name, seconds in (
                ("sbatch by hand", by_hand(machines, kernels, batch=True)),
                ("Landbridge, new job", start),
                ("Landbridge, restart in the job", again),
                (
                    "srun by hand (no batch job)",
                    by_hand(machines, kernels, batch=False),
                ),
                ("gateway_provisioners, no queue", gateway.start()),
                ("local kernel", ours("local")[0]),
            ):
                found.setdefault(name, []).append(seconds)
    base = statistics.median(found["sbatch by hand"])
    print(f"{starts} starts each; load average {os.getloadavg()[0]:.1f}")
    print("| until it answers | median s | worst s | against sbatch by hand |")
    print("| --- | --- | --- | --- |")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.2f} | {max(seconds):.2f} | {median / base:.2f}x |")
    return int(statistics.median(found["Landbridge, new job"]) > LIMIT * base)


if __name__ == "__main__":
    sys.exit(main())
