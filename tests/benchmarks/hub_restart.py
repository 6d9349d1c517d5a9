"""How long is a hub away that is killed and started again, now and before?

    python tests/benchmarks/hub_restart.py OLD PYTHON [--rounds N]

``OLD`` is a checkout of the earlier commit, ``PYTHON`` the interpreter of its own test
environment. Both gateways run at the same time, without Slurm and with a server of
somebody's that goes on, and take turns, so that a busy moment of the machine meets
both. What counts is the time from the start of the hub's process after a ``kill -9``
to its first answer through the edge.

Prints medians and their ratio, new to old. Exit code 1 if it is 1 or more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from rigs.hub.process import CHECKOUT, NO_STORAGE, HubProcess, until
from rigs.places import open_directory


@contextmanager
def gateway(place: Path, checkout: Path, python: str) -> Iterator[HubProcess]:
    """A gateway of ``checkout`` with ann's server in it."""
    place.mkdir()
    settings = place / "gateway.toml"
    settings.write_text(NO_STORAGE)
    prefix = str(Path(python).parent.parent)
    hub = HubProcess(
        place / "state",
        checkout=checkout,
        python=python,
        LANDBRIDGE_CONFIG=str(settings),
        LANDBRIDGE_ENVIRONMENT=prefix,
        # As in an environment that is activated: its own configurable tools first.
        PATH=os.pathsep.join([f"{prefix}/bin", os.environ["PATH"]]),
    )
    try:
        hub.start()
        hub.add_user("ann")
        hub.start_server("ann")
        hub.wait_state("ann", "ready", seconds=120)
        yield hub
    finally:
        hub.close()


def restart(hub: HubProcess) -> float:
    """Kill the hub, start it, and return the seconds until it answered."""
    hub.kill()
    began = time.monotonic()
    hub.start()
    seconds = time.monotonic() - began
    until("ann's server answers", lambda: hub.answers("ann"))
    return seconds


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with ExitStack() as stack:
        place = stack.enter_context(open_directory())
        hubs = {
            "old": stack.enter_context(
                gateway(place / "old", options.old.absolute(), options.python)
            ),
            "new": stack.enter_context(
                gateway(place / "new", CHECKOUT, sys.executable)
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in hubs}
        for number in range(options.rounds):
            order = sorted(hubs, reverse=bool(number % 2))
            for name in order:
                seconds[name].append(restart(hubs[name]))
                print(f"{name}  {seconds[name][-1]:.2f} s", flush=True)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        print(f"{name}  median {medians[name]:.2f} s, worst {max(each):.2f} s")
    ratio = medians["new"] / medians["old"]
    print(f"new to old {ratio:.2f}; load {os.getloadavg()[0]:.1f}")
    return int(ratio >= 1.0)


if __name__ == "__main__":
    raise SystemExit(main())
