"""Round trips and output of a kernel in a job on another machine (root).

    python tests/benchmarks/kernel_traffic.py [ROUNDS]

Against a local kernel, in the same run and taking turns: an empty
``execute_request`` until its reply and the idle status, and 100 MB of output, received
and parsed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager
from kernel_start import cluster

TRIPS = 100
MEGABYTES = 100
OUTPUT = f"""
from IPython.display import publish_display_data
for _ in range({MEGABYTES}):
    publish_display_data({{"text/plain": "x" * 1_000_000}})
"""
STREAM = f"""
import sys
for _ in range({MEGABYTES}):
    sys.stdout.write("x" * 1_000_000); sys.stdout.flush()
"""


def execute(client: Any, code: str) -> None:
    """Run ``code`` until the kernel is idle again."""
    asked = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") != asked:
            continue
        content = message["content"]
        if content.get("execution_state") == "idle":
            break
    client.get_shell_msg(timeout=30)


def measure(client: Any) -> dict[str, list[float]]:
    """Return trips in ms, and MB/s of a stream and of displays."""
    trips = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        execute(client, "")
        trips.append((time.perf_counter() - began) * 1000)
    rates = {}
    for name, code in (("stream", STREAM), ("display", OUTPUT)):
        began = time.perf_counter()
        execute(client, code)
        rates[name] = [MEGABYTES / (time.perf_counter() - began)]
    return {"trips": trips, **rates}


def main() -> int:
    """Measure and print a table."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    found: dict[str, dict[str, list[float]]] = {}
    with cluster():
        running = {}
        for title, name in (("local kernel", "local"), ("in a job", "batch-python")):
            manager = KernelManager(kernel_name=name)
            manager.start_kernel()
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            running[title] = manager, client
        for _ in range(rounds):
            for title, (_, client) in running.items():
                for what, values in measure(client).items():
                    found.setdefault(title, {}).setdefault(what, []).extend(values)
        for manager, client in running.values():
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    print(f"{rounds} rounds; load average {os.getloadavg()[0]:.1f}")
    print("| kernel | trip p50 ms | p95 ms | stream MB/s | display MB/s |")
    print("| --- | --- | --- | --- | --- |")
    for title, values in found.items():
        trips = statistics.quantiles(values["trips"], n=20)
        rates = [statistics.median(values[what]) for what in ("stream", "display")]
        shown = (statistics.median(values["trips"]), trips[18], *rates)
        print(f"| {title} | {' | '.join(f'{value:.2f}' for value in shown)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
