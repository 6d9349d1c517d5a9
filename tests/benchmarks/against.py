"""This checkout against another one, in one run: is anything slower than before?

    python tests/benchmarks/against.py OLD PYTHON [--rounds N]     (root, Slurm, wrk)

``OLD`` is a checkout of the earlier commit, ``PYTHON`` the interpreter of its own test
environment (``make test`` there makes it). Both gateways run at the same time on one
private Slurm, and take turns, so that a busy moment of the machine meets both:

* click to ready: from the REST call to JupyterLab's answer through the edge;
* requests: a page of a user's server, asked for by a signed-in browser, a second, with
  1 and 32 connections, from an origin that answers by itself;
* route: ``proxy_routes.py`` of each checkout, with 200 routes in the proxy.

Prints the medians and the ratio new to old, so that 1.05 is five per cent slower.
Exit code 1 if a ratio is above 1.05.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import httpx
from click_to_ready import MEMORY, USER, click
from proxy_throughput import CONNECTIONS, origin

from rigs.hub.process import CHECKOUT, PASSWORD, HubProcess
from rigs.slurm.cluster import Cluster
from rigs.slurm.daemons import make_accounts
from services.edge.config import runtime_path
from services.edge.maps import key_of
from services.edge.runtime import RuntimeSocket

LIMIT = 1.05
PAGE = f"/user/{USER}/bench/"


@contextmanager
def gateway(
    rig: Cluster, place: Path, checkout: Path, python: str
) -> Iterator[HubProcess]:
    """A gateway of ``checkout`` whose one profile is small."""
    place.mkdir()
    settings = place / "gateway.toml"
    settings.write_text(
        f'[jobs]\naddress = "127.0.0.1"\nmunge_socket = "{rig.munge_socket}"\n'
        'proof = "munge"\n'
    )
    (place / "profiles.yaml").write_text(
        "profiles:\n  one:\n    title: One core\n"
        f"    resources: {{cpus: 1, memory: {MEMORY}, time_limit: 20min}}\n"
    )
    hub = HubProcess(
        place / "state",
        checkout=checkout,
        python=python,
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_SCHEDULER="slurm",
        LANDBRIDGE_ENVIRONMENT=str(Path(python).parent.parent),
        **rig.environment,
    )
    try:
        hub.start()
        hub.add_user(USER)
        yield hub
    finally:
        hub.close()


async def _add_page(hub: HubProcess, port: int) -> None:
    runtime = RuntimeSocket(str(runtime_path(hub.state / "haproxy")))
    value = f"127.0.0.1|{port}|-"
    if (hub.checkout / "services/edge/admissions.py").exists():
        # A commit from before knows of no owner of a route.
        value += f"|{USER}"
    await runtime.add_entry("routes.map", key_of(PAGE), value)


def signed_in(hub: HubProcess) -> str:
    """What a browser in which ``USER`` has signed in sends with ``PAGE`` as Cookie."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{hub.port}", trust_env=False, timeout=30
    ) as browser:
        browser.get("/hub/login")
        form = {
            "username": USER,
            "password": PASSWORD,
            "_xsrf": browser.cookies.get("_xsrf", path="/hub/") or "",
        }
        answer = browser.post("/hub/login", data=form)
        assert answer.status_code == 302, answer.text
        page = browser.get(
            PAGE, headers={"Sec-Fetch-Mode": "navigate"}, follow_redirects=True
        )
        assert page.text.startswith("origin"), page.text
        sent = (one for one in browser.cookies.jar if PAGE.startswith(one.path))
        return "; ".join(f"{one.name}={one.value}" for one in sent)


def rate(hub: HubProcess, cookies: str, connections: int, seconds: int) -> float:
    """Requests a second for ``PAGE``."""
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s"),
            *("-H", f"Cookie: {cookies}", f"http://127.0.0.1:{hub.port}{PAGE}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Non-2xx" not in done.stdout, done.stdout
    assert "Socket errors" not in done.stdout, done.stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found.group(1))


def route(checkout: Path, python: str) -> float:
    """Milliseconds until a new route is usable, the median, with 200 routes."""
    words = [python, str(checkout / "tests/benchmarks/proxy_routes.py")]
    done = subprocess.run(
        [*words, "--samples", "100", "--peers", "ours"],
        capture_output=True,
        text=True,
        check=False,  # its own exit code tells of its own target
        cwd=checkout,
    )
    found = re.search(r"\| 200 +\| Landbridge.*?\| 100 +\| ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found.group(1))


def table(times: dict[str, dict[str, list[float]]]) -> float:
    """Print medians and ratios; return the highest ratio."""
    worst = 0.0
    print(f"\n{'what':<30}{'old':>12}{'new':>12}{'new/old':>10}{'spread':>18}")
    for what, seen in times.items():
        old, new = (statistics.median(seen[side]) for side in ("old", "new"))
        # Of what is better when it is more, a ratio above 1 is slower, too.
        ratios = [
            b / a if what.endswith("/s") else a / b
            for a, b in zip(seen["new"], seen["old"], strict=True)
        ]
        ratio = statistics.median(ratios)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what:<30}{old:>12,.2f}{new:>12,.2f}{ratio:>9.2f}x{spread:>18}")
        worst = max(worst, ratio)
    return worst


async def measure(
    hubs: dict[str, HubProcess], sides: dict[str, tuple[Path, str]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Take turns; return what was measured by its name and side."""
    times: dict[str, dict[str, list[float]]] = {}

    def note(what: str, side: str, value: float) -> None:
        times.setdefault(what, {"old": [], "new": []})[side].append(value)
        print(f"{what}, {side}: {value:,.2f}", file=sys.stderr)

    async with origin() as port:
        cookies = {}
        for side, hub in hubs.items():
            await _add_page(hub, port)
            cookies[side] = await asyncio.to_thread(signed_in, hub)
            await asyncio.to_thread(click, hub.api)  # warms caches
        for turn in range(rounds):
            # Who comes second is not always the same one.
            order = list(hubs) if turn % 2 else list(reversed(hubs))
            for side in order:
                took = await asyncio.to_thread(click, hubs[side].api)
                note("click to ready, s", side, took)
            for count in CONNECTIONS:
                for side in order:
                    args = (hubs[side], cookies[side], count, 4)
                    seen = await asyncio.to_thread(rate, *args)
                    note(f"{count} connections, requests/s", side, seen)
            for side in order:
                took = await asyncio.to_thread(route, *sides[side])
                note("route, ms", side, took)
    return times


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        print("This needs root: the servers are jobs of alice.", file=sys.stderr)
        return 2
    make_accounts()
    os.environ.pop("SLURM_CONF", None)
    sides = {
        "old": (chosen.old.resolve(), chosen.python),
        "new": (CHECKOUT, sys.executable),
    }
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="lbx-", dir="/var/tmp"))
        place.chmod(0o755)
        rig = Cluster(place / "rig").up()
        stack.callback(rig.down)
        hubs = {
            side: stack.enter_context(gateway(rig, place / side, *where))
            for side, where in sides.items()
        }
        times = asyncio.run(measure(hubs, sides, chosen.rounds))
    return int(table(times) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
