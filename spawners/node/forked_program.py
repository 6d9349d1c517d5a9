"""Runs a program in a process that was just forked, in place of a new interpreter.

A second Python needs a tenth of a second to be where the agent is already: started, and
with TLS loaded. A job's launcher is for the agent's own interpreter and so may be a
copy of it.

Travels in the job with ``agent.py``: standard library of Python 3.6 or newer only.
"""

import gc
import os
import signal
import sys
from typing import Dict, List, Optional

_FIRST, _PLACE = ("{agent}", "-I"), "{dir}/"


def program_for_us(argv: List[str]) -> Optional[List[str]]:
    """Return path and arguments if ``argv``, with its places, is such a program.

    That is one of the job's directory, for our interpreter with no option but ``-I``.
    """
    rest = argv[len(_FIRST) :]
    is_it = tuple(argv[: len(_FIRST)]) == _FIRST and bool(rest)
    return rest if is_it and rest[0].startswith(_PLACE) else None


def become(program: List[str], environment: Dict[str, str], kept: int) -> None:
    """Be ``program`` from now on; never returns.

    Standard input, output and errors are as they should be already.

    Args:
        program: path and arguments.
        environment: all of its variables.
        kept: a descriptor that it has besides.
    """
    code = 1
    try:
        gc.enable()  # older Pythons fork without it
        _shed(kept)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(program)
        with open(program[0], encoding="utf-8") as file:
            text = file.read()
        exec(compile(text, program[0], "exec"), {"__name__": "__main__"})  # noqa: S102
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- as an interpreter ends
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _shed(kept: int) -> None:
    """Have signals and descriptors as a new interpreter has them."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # not as a command gets them
        signal.signal(number, signal.SIG_IGN)
    # Among them the lock of the job's directory, which is to end with the agent.
    opened = [int(name) for name in os.listdir("/proc/self/fd")]
    for descriptor in opened:
        if descriptor > 2 and descriptor != kept:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one by which we listed them
