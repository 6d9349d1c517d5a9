"""A service ends with its hub, also with one that was killed while it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "hub.child", "this"]


@pytest.mark.parametrize(("parent", "code"), [("", 0), ("1", -signal.SIGTERM)])
def test_it_starts_for_no_hub_but_the_one_that_started_it(parent, code):
    """1 is what adopts a service whose hub is gone before it could ask to be told."""
    environment = {**os.environ, "LANDBRIDGE_HUB_PID": parent or str(os.getpid())}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, timeout=60)
    assert done.returncode == code
    assert (b"Zen of Python" in done.stdout) is (code == 0)
