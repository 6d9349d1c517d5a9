"""Kernels under test: settings, kernelspecs, and programs that use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from rigs.kernels.own import OwnJobs
from spawners.batch.jobs.record import JobRecord
from spawners.kernels.context import open_contexts
from spawners.kernels.settings import KernelSettings
from spawners.kernels.tunnel import begin

PROVISIONER = "landbridge-batch"


def wait_until(fact: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Return the first true answer of ``fact``."""
    deadline = time.monotonic() + seconds
    while not (answer := fact()):
        assert time.monotonic() < deadline, f"gave up after {seconds} s: {what}"
        time.sleep(0.05)
    return answer


class KernelRig:
    """A directory with settings and kernelspecs, and kernels started from them.

    Attributes:
        path: the directory: short, as sockets are below it.
        variables: what a program needs to start kernels here.
    """

    manager_class = KernelManager

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.data = {"state": str(path / "state"), "lease": "30s", **settings}
        self.config = path / "kernels.json"
        self.write()
        self.variables = {
            "LANDBRIDGE_KERNEL_CONFIG": str(self.config),
            "JUPYTER_PATH": str(path / "share"),
            "JUPYTER_RUNTIME_DIR": str(path / "runtime"),
            "IPYTHONDIR": str(path / "ipython"),
            "JUPYTER_ALLOW_INSECURE_WRITES": "0",
        }
        for name in ("share/kernels", "runtime", "ipython", "home"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self.spec("batch-python", profile="default")
        self.managers: list[KernelManager] = []
        self.clients: list[Any] = []

    def write(self, **changes: Any) -> None:
        """Write the settings' file."""
        self.data.update(changes)
        self.config.write_text(json.dumps(self.data))

    @property
    def settings(self) -> KernelSettings:
        """The settings as the provisioner reads them."""
        return KernelSettings(**self.data)

    @property
    def own(self) -> OwnJobs:
        """The jobs service that was started for these kernels."""
        return OwnJobs(Path(self.data["state"]))

    @property
    def records(self) -> list[JobRecord]:
        """The records of kernels' jobs that are there and wanted."""
        return self.own.records

    def spec(
        self, name: str, *argv: str, provisioner: str = PROVISIONER, **config: Any
    ) -> str:
        """Make a kernelspec; Python's own without ``argv``. Return its name."""
        command = argv or (
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        )
        extra = {
            key: config.pop(key) for key in ("env", "interrupt_mode") & config.keys()
        }
        where = {"provisioner_name": provisioner, "config": config}
        if provisioner == "local-provisioner":
            where["config"] = {}
        spec = {
            "argv": list(command),
            "display_name": name,
            "language": "python",
            "metadata": {"kernel_provisioner": where},
            **extra,
        }
        directory = self.path / "share/kernels" / name
        directory.mkdir(exist_ok=True)
        (directory / "kernel.json").write_text(json.dumps(spec))
        return name

    def manager(self, name: str = "batch-python", **options: Any) -> KernelManager:
        """Return a manager whose kernel is shut down after the test."""
        return self.adopt(self.manager_class(kernel_name=name, **options))

    def adopt(self, manager: Any) -> Any:
        """Have this manager's kernel shut down after the test, too."""
        self.managers.append(manager)
        return manager

    def start(self, name: str = "batch-python", **options: Any) -> tuple[Any, Any]:
        """Return a manager and a client of a kernel that answers."""
        manager = self.manager(name, **options)
        manager.start_kernel(cwd=str(self.path))
        client = self.client(manager)
        client.wait_for_ready(timeout=40)
        return manager, client

    def client(self, manager: Any) -> Any:
        """Return a client with open channels, closed after the test."""
        client = manager.client()
        client.start_channels()
        self.clients.append(client)
        return client

    def close(self) -> None:
        """Shut everything down."""
        for client in self.clients:
            client.stop_channels()
        for manager in self.managers:
            if manager.provisioner is not None:
                manager.shutdown_kernel(now=True)
            manager.context.destroy(linger=0)
        for context in open_contexts():
            if context.settings.state == self.data["state"]:
                begin(context.close()).result(20)
        self.own.end()

    def program(self, code: str, *, cwd: str | None = None) -> subprocess.Popen[str]:
        """Start a Python program that uses kernels; it talks over its pipes."""
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.variables},
            cwd=cwd or self.path,
        )


def run(client: Any, code: str, timeout: float = 20) -> str:
    """Execute ``code``; return what it printed, or the error's name and value."""
    printed: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif message["msg_type"] == "error":
            printed.append(f"{content['ename']}: {content['evalue']}")

    client.execute_interactive(
        code, output_hook=hear, timeout=timeout, allow_stdin=False
    )
    return "".join(printed).strip()
