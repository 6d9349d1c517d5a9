"""Runs a module that ends when its parent does: ``python -m hub.child MODULE``.

A hub that is killed cannot stop its services. Without this they would stay, next to
those that the following hub starts, with a token that is not good any more.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
PARENT = "LANDBRIDGE_HUB_PID"
"""Variable with the pid of the process that started this one, or thinks so."""


def tie_to_parent(parent: int | None = None) -> None:
    """Have the kernel send SIGTERM when our parent ends. Linux only, else nothing.

    ``parent`` is its pid, where known: if it is gone by now, the signal comes at
    once. Kept over ``exec``.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    told = os.environ.pop(PARENT, "")
    tie_to_parent(int(told) if told.isdigit() else None)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
