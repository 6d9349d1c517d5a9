"""What an idle gateway costs: seconds until it is ready, and memory of each process.

``landbridge up`` is started twice with the same state; the second start counts. Memory
is proportional (PSS), so that pages which processes share count once; the embedded
store is shown and not summed up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from rigs.hub.process import free_port
from rigs.hub.terminal import Terminal

MOST_MEGABYTES = 350.0
MOST_SECONDS = 8.0
_SETTLED_SECONDS = 20.0
_STORE = "embedded store"
# What a process is, by a word of its command line; the first that fits counts.
_KINDS = {
    "hub.app": "hub",
    "hub.run.culler": "culler",
    "services.storage": "storage",
    "haproxy.cfg": "edge (HAProxy)",
    "hub.cli jobs": "jobs",
    "hub.cli up": "up",
    "mini -disableHttp": _STORE,
}


def memory(state: Path) -> dict[str, float]:
    """Return megabytes by kind of all processes of the gateway with this state."""
    sums: dict[str, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            around = (entry / "environ").read_bytes().decode(errors="replace")
            rollup = (entry / "smaps_rollup").read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if str(state) not in words and str(state) not in around:
            continue
        kind = next((kind for word, kind in _KINDS.items() if word in words), "other")
        kilobytes = next(x.split()[1] for x in rollup.splitlines() if "Pss:" in x)
        sums[kind] = sums.get(kind, 0.0) + int(kilobytes) / 1024
    return sums


def start(state: Path, port: int) -> tuple[Terminal, float]:
    """Start a gateway; return it, and after how many seconds it was ready."""
    began = time.monotonic()
    up = Terminal(
        "up",
        LANDBRIDGE_STATE=str(state),
        LANDBRIDGE_PORT=str(port),
        LANDBRIDGE_PASSWORD="open sesame",
    )
    up.wait_for("Landbridge is ready at")
    return up, time.monotonic() - began


def main(settled: float) -> int:
    """Print both; return 1 if the gateway is too slow or too large."""
    place = Path(tempfile.mkdtemp(prefix="lbidle-", dir="/var/tmp"))
    try:
        up, first = start(place / "var", port := free_port())
        up.end()
        up, second = start(place / "var", port)
        try:
            time.sleep(settled)
            sums = memory(place / "var")
        finally:
            up.end()
    finally:
        shutil.rmtree(place)
    total = sum(size for kind, size in sums.items() if kind != _STORE)
    print(f"ready after {first:.1f} s, from the second start on {second:.1f} s")
    for kind, size in sorted(sums.items(), key=lambda item: -item[1]):
        print(f"{size:8.1f} MB  {kind}")
    print(f"{total:8.1f} MB  control plane (at most {MOST_MEGABYTES:.0f})")
    return int(total > MOST_MEGABYTES or second > MOST_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settled", type=float, default=_SETTLED_SECONDS)
    sys.exit(main(parser.parse_args().settled))
