"""A gateway for a browser: a hub as root on the private Slurm, and by hand.

By hand, on a rig that runs (:mod:`rigs.slurm.cluster`)::

    PYTHONPATH=tests python -m rigs.browser.gateway RIG DIR     # Ctrl-C stops it
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rigs.hub.process import PASSWORD, HubProcess, running_hub

SETTINGS = """\
[jobs]
address = "127.0.0.1"
munge_socket = "{socket}"
proof = "munge"
profiles = "profiles.yaml"
"""

PROFILES = """\
profiles:
  small:
    title: Small
    description: Write, look at data, start other jobs.
    default: true
    resources: {cpus: 1, memory: 1 GB, time_limit: 8h}
  gpu:
    title: 1 GPU
    description: Train and test models on one GPU.
    requires: gpu
    resources: {cpus: 2, memory: 2 GB, gpus: 1, partition: gpu, time_limit: 2h}
    choices:
      gpu_model: any
      time_limit: {min: 10min, max: 24h}
  short:
    title: Ten minutes
    description: A quick look at something.
    resources: {cpus: 1, memory: 1 GB, time_limit: 10min, partition: short}
  custom:
    title: Custom
    description: Choose the resources yourself.
    resources: {cpus: 1, memory: 1 GB, time_limit: 1h}
    choices:
      cpus: {min: 1, max: 256}
      memory: {min: 256 MB, max: 4 TB}
      gpus: {min: 0, max: 16}
      gpu_model: any
      time_limit: {min: 1min, max: 7d}
      partition: any
      account: any
      qos: any
      reservation: any
  bare:
    title: Bare Python
    description: An environment that lacks JupyterLab.
    resources: {cpus: 1, memory: 400 MB, time_limit: 1h}
    prologue: |
      sleep 3  # what fails at once is told on the form
      export LANDBRIDGE_PYTHON=/usr/bin/python3
  hungry:
    title: Hungry
    description: Its start takes more memory than it asked for.
    resources: {cpus: 1, memory: 100 MB, time_limit: 1h}
    prologue: /usr/bin/python3 -c 'x = b"x" * 400_000_000; input()' < /dev/zero
"""


def write_settings(directory: Path, socket: str, profiles: str, more: str = "") -> Path:
    """Write the gateway's settings and profiles; return the settings' path."""
    (directory / "profiles.yaml").write_text(profiles)
    settings = directory / "gateway.toml"
    settings.write_text(SETTINGS.format(socket=socket) + more)
    return settings


@contextmanager
def gateway(
    directory: Path,
    socket: str,
    environment: Mapping[str, str],
    profiles: str = PROFILES,
    more: str = "",
) -> Iterator[HubProcess]:
    """A hub as root on a Slurm, where alice and bob have accounts.

    Args:
        directory: for all that is its own.
        socket: munged's.
        environment: Slurm's.
        profiles: text of ``profiles.yaml``.
        more: text at the end of ``gateway.toml``.
    """
    with running_hub(
        directory,
        LANDBRIDGE_CONFIG=str(write_settings(directory, socket, profiles, more)),
        LANDBRIDGE_SCHEDULER="slurm",
        **environment,
    ) as hub:
        yield hub


def main() -> None:
    """Run a gateway until it is stopped."""
    rig, directory = map(Path, sys.argv[1:3])
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    shown = subprocess.run(
        [sys.executable, "-m", "rigs.slurm.cluster", "env", rig],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = (line.removeprefix("export ") for line in shown.splitlines())
    environment = dict(line.split("=", 1) for line in lines)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with gateway(directory, f"{rig}/munge/s", environment) as hub:
        print(f"http://127.0.0.1:{hub.port} (alice, bob; {PASSWORD})", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
