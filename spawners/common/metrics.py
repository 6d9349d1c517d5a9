"""What calls to other programs take, for Prometheus: measured where they are made.

The numbers are the process's; whoever serves HTTP in it shows them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Histogram

CALLS = Histogram(
    "landbridge_call_seconds",
    "Time that calls to another program took; `failed` if there was no good answer.",
    ["to", "call", "result"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)


@contextmanager
def timed_call(to: str, call: str) -> Iterator[None]:
    """Count a call and its time; it failed if an exception leaves the block.

    Args:
        to: the program that is called: ``store``, ``jobs``, ``hub``.
        call: one of few words, and no name of anything of a user's.
    """
    began = time.monotonic()
    result = "failed"
    try:
        yield
        result = "good"
    finally:
        CALLS.labels(to, call, result).observe(time.monotonic() - began)
