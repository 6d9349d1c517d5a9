"""A job's output: nobody else's to read, and bounded, whoever opened the file."""

import asyncio
import os
import shlex
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from rigs.batch.agent import is_ready, ours, stub
from spawners.batch.rendezvous.launch import agent_command
from spawners.node import output as job_log
from spawners.node.output import JobLog

MIB = 1024**2
# What a job does, in a process of its own: descriptors 1 and 2 are changed.
PRIVATE = """
import os, sys
from spawners.node.output import make_private
os.write(1, b"prologue\\n")
make_private()
os.write(1, b"secret of 1\\n"); os.write(2, b"secret of 2\\n")
"""


def run(code, output):
    subprocess.run(
        [sys.executable, "-c", code], stdout=output, stderr=output, check=True
    )


@contextmanager
def opened(path, mode, flags=os.O_APPEND):
    """A file as a scheduler opens it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode)
    path.chmod(mode)
    try:
        yield file
    finally:
        os.close(file)


@pytest.mark.parametrize("flags", [os.O_APPEND, os.O_TRUNC])
def test_who_had_the_file_open_before_reads_no_more_of_it(tmp_path, flags):
    path = tmp_path / "log"
    with opened(path, 0o644, flags) as output, path.open("rb") as strangers:
        run(PRIVATE, output)
        assert strangers.read() == b"prologue\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "prologue\nsecret of 1\nsecret of 2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_stays_the_same_one(tmp_path):
    path = tmp_path / "log"
    with opened(path, 0o600) as output:
        before = path.stat().st_ino
        run(PRIVATE, output)
    assert path.stat().st_ino == before
    assert path.read_text() == "prologue\nsecret of 1\nsecret of 2\n"


def test_a_folder_that_cannot_be_written_still_gets_a_private_file(shared):
    """Run as the file's owner: root could write anywhere."""
    path, folder = shared / "folder/log", shared / "folder"
    folder.mkdir()
    with opened(path, 0o644) as output:
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
            code = f"import os; os.setuid(65534)\n{PRIVATE}"
        else:
            folder.chmod(0o555)
            code = PRIVATE
        run(code, output)
    folder.chmod(0o755)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().endswith("secret of 2\n")


@pytest.mark.parametrize("kind", ["null", "pipe", "of-another"])
def test_what_is_no_file_of_ours_is_left_alone(tmp_path, kind):
    if kind == "null":
        before = Path(os.devnull).stat().st_mode
        run(PRIVATE, subprocess.DEVNULL)
        assert Path(os.devnull).stat().st_mode == before
    elif kind == "pipe":
        done = subprocess.run([sys.executable, "-c", PRIVATE], capture_output=True)
        assert done.stdout == b"prologue\nsecret of 1\n"
        assert done.stderr == b"secret of 2\n"
    elif os.geteuid() == 0:
        path = tmp_path / "log"
        with opened(path, 0o644) as output:
            os.chown(path, 65534, 65534)
            run(PRIVATE, output)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert path.stat().st_uid == 65534


@pytest.mark.parametrize("flags", [os.O_APPEND, os.O_TRUNC])
def test_a_log_keeps_its_beginning_and_its_end(tmp_path, flags):
    path = tmp_path / "log"
    with opened(path, 0o600, flags) as output:
        log = JobLog(output, most=4 * MIB)
        log.write(b"first line\n")
        for number in range(20_000):
            log.write(b"line %d %s\n" % (number, b"x" * 1000))
            if not number % 1000:
                assert path.stat().st_size <= 4 * MIB
        log.write(b"last line\n")
    text = path.read_bytes()
    assert len(text) <= 4 * MIB
    assert b"\0" not in text
    assert text.startswith(b"first line\nline 0 xxx")
    assert text.endswith(b"\nlast line\n")
    lines = text.splitlines()
    kept = [line for line in lines if line.startswith(b"line ")]
    assert kept[-1].startswith(b"line 19999 ")
    told = [line for line in lines if line.startswith(b"Landbridge: ")]
    assert told
    assert b"bytes of this output were cut out here" in told[0]
    assert b"longer than 4 MB" in told[0]


def test_a_full_disk_ends_nothing():
    with Path("/dev/full").open("wb", buffering=0) as full:
        JobLog(full.fileno()).write(b"x" * 100)


# A handler has something to say again and again while the same thread writes.
INTERRUPTED = """
import signal, sys
from spawners.node.output import output, say
told = []
def warn(number, frame):
    told.append(number)
    say("near the end")
signal.signal(signal.SIGALRM, warn)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while len(told) < 300:
    output.write(b"a line of the command\\n")
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_while_the_log_is_written_stops_nothing():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, timeout=60, check=True
    )
    assert done.stdout.count(b"near the end") >= 300


async def test_a_server_that_prints_without_end_fills_no_home(served, tmp_path):
    rig, _ = served
    rig.launch = stub("flood")
    record, environment = await rig.submit()
    log = tmp_path / "log"
    with opened(log, 0o644) as output:
        process = await asyncio.create_subprocess_shell(
            "exec " + shlex.join(agent_command(sys.executable)),
            env={
                "PATH": os.environ["PATH"],
                "SLURMD_NODENAME": "n01",
                **ours(environment),
            },
            stdout=output,
            stderr=output,
        )
        await is_ready(rig, record)
        async with asyncio.timeout(60):
            assert await process.wait() == 6
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_bytes()
    assert len(text) <= job_log.MOST + 1000
    assert text.startswith(b"stub is starting\n")
    assert b"were cut out here" in text
    assert text.endswith(b"the end of the flood\n")
