"""Which Python to build environments on, in words that Python 3.6 can read."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

NEEDED = (3, 11)


class Failure(Exception):
    """Something a person has to put right; its text is the one line they get."""


def say(text):
    """Tell the person at the terminal, at once."""
    print(text, flush=True)


def probe(python):
    """Return facts about an interpreter, or ``None`` if it cannot be used.

    A dictionary: ``version`` (list), ``prefix`` (of its installation), ``venv``
    and ``pip`` (whether it can make environments with pip, or has pip itself).
    """
    code = (
        "import json, sys, importlib.util as u\n"
        "print(json.dumps({'version': list(sys.version_info[:3]),"
        " 'prefix': sys.base_prefix, 'executable': sys.executable,"
        " 'venv': all(map(u.find_spec, ('venv', 'ensurepip'))),"
        " 'pip': u.find_spec('pip') is not None}))"
    )
    try:
        output = subprocess.check_output(
            [str(python), "-I", "-c", code],
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        return json.loads(output.decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def open_to_others(path):
    """True if every account may enter ``path`` (or run it, if it is a file)."""
    path = Path(os.path.realpath(str(path)))
    for step in [path, *list(path.parents)]:
        try:
            mode = step.stat().st_mode
        except OSError:
            continue  # made later, by us, with the right mode
        if not mode & stat.S_IXOTH:
            return False
    return True


def candidates():
    """Yield interpreters to try: this one, then the system's, then by name."""
    yield Path(sys.executable)
    yield Path("/usr/bin/python3")
    yield Path("/usr/local/bin/python3")
    names = ["python3"] + ["python3.%d" % minor for minor in range(20, 10, -1)]
    folders = os.environ.get("PATH", "").split(os.pathsep)
    for name in names:
        for folder in folders:
            if folder and os.access(os.path.join(folder, name), os.X_OK):
                yield Path(folder) / name


def choose_python(shared):
    """Return the facts of the interpreter to build on.

    ``shared``: other accounts' jobs will run it, so prefer one that they can.
    Raises Failure if none is new enough, naming what was found.
    """
    best, seen, oldest = None, set(), None
    for path in candidates():
        if path in seen:
            continue
        seen.add(path)
        facts = probe(path)
        if facts is None:
            continue
        if tuple(facts["version"]) < NEEDED:
            oldest = oldest or facts
            continue
        usable = open_to_others(facts["executable"]) and open_to_others(facts["prefix"])
        if usable or not shared:
            return facts
        best = best or facts
    if best is None:
        found = ".".join(map(str, oldest["version"])) if oldest else "none"
        raise Failure(
            f"Landbridge needs Python 3.11 or newer, and this machine's is {found}. "
            "Install one (Debian: apt install python3.11 python3.11-venv) and run "
            "make PYTHON=/path/to/python3.11"
        )
    say(
        "Note: {} lies where other accounts cannot run it, so only your own jobs "
        "will start.".format(best["executable"])
    )
    return best
