"""Fuzz every parser of the table for a given time, guided by what an input reaches.

::

    python -m pip install atheris               # once, into the tests' environment
    export PYTHONPATH=tests
    python -m rigs.fuzz.long 1800              # seconds in all; the long group
    python -m rigs.fuzz.long 60 "gateway.toml" # one target

Each target has a process of its own and an equal share of the time. Prints the inputs
of each and of all; exits with 1 if one broke what its parser promises, and keeps that
input. Without atheris it says so and exits with 2: nothing is skipped in silence.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

_LONGEST_INPUT = 65_536
# What libFuzzer says as it goes, and at its end.
_COUNT = re.compile(rb"(?:^|\n)(?:#|Done |stat::number_of_executed_units:\s*)([0-9]+)")
_OURS = ["hub", "services", "spawners", "landbridge_lab"]


def begin(target: object, seconds: int, corpus: Path, kept: Path) -> NoReturn:
    """Fuzz one target in this process, which is a child of :func:`main`'s."""
    import atheris

    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}"]
    options += ["-timeout=60", "-rss_limit_mb=3072", f"-artifact_prefix={kept}/"]
    options += ["-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], target.try_one)  # type: ignore[attr-defined]
    atheris.Fuzz()
    os._exit(0)


def fuzz(target: object, seconds: int, kept: Path) -> tuple[int, str]:
    """Fuzz one target in a child; return its inputs, and what went wrong."""
    with tempfile.TemporaryDirectory(prefix="lbfuzz-") as folder:
        corpus, said = Path(folder) / "corpus", Path(folder) / "said"
        corpus.mkdir()
        for place, seed in enumerate(target.seeds):  # type: ignore[attr-defined]
            (corpus / f"seed-{place}").write_bytes(seed)
        sys.stdout.flush()
        child = os.fork()  # all that was imported is instrumented, once for all
        if child == 0:
            output = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            begin(target, seconds, corpus, kept)
        _, status = os.waitpid(child, 0)
        words = said.read_bytes()
    wrong = words.decode(errors="replace")[-3000:] if status else ""
    return max(map(int, _COUNT.findall(words)), default=0), wrong


def main(arguments: list[str]) -> int:
    """Fuzz all targets, or those that are named."""
    if find_spec("atheris") is None:
        print("There is no atheris here: python -m pip install atheris")
        return 2
    import atheris

    with atheris.instrument_imports(include=_OURS):
        from rigs.fuzz.targets import TARGETS

    whole = int(arguments[0]) if arguments else 1800
    chosen = [one for one in TARGETS if one.name in arguments[1:]]
    if len(arguments) > 1 and not chosen:
        print("Targets are: " + ", ".join(target.name for target in TARGETS))
        return 2
    chosen = chosen or list(TARGETS)
    seconds = max(1, whole // len(chosen))
    kept = Path(tempfile.mkdtemp(prefix="lbfuzz-kept-"))
    total, faults = 0, 0
    for target in chosen:
        count, wrong = fuzz(target, seconds, kept)
        total += count
        faults += bool(wrong)
        print(f"{count:>10}  {target.name}", flush=True)
        if wrong:
            print(wrong, flush=True)
    print(f"{total} inputs, {len(chosen)} targets, {seconds} s each, {faults} faults")
    if faults:
        print(f"What broke them is in {kept}")
    else:
        kept.rmdir()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
