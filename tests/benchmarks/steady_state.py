"""What live servers, and their kernels, cost the scheduler and the gateway's processes.

    python tests/benchmarks/steady_state.py [--ours 1 100 500] [--peer 1 100]
        [--kernels]                                                         # as root

For each number of servers: start that many stub servers as real Slurm jobs, with
``--kernels`` a kernel's job for each of them, wait until all are ready, and count every
scheduler command of the next minutes; for Landbridge as it ships, and for batchspawner
on a plain JupyterHub. Ends with 1 if ours needs more than six commands a minute.
"""

from __future__ import annotations

import argparse
import json
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx

sys.path.append(str(Path(__file__).resolve().parents[1]))

from batchspawner_peer import BatchspawnerHub
from proxy_peers import install
from stub_kernels import StubKernels

from rigs.faults.site import COMMANDS, SETTINGS, FaultSite, Tools, fault_site
from rigs.hub.process import until
from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import make_accounts

# The watcher looks again after a tenth of the time for which nothing has changed, and
# after 20 s at the most: before 200 s are over, this is still the cost of the starts.
_SETTLE_SECONDS = 210
_MOST = 6.0
_READY_SECONDS = 900
# One person has at most 64 kernels, and fewer servers than this benchmark needs.
_SERVERS_EACH = 50
AS_SHIPPED = SETTINGS.replace("fast_poll = 0.5\nslow_poll = 1\n", "")
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
    kernels: int
    commands: float
    processes: Mapping[str, tuple[float, float]]  # proportional MB, CPU of one core


def memory_of(pid: int) -> float:
    """Proportional memory of a process, in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from ``/proc/PID/stat`` (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def watch(
    who: str,
    servers: int,
    tools: Tools,
    pids: Mapping[str, int],
    minutes: float,
    kernels: int = 0,
) -> Cost:
    """Count for some minutes, after things have settled."""
    time.sleep(_SETTLE_SECONDS)
    before = Counter({name: tools.calls(name) for name in COMMANDS})
    spent = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(minutes * 60)
    calls = Counter({name: tools.calls(name) for name in COMMANDS}) - before
    processes = {
        name: (memory_of(pid), (cpu_seconds(pid) - spent[name]) / (minutes * 60))
        for name, pid in pids.items()
    }
    cost = Cost(who, servers, kernels, calls.total() / minutes, processes)
    print(f"  {cost} {dict(calls)}", flush=True)
    return cost


@contextmanager
def crowd(rig: Cluster, count: int) -> Iterator[list[str]]:
    """Accounts for so many servers, here and in Slurm; those made here go again."""
    names = [f"lbload{n}" for n in range(-(-count // _SERVERS_EACH))]
    made = []
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(["useradd", "-m", name], check=True)
            made.append(name)
        rig.admin("sacctmgr", "-iQ", "add", "user", name, "account=staff")
    try:
        yield names
    finally:
        rig.clear_jobs()  # nobody goes who has a process
        for name in made:
            subprocess.run(["userdel", "-r", name], check=False, capture_output=True)


def each(servers: list[tuple[str, str]], act: Callable[[str, str], object]) -> None:
    """Do it for all of them, 32 at a time."""
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda server: act(*server), servers))


def ask(site: FaultSite, user: str, name: str) -> None:
    """Ask for one stub server."""
    answer = httpx.post(
        f"http://127.0.0.1:{site.hub.port}/hub/api/users/{user}/servers/{name}",
        headers=dict(site.hub.api.headers),
        json={"user_options": {"profile": "stub"}},
        timeout=300,
        trust_env=False,
    )
    assert answer.is_success, answer.text


def ready(site: FaultSite, users: list[str]) -> int:
    """Count their servers that are ready; none may have failed."""
    states: Counter[str] = Counter()
    for user in users:
        told = site.hub.call("GET", f"landbridge/servers/{user}", timeout=60)
        states.update(server["state"] for server in told["servers"])
    assert not states["failed"], f"{states}\n{site.hub.words()}"
    return states["ready"]


def gateway_processes(site: FaultSite) -> dict[str, int]:
    """Return the process ids of what serves servers and kernels."""
    assert site.hub.process is not None
    haproxy = json.loads((site.hub.state / "haproxy" / "process.json").read_text())
    return {
        "hub": site.hub.process.pid,
        "jobs": site.hub.service_pid("jobs"),
        "edge": site.hub.service_pid("edge"),
        "haproxy": int(haproxy["pid"]),
    }


def ours(
    directory: Path, rig: Cluster, counts: list[int], minutes: float, *, kernels: bool
) -> list[Cost]:
    """Measure Landbridge with growing numbers of servers."""
    costs: list[Cost] = []
    with (
        crowd(rig, max(counts, default=0)) as users,
        fault_site(directory, rig, AS_SHIPPED) as site,
    ):
        for user in users:
            site.hub.add_user(user)
        stubs = StubKernels(site.stub)
        servers: list[tuple[str, str]] = []
        for count in counts:
            fresh = [
                (users[n // _SERVERS_EACH], f"s{n}") for n in range(len(servers), count)
            ]
            servers += fresh
            each(fresh, lambda user, name: ask(site, user, name))
            until(
                f"{count} servers are ready",
                lambda wanted=count: ready(site, users) == wanted,
                seconds=_READY_SECONDS,
                every=2,
            )
            running = stubs.start_missing() if kernels else 0
            pids = gateway_processes(site)
            costs.append(watch("Landbridge", count, site.tools, pids, minutes, running))
        stubs.close()
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
                [("alice", name) for name in fresh],
                lambda user, name: hub.api.post(
                    f"/hub/api/users/{user}/servers/{name}"
                ),
            )
            until(
                f"{count} servers of the peer are ready",
                lambda wanted=count: ready() == wanted,
                seconds=900,
                every=2,
            )
            assert hub.process is not None
            pids = {"hub": hub.process.pid}
            costs.append(watch("batchspawner", count, tools, pids, minutes))
    rig.clear_jobs()
    return costs


def table(costs: list[Cost]) -> None:
    """Print what was seen."""
    print(f"\n{'servers':>8}{'kernels':>8}  {'who':<14}{'commands/min':>13}  processes")
    for cost in sorted(costs, key=lambda one: (one.servers, one.who)):
        processes = ", ".join(
            f"{name} {memory:.0f} MB {processor:.1%}"
            for name, (memory, processor) in cost.processes.items()
        )
        print(
            f"{cost.servers:>8}{cost.kernels:>8}  {cost.who:<14}"
            f"{cost.commands:>13.1f}  {processes}"
        )


def main() -> int:
    """Bring up a Slurm, measure both on it, take it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=int, nargs="*", default=[1, 100, 500])
    parser.add_argument("--peer", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--kernels", action="store_true")
    wanted = parser.parse_args()
    if wanted.peer:
        install()
    make_accounts()
    directory = Path(tempfile.mkdtemp(prefix="lbs-", dir="/var/tmp"))
    directory.chmod(0o755)
    for part in ("rig", "ours", "peer"):
        (directory / part).mkdir()
    rig = Cluster(directory / "rig", gather="none", cpus=512)
    try:
        rig.up()
        costs = ours(
            directory / "ours",
            rig,
            sorted(wanted.ours),
            wanted.minutes,
            kernels=wanted.kernels,
        )
        if wanted.peer:
            costs += peers(directory / "peer", rig, sorted(wanted.peer), wanted.minutes)
    finally:
        rig.down()
        shutil.rmtree(directory)
    table(costs)
    most = max((c.commands for c in costs if c.who == "Landbridge"), default=0.0)
    return 1 if most > _MOST else 0


if __name__ == "__main__":
    sys.exit(main())
