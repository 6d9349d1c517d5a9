"""Which process is meant: by pid and start, never by pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from spawners.common.processes import ProcessId, process, processes


@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_is_known_by_pid_and_start(child):
    known = ProcessId.of(child.pid)
    assert known is not None
    assert known.alive
    assert known.command == ["sleep", "60"]
    looked = process(child.pid)
    assert looked is not None
    assert (looked.id, looked.parent) == (known, os.getpid())
    assert known in [each.id for each in processes()]


def test_a_signal_ends_the_one_that_is_meant(child):
    known = ProcessId.of(child.pid)
    assert known.send(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not known.alive
    assert not known.send(signal.SIGTERM)


def test_a_later_process_with_the_same_pid_gets_no_signal(child):
    known = ProcessId.of(child.pid)
    earlier = ProcessId(child.pid, known.started - 1)
    assert not earlier.alive
    assert not earlier.send(signal.SIGKILL)
    assert known.alive


def test_a_zombie_does_not_live(child):
    known = ProcessId.of(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not known.alive
    assert process(child.pid) is None
    assert not known.send(signal.SIGTERM)


def test_no_process_has_a_pid_that_is_none():
    for pid in (0, -1, 2**40):
        assert ProcessId.of(pid) is None
        assert not ProcessId(pid, -1).send(signal.SIGTERM)


def test_a_name_may_hold_anything(tmp_path):
    code = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'a) Z 1 \\xff\\n'); "
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as named:
        named.stdout.readline()
        known = ProcessId.of(named.pid)
        assert known is not None
        assert known.alive
        assert process(named.pid).parent == os.getpid()
        named.stdin.close()
