"""A kernel of ``gateway_provisioners``, Enterprise Gateway's, as it ships.

It knows YARN, Kubernetes, Docker and ssh, but no Slurm. Here its distributed
provisioner starts the kernel on this very machine, without ssh and without any queue:
what is measured is its launcher, and the wait for that one's answer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from proxy_peers import cache

_PACKAGES = [
    "gateway_provisioners==0.5.0",
    *(f"{name}=={version(name)}" for name in ("jupyter_client", "ipykernel")),
]
_PROGRAM = """
import contextlib, os, queue, signal, sys, time
from jupyter_client.manager import KernelManager

def once():
    manager = KernelManager(kernel_name="gateway-python")
    began = time.perf_counter()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    while True:  # as kernel_start.py asks the others
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_shell_msg(timeout=0.1)
            break
    took = time.perf_counter() - began
    client.stop_channels()
    # Asked to end, its kernel takes a minute; told to be killed, it is left behind.
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    manager.shutdown_kernel(now=True)
    return took

once()  # modules
print("ready", flush=True)
for line in sys.stdin:
    print(once(), flush=True)
"""


def _environment() -> Path:
    """Return the peer's environment, with our own versions of what both use."""
    place = cache() / "gateway-provisioners"
    stamp = place / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(_PACKAGES):
        print(f"Installing gateway_provisioners into {place} ...", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [place / "bin/python", "-m", "pip", "install", "--quiet", *_PACKAGES]
        subprocess.run(pip, check=True)
        spec = [place / "bin/jupyter", "ssh-spec", "install", "--prefix", place]
        names = ["--kernel-name", "gateway-python", "--remote-hosts", "localhost"]
        subprocess.run([*spec, *names], check=True)
        stamp.write_text("\n".join(_PACKAGES))
    return place


class GatewayKernels:
    """A program that starts one kernel whenever it is asked to."""

    def __enter__(self) -> GatewayKernels:
        """Start it, and have its modules loaded."""
        place = _environment()
        self._program = subprocess.Popen(
            [place / "bin/python", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
                "JUPYTER_PATH": str(place / "share/jupyter"),
                # It would start nothing for root.
                "GP_UNAUTHORIZED_USERS": "nobody",
            },
        )
        self._ask()
        return self

    def start(self) -> float:
        """Return the seconds from asking for a kernel until it answers."""
        assert self._program.stdin is not None
        self._program.stdin.write("\n")
        self._program.stdin.flush()
        return float(self._ask())

    def _ask(self) -> str:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            raise RuntimeError("gateway_provisioners started no kernel")
        return line

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._program.communicate()
