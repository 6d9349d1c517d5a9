"""What live servers cost the scheduler and the hub, once all is steady.

    python tests/benchmarks/steady_state.py [--ours 1 100 500] [--peer 1 100]  # as root

For each number of servers: start that many stub servers as real Slurm jobs, wait until
all are ready, and count every scheduler command of the next minutes; for Landbridge as
it ships, and for batchspawner on a plain JupyterHub. Ends with 1 if ours needs more
than six commands a minute.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from batchspawner_peer import BatchspawnerHub
from proxy_peers import install
from starts import ask, memory_of, states, stop

from rigs.faults.site import COMMANDS, SETTINGS, Tools, fault_site
from rigs.hub.process import until
from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import make_accounts

_SETTLE_SECONDS = 60
_MOST = 6.0
# The polls that ship, and room for the servers.
AS_SHIPPED = SETTINGS.replace("fast_poll = 0.5\nslow_poll = 1\n", "").replace(
    "named_servers = 300", "named_servers = 1000"
)
_STUB = '''\
"""JupyterHub's idea of a server, and nothing else."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "{version}")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")

    def log_message(self, *args):
        pass

port = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever(60)
'''


@dataclass(frozen=True)
class Cost:
    """One line of the table."""

    who: str
    servers: int
    commands: float
    memory: int
    processor: float


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from ``/proc/PID/stat`` (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def watch(who: str, servers: int, tools: Tools, pid: int, minutes: float) -> Cost:
    """Count for some minutes, after things have settled."""
    time.sleep(_SETTLE_SECONDS)
    before, spent = sum(map(tools.calls, COMMANDS)), cpu_seconds(pid)
    time.sleep(minutes * 60)
    commands = (sum(map(tools.calls, COMMANDS)) - before) / minutes
    busy = (cpu_seconds(pid) - spent) / (minutes * 60)
    cost = Cost(who, servers, commands, memory_of(pid), busy)
    print(f"  {cost}", flush=True)
    return cost


def each(names: list[str], act: Callable[[str], object]) -> None:
    """Do it for all of them, 32 at a time."""
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(act, names))


def ours(
    directory: Path, rig: Cluster, counts: list[int], minutes: float
) -> list[Cost]:
    """Measure Landbridge with growing numbers of servers."""
    costs: list[Cost] = []
    with fault_site(directory, rig, AS_SHIPPED) as site:
        names: list[str] = []
        for count in counts:
            fresh = [f"s{n}" for n in range(len(names), count)]
            names += fresh
            each(fresh, lambda name: ask(site, name))
            until(
                f"{count} servers are ready",
                lambda wanted=count: states(site)["ready"] == wanted,
                seconds=900,
                every=2,
            )
            assert site.hub.process is not None
            pid = site.hub.process.pid
            costs.append(watch("Landbridge", count, site.tools, pid, minutes))
        each(names, lambda name: stop(site, name))
        site.clear()
    return costs


def peers(
    directory: Path, rig: Cluster, counts: list[int], minutes: float
) -> list[Cost]:
    """Measure batchspawner with growing numbers of servers."""
    costs: list[Cost] = []
    tools = Tools(directory / "tools")
    stub = directory / "stub.py"
    stub.write_text(_STUB.format(version=version("jupyterhub")))
    stub.chmod(0o755)
    with BatchspawnerHub(
        directory / "hub",
        rig,
        "alice",
        "100M",
        server=str(stub),
        tools=tools.directory / "bin",
    ) as hub:
        names: list[str] = []

        def ready() -> int:
            servers = hub.api.get("/hub/api/users/alice").json()["servers"]
            return sum(server["ready"] for server in servers.values())

        for count in counts:
            fresh = [f"s{n}" for n in range(len(names), count)]
            names += fresh
            each(
                fresh, lambda name: hub.api.post(f"/hub/api/users/alice/servers/{name}")
            )
            until(
                f"{count} servers of the peer are ready",
                lambda wanted=count: ready() == wanted,
                seconds=900,
                every=2,
            )
            assert hub.process is not None
            costs.append(watch("batchspawner", count, tools, hub.process.pid, minutes))
    rig.clear_jobs()
    return costs


def table(costs: list[Cost]) -> None:
    """Print what was seen."""
    print(f"\n{'servers':>8}  {'who':<14}{'commands/min':>13}{'hub MB':>8}{'CPU':>7}")
    for cost in sorted(costs, key=lambda one: (one.servers, one.who)):
        print(
            f"{cost.servers:>8}  {cost.who:<14}{cost.commands:>13.1f}"
            f"{cost.memory:>8}{cost.processor:>7.1%}"
        )


def main() -> int:
    """Bring up a Slurm, measure both on it, take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=int, nargs="*", default=[1, 100, 500])
    parser.add_argument("--peer", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--minutes", type=float, default=3)
    wanted = parser.parse_args()
    install()
    make_accounts()
    directory = Path(tempfile.mkdtemp(prefix="lbs-", dir="/var/tmp"))
    directory.chmod(0o755)
    for part in ("rig", "ours", "peer"):
        (directory / part).mkdir()
    rig = Cluster(directory / "rig", gather="none", cpus=512)
    try:
        rig.up()
        costs = ours(directory / "ours", rig, sorted(wanted.ours), wanted.minutes)
        costs += peers(directory / "peer", rig, sorted(wanted.peer), wanted.minutes)
    finally:
        rig.down()
        shutil.rmtree(directory)
    table(costs)
    most = max((c.commands for c in costs if c.who == "Landbridge"), default=0.0)
    return 1 if most > _MOST else 0


if __name__ == "__main__":
    sys.exit(main())
