"""A program that outlives us: when it has ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from spawners.common.daemon import wait_ended
from spawners.common.processes import ProcessId

# Its first thread ends, so that it looks like a zombie; a second one goes on.
HEADLESS = """
import ctypes, os, threading
threading.Thread(target=os.read, args=(0, 1)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


async def test_a_process_has_ended_when_its_last_thread_has():
    read, write = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", HEADLESS], stdin=read)
    os.close(read)
    known = ProcessId.of_child(child.pid)
    async with asyncio.timeout(30):
        while known.alive:
            await asyncio.sleep(0.01)
    waiting = asyncio.create_task(wait_ended(known))
    await asyncio.wait({waiting}, timeout=0.2)
    assert known.keeps_pid
    assert not waiting.done()
    os.close(write)
    async with asyncio.timeout(30):
        await waiting
    assert not known.keeps_pid
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)
    child.wait()  # tells subprocess, too


async def test_a_later_process_with_the_same_pid_is_not_waited_for():
    own = ProcessId.of_child(os.getpid())
    await wait_ended(ProcessId(own.pid, own.started - 1))
    assert own.keeps_pid
