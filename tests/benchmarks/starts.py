"""Simultaneous starts of a stub server through the hub and a real Slurm.

    python tests/benchmarks/starts.py [COUNT]     # as root; 200 if nothing is said

Prints how long it took until all were ready, what that cost the scheduler and the
hub, and ends with 1 if a start failed, was doubled or left an orphan.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

sys.path.append(str(Path(__file__).resolve().parents[1]))

from rigs.faults.site import COMMANDS, FaultSite, fault_site
from rigs.slurm.cluster import Cluster


def memory_of(pid: int) -> int:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def ask(site: FaultSite, name: str) -> int:
    """Ask for one server; return the status of the answer."""
    return httpx.post(
        f"http://127.0.0.1:{site.hub.port}/hub/api/users/alice/servers/{name}",
        headers=dict(site.hub.api.headers),
        json={"user_options": {"profile": "stub"}},
        timeout=300,
        trust_env=False,
    ).status_code


def stop(site: FaultSite, name: str) -> None:
    """Ask for the end of one server."""
    httpx.delete(
        f"http://127.0.0.1:{site.hub.port}/hub/api/users/alice/servers/{name}",
        headers=dict(site.hub.api.headers),
        timeout=300,
        trust_env=False,
    )


def states(site: FaultSite) -> Counter[str]:
    """Count alice's servers by state."""
    servers = site.hub.call("GET", "landbridge/servers/alice", timeout=60)
    return Counter(server["state"] for server in servers["servers"])


def run(site: FaultSite, count: int) -> int:
    """Start ``count`` servers at once and report; return the exit code."""
    names = [f"s{n}" for n in range(count)]
    before = {command: site.tools.calls(command) for command in COMMANDS}
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        answers = Counter(pool.map(lambda name: ask(site, name), names))
    asked = time.monotonic() - began
    while time.monotonic() - began < 600:
        now = states(site)
        if now["ready"] + now["failed"] >= count:
            break
        time.sleep(0.5)
    took = time.monotonic() - began
    reached = sum(site.hub.answers("alice", name) for name in names)
    jobs = site.live_jobs("alice")
    records = sorted(site.live_records())
    calls = {c: site.tools.calls(c) - before[c] for c in COMMANDS}
    assert site.hub.process is not None
    print(f"answers                 {dict(answers)}")
    print(f"all requests answered   {asked:6.1f} s")
    print(f"all ready               {took:6.1f} s, {count / took:.1f} per second")
    print(f"states                  {dict(now)}")
    print(f"answer through the edge {reached} of {count}")
    print(f"jobs / records          {len(jobs)} / {len(records)}")
    print(f"scheduler commands      {calls}")
    print(f"hub's memory            {memory_of(site.hub.process.pid)} MB")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: stop(site, name), names))
    site.clear()
    left = site.live_jobs()
    print(f"jobs left after stop    {len(left)}")
    good = reached == count == len(set(jobs)) and jobs == records and not left
    return 0 if good else 1


def main() -> int:
    """Bring up a Slurm and a gateway of their own, measure, take them down."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    directory = Path(tempfile.mkdtemp(prefix="lbs-", dir="/var/tmp"))
    directory.chmod(0o755)
    (directory / "rig").mkdir()
    (directory / "site").mkdir()
    rig = Cluster(directory / "rig", gather="none", cpus=512)
    try:
        rig.up()
        with fault_site(directory / "site", rig) as site:
            return run(site, count)
    finally:
        rig.down()
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
