"""A lock that processes share: one holder at a time, and none that is gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spawners.common.file_lock import FileLock, hold_for_life, locked_within

HOLDER = """
import asyncio, sys
from pathlib import Path
from spawners.common.file_lock import FileLock, hold_for_life

async def main():
    async with FileLock(Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_tasks_of_one_process_take_turns(tmp_path: Path) -> None:
    lock, inside = FileLock(tmp_path / "lock"), 0

    async def work() -> None:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    lock.close()


async def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
    lock = FileLock(path)

    async def take() -> None:
        async with lock:
            pass

    waiting = asyncio.create_task(take())
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done, "it is held"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    async with asyncio.timeout(10):
        await waiting
    lock.close()


async def test_one_that_is_given_up_waiting_for_is_free_again(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    async with first:
        try:
            async with asyncio.timeout(0.05), second:
                raise AssertionError("two hold it")
        except TimeoutError:
            pass
    async with asyncio.timeout(5), second:
        pass
    first.close()
    second.close()


def test_a_lock_for_life_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert not hold_for_life(path, 0.1)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    code = (
        "import sys; from pathlib import Path;"
        "from spawners.common.file_lock import hold_for_life as hold;"
        "path = Path(sys.argv[1]); print(hold(path, 9), hold(path, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, check=True
    )
    assert done.stdout == b"True False\n"


async def test_a_lock_is_waited_for_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = await locked_within(path, 0)
    assert held is not None
    waiting = asyncio.create_task(locked_within(path, 60, 0.01))
    assert not (await asyncio.wait({waiting}, timeout=0.1))[0]
    os.close(held)
    taken = await waiting
    assert taken is not None
    os.close(taken)


async def test_a_lock_that_is_kept_is_given_up_and_no_file_stays_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    held = await locked_within(path, 0)
    assert held is not None
    before = set(Path("/proc/self/fd").iterdir())
    assert await locked_within(path, 0.05, 0.01) is None
    waiting = asyncio.create_task(locked_within(path, 60, 0.01))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert set(Path("/proc/self/fd").iterdir()) == before
    os.close(held)


async def test_a_lock_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        await locked_within(tmp_path / "lock", 0)
    assert not (tmp_path / "elsewhere").exists()
