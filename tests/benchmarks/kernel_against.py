"""Kernel start of this checkout against another one, in one run: is anything slower?

    python tests/benchmarks/kernel_against.py OLD PYTHON [--rounds N] [--where WHERE]

``OLD`` is a checkout of the earlier commit, ``PYTHON`` the interpreter of its own test
environment. ``WHERE`` is ``local`` (this machine is the scheduler), ``slurm`` (a
private Slurm of three machines, with munge; needs root) or ``both``. For each place:

* first kernel: from asking for it until it answers, in a state in which nothing runs;
* kernel: the same for the kernels that follow;
* restart: in its job.

Each side is a program of its own, with its own code and state, that does what it is
told by lines; the sides take turns, so that a busy moment of the machine meets both.
Prints the medians and the median of the ratios new to old of each turn. Exit code 1 if
one is above 1.05.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from against import LIMIT, table

from rigs.hub.process import CHECKOUT
from rigs.slurm.machines import Machines

# Runs on the code of each checkout, which need have nothing of this benchmark.
PROGRAM = """
import contextlib, json, queue, sys, time
from jupyter_client.manager import KernelManager

def ready(manager, start):
    began = time.perf_counter()
    start()
    client = manager.client()
    client.start_channels()
    while True:
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_shell_msg(timeout=0.05)
            break
    took = time.perf_counter() - began
    client.stop_channels()
    return took

for line in sys.stdin:
    manager = KernelManager(kernel_name="job")
    seen = {"kernel": ready(manager, manager.start_kernel)}
    seen["restart"] = ready(manager, lambda: manager.restart_kernel(now=True))
    manager.shutdown_kernel(now=True)
    manager.context.destroy(linger=0)
    print(json.dumps(seen), flush=True)
"""


class Side:
    """One checkout's program, and the place of its state.

    Args:
        place: an empty directory with a short name.
        checkout: whose code runs.
        python: the interpreter.
        settings: of the kernels.
        variables: of the scheduler.
    """

    def __init__(
        self,
        place: Path,
        checkout: Path,
        python: str,
        settings: Mapping[str, object],
        variables: Mapping[str, str],
    ) -> None:
        self._place, self._python = place, python
        self._settings = dict(settings)
        self._states = 0
        self._variables = {
            **os.environ,
            **variables,
            "PYTHONPATH": str(checkout),
            "LANDBRIDGE_KERNEL_CONFIG": str(place / "kernels.json"),
            "JUPYTER_PATH": str(place / "share"),
            "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
            "IPYTHONDIR": str(place / "ipython"),
        }
        kernel = place / "share/kernels/job"
        kernel.mkdir(parents=True)
        argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        where = {"provisioner_name": "landbridge-batch"}
        spec = {"argv": argv, "display_name": "job", "language": "python"}
        spec["metadata"] = {
            "kernel_provisioner": {**where, "config": {"profile": "default"}}
        }
        (kernel / "kernel.json").write_text(json.dumps(spec))
        self._program: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Start the program anew, with a state in which there is nothing."""
        self.end()
        self._states += 1
        settings = {"state": str(self._place / f"s{self._states}"), **self._settings}
        (self._place / "kernels.json").write_text(json.dumps(settings))
        self._program = subprocess.Popen(
            [self._python, "-P", "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=self._variables,
        )

    def start(self) -> dict[str, float]:
        """Return the seconds of a kernel's start and restart."""
        program = self._program
        assert program is not None
        assert program.stdin is not None
        assert program.stdout is not None
        print("start", file=program.stdin, flush=True)
        line = program.stdout.readline()
        assert line, f"the program ended with {program.wait(10)}"
        seen: dict[str, float] = json.loads(line)
        return seen

    def end(self) -> None:
        """End the program; a jobs service of its own ends by itself when it is idle."""
        program, self._program = self._program, None
        if program is not None:
            assert program.stdin is not None
            program.stdin.close()
            program.wait(60)


@contextlib.contextmanager
def scheduler(
    place: Path, where: str
) -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    """Settings and variables of kernels that run there."""
    if where == "local":
        yield {"scheduler": "local"}, {}
        return
    machines = Machines(place / "rig")
    try:
        machines.up()
        yield (
            {
                "scheduler": "slurm",
                "slurm_conf": machines.environment["SLURM_CONF"],
                "munge_socket": machines.munge_socket,
                "proof": "munge",
            },
            dict(machines.environment),
        )
    finally:
        machines.down()


def measure(
    where: str, sides: Mapping[str, tuple[Path, str]], rounds: int, firsts: int
) -> dict[str, dict[str, list[float]]]:
    """Take turns in one place; return what was seen by its name and side."""
    times: dict[str, dict[str, list[float]]] = {}

    def note(what: str, side: str, seconds: float) -> None:
        name = f"{where}: {what}, s"
        times.setdefault(name, {"old": [], "new": []})[side].append(seconds)
        print(f"{name}, {side}: {seconds:.2f}", file=sys.stderr)

    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="lbk-", dir="/var/tmp", ignore_cleanup_errors=True
            )
        )
        place = Path(name)
        place.chmod(0o755)
        settings, variables = stack.enter_context(scheduler(place, where))
        programs = {}
        for side, (checkout, python) in sides.items():
            room = place / side
            programs[side] = Side(room, checkout, python, settings, variables)
            stack.callback(programs[side].end)
        for turn in range(firsts):
            for side in sorted(programs, reverse=bool(turn % 2)):
                programs[side].begin()
                note("first kernel", side, programs[side].start()["kernel"])
        for turn in range(rounds):
            for side in sorted(programs, reverse=bool(turn % 2)):
                for what, seconds in programs[side].start().items():
                    note(what, side, seconds)
    return times


def main() -> int:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--firsts", type=int, default=4)
    parser.add_argument("--where", choices=("local", "slurm", "both"), default="both")
    chosen = parser.parse_args()
    os.environ.pop("SLURM_CONF", None)
    sides = {
        "old": (chosen.old.resolve(), chosen.python),
        "new": (CHECKOUT, sys.executable),
    }
    places = ("local", "slurm") if chosen.where == "both" else (chosen.where,)
    worst = 0.0
    for where in places:
        times = measure(where, sides, chosen.rounds, chosen.firsts)
        print(f"load average {os.getloadavg()[0]:.1f}; {shlex.join(sys.argv[1:])}")
        worst = max(worst, table(times))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
