"""What it costs that the edge knows whose browser asks: requests a second, in one run.

    python tests/benchmarks/session_map.py [--rounds N] [--seconds N]

Two HAProxies in turns, by `wrk`: one that passes everybody on, and one that looks each
request's session up among 10,000. The processor time of HAProxy for a request says
the same where the machine has other things to do. Exit code 1 if the map costs more
than 3 % of the requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from proxy_peers import Ours, ours, stamp
from proxy_throughput import ROUTES, origin

from services.edge.admissions import OWN, admission_key

SESSIONS = 10_000
CONNECTIONS = 32
LEAST = 0.97
SESSION = "a" * 32


def processor(pid: int) -> float:
    """Seconds that a process has computed."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def rate(peer: Ours, seconds: int) -> tuple[float, float]:
    """Requests a second of a signed-in browser, and microseconds of HAProxy for one."""
    assert peer.haproxy.pid is not None
    before = processor(peer.haproxy.pid)
    cookies = f"_xsrf=x; jupyterhub-user-u7=y; jupyterhub-session-id={SESSION}"
    url = f"http://127.0.0.1:{peer.port}/user/u7/api/status"
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
            *("-H", f"Cookie: {cookies}", url),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout)
    line = next(x for x in done.stdout.splitlines() if x.startswith("Requests/sec:"))
    count = next(x for x in done.stdout.splitlines() if " requests in " in x).split()
    spent = processor(peer.haproxy.pid) - before
    return float(line.split()[1]), 1e6 * spent / int(count[0])


async def main(seconds: int, rounds: int) -> int:
    """Measure in turns and print the median of the rounds' ratios."""
    directory = Path(tempfile.mkdtemp(prefix="lbmap-"))
    try:
        async with (
            origin() as port,
            ours(directory / "open") as plain,
            ours(directory / "guarded", guard_users=True) as guarded,
        ):
            keys = [
                hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(SESSIONS)
            ]
            known = {admission_key(key, f"u{n}"): OWN for n, key in enumerate(keys)}
            mine = hashlib.sha256(SESSION.encode()).hexdigest()
            known[admission_key(mine, "u7")] = OWN
            guarded.proxy.admissions.replace(known)
            await guarded.proxy.admissions.tell()
            for peer in (plain, guarded):
                for n in range(ROUTES):
                    await peer.proxy.add_route(
                        f"/user/u{n}/", f"http://127.0.0.1:{port}", {"user": f"u{n}"}
                    )
            ratios, costs = [], []
            for turn in range(rounds):
                pair = (plain, guarded) if turn % 2 else (guarded, plain)
                found = {}
                for peer in pair:
                    found[peer.port] = await asyncio.to_thread(rate, peer, seconds)
                (first, one), (second, other) = found[plain.port], found[guarded.port]
                ratios.append(second / first)
                costs.append(other / one)
                print(
                    f"open {first:,.0f}/s ({one:.1f} us), with the map {second:,.0f}/s "
                    f"({other:.1f} us): {ratios[-1]:.3f} ({costs[-1]:.3f})"
                )
    finally:
        shutil.rmtree(directory)
    middle = statistics.median(ratios)
    print(stamp())
    print(
        f"with {SESSIONS} sessions: {middle:.3f} of the requests a second without, "
        f"{statistics.median(costs):.3f} of the processor time of each"
    )
    return int(middle < LEAST)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    raise SystemExit(asyncio.run(main(chosen.seconds, chosen.rounds)))
