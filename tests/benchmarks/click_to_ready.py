"""From the click to a server that answers, through a real Slurm.

    python tests/benchmarks/click_to_ready.py [--rounds N]     (root, Debian's Slurm)

Three ways to the same JupyterLab as alice's job, in turns, on one private cluster:

* by hand: ``sbatch`` of a script that starts ``jupyterhub-singleuser`` with the
  environment that a hub would give it, until its own port answers;
* Landbridge: the hub's REST API, until the server answers through HAProxy;
* batchspawner on a plain JupyterHub with configurable-http-proxy, likewise.

Prints the medians, and each one's ratio to the job by hand.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import httpx
from batchspawner_peer import BatchspawnerHub
from batchspawner_peer import environment as environment_of_peer
from proxy_peers import install

from rigs.hub.process import HubProcess, free_port, running_hub, until
from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import make_accounts

USER = "alice"
MEMORY = "400M"
Way = Callable[[], float]


@contextmanager
def landbridge(rig: Cluster, place: Path) -> Iterator[HubProcess]:
    """Our hub, with one profile that asks for what the others ask for."""
    settings = place / "gateway.toml"
    settings.write_text(
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{rig.munge_socket}"\n'
        'proof = "munge"\n'
    )
    (place / "profiles.yaml").write_text(
        "profiles:\n  one:\n    title: One core\n"
        f"    resources: {{cpus: 1, memory: {MEMORY}, time_limit: 20min}}\n"
    )
    with running_hub(
        place,
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        **rig.environment,
    ) as hub:
        hub.add_user(USER)
        yield hub


def click(api: httpx.Client) -> float:
    """Start a server by REST, return seconds until it answers; then stop it."""
    began = time.monotonic()
    answer = api.post(f"/hub/api/users/{USER}/server", json={})
    assert answer.status_code in (201, 202), answer.text

    def answers() -> bool:
        seen = api.get(f"/user/{USER}/api")
        return seen.status_code == 200 and "version" in seen.text

    until("the server answers", answers, seconds=120, every=0.05)
    took = time.monotonic() - began
    api.delete(f"/hub/api/users/{USER}/server")

    def stopped() -> bool:
        seen = api.get(f"/hub/api/users/{USER}").json()
        return not seen["servers"]

    until("the server is stopped", stopped, seconds=120)
    return took


_SCRIPT = """#!/bin/bash
#SBATCH --mem={memory}
#SBATCH --time=20
#SBATCH --output=/dev/null
exec {prefix}/bin/jupyterhub-singleuser
"""


def by_hand(rig: Cluster, hub: HubProcess) -> float:
    """Submit the same server by hand; seconds until its port answers."""
    port = free_port()
    token = hub.call("POST", f"users/{USER}/tokens", {"note": "by hand"})["token"]
    prefix = f"/user/{USER}/by-hand/"
    environment = {
        "PATH": "/usr/bin:/bin",
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.port}/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": (
            f"http://127.0.0.1:{hub.port}/hub/api/users/{USER}/activity"
        ),
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_SERVER_NAME": "by-hand",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
        "JUPYTERHUB_USER": USER,
        **rig.environment,
    }
    script = _SCRIPT.format(memory=MEMORY, prefix=environment_of_peer())
    began = time.monotonic()
    done = subprocess.run(
        ["sbatch", "--parsable", "--chdir=/tmp"],
        input=script,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        user=USER,
        group=USER,
        extra_groups=[],
        cwd="/",
    )
    job = done.stdout.strip()

    def answers() -> bool:
        url = f"http://127.0.0.1:{port}{prefix}api"
        return httpx.get(url, trust_env=False, timeout=5).status_code < 500

    try:
        until("the server by hand answers", answers, seconds=120, every=0.05)
        return time.monotonic() - began
    finally:
        rig.run(["scancel", job], user=USER)
        until("its job has gone", lambda: job not in rig.squeue("%A"), seconds=60)


def table(times: dict[str, list[float]]) -> None:
    """Print medians, spreads, and ratios to the first row."""
    base = statistics.median(next(iter(times.values())))
    print(f"\n{'click to ready':<28}{'median s':>10}{'min':>8}{'max':>8}{'ratio':>8}")
    for name, seen in times.items():
        median = statistics.median(seen)
        print(
            f"{name:<28}{median:>10.2f}{min(seen):>8.2f}{max(seen):>8.2f}"
            f"{median / base:>7.2f}x"
        )


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if os.geteuid() != 0:
        print("This needs root: the servers are jobs of alice.", file=sys.stderr)
        return 2
    install()
    make_accounts()
    os.environ.pop("SLURM_CONF", None)
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix=f"lbclick-{secrets.token_hex(3)}-"))
        place.chmod(0o755)
        rig = Cluster(place / "rig").up()
        stack.callback(rig.down)
        (place / "ours").mkdir()
        ours = stack.enter_context(landbridge(rig, place / "ours"))
        peer = stack.enter_context(BatchspawnerHub(place / "peer", rig, USER, MEMORY))
        ways: dict[str, Way] = {
            "the same job by hand": lambda: by_hand(rig, ours),
            "Landbridge": lambda: click(ours.api),
            "batchspawner": lambda: click(peer.api),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                took = way()
                if turn:  # the first round warms caches
                    times[name].append(took)
                    print(f"{name}: {took:.2f} s", file=sys.stderr)
        table(times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
