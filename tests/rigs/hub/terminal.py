"""The ``landbridge`` command in the foreground, as a person starts it."""

from __future__ import annotations

import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rigs.hub.process import NO_STORAGE


@pytest.fixture
def short_tmp():
    """A directory with a short path: sockets go into it."""
    path = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


READY_SECONDS = 90


class Terminal:
    """One ``landbridge`` command in the foreground, its output line by line.

    ``first`` is run in its process before it.
    """

    def __init__(self, *command: str, first: str = "", **variables: str) -> None:
        self.port = int(variables.get("LANDBRIDGE_PORT", "0"))
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys\n{first}\nfrom hub.cli import main\nsys.exit(main())",
                *command,
            ]
            if first
            else [sys.executable, "-m", "hub.cli", *command],
            env={
                **os.environ,
                "LANDBRIDGE_SCHEDULER": "local",
                # Most tests want users, not accounts; those of accounts say "no".
                "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""

    def wait_for(self, words: str, seconds: float = READY_SECONDS) -> str:
        """Return the first line with ``words``; fail with the output if none comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.lines:
                if words in line:
                    return line
            ended = self.process.poll() is not None
            self._read(0.2)
            if ended and not any(words in line for line in self.lines):
                break
        pytest.fail(f"no {words!r} in:\n" + "\n".join(self.lines))

    def _read(self, seconds: float) -> None:
        pipe = self.process.stdout
        if select.select([pipe], [], [], seconds)[0]:
            self._rest += pipe.read() or b""
            *whole, self._rest = self._rest.split(b"\n")
            self.lines += [line.decode() for line in whole]

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code of a command that ends by itself."""
        code = self.process.wait(seconds)
        self._read(0)
        return code

    def end(self, number: int = signal.SIGINT, seconds: float = 60) -> int:
        """Send a signal as the terminal would; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(seconds)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Return status and body of a page, through the edge."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def free_port():
    """Give a function that returns a port which nobody listens on just now."""
    return _free_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def place(short_tmp, free_port):
    """Variables for a gateway of its own: state, port, and settings without storage."""
    (short_tmp / "gateway.toml").write_text(NO_STORAGE)
    return {
        "LANDBRIDGE_STATE": str(short_tmp / "var"),
        "LANDBRIDGE_PORT": str(free_port()),
        "LANDBRIDGE_CONFIG": str(short_tmp / "gateway.toml"),
        "LANDBRIDGE_PASSWORD": "open sesame",
    }


@pytest.fixture
def run(place):
    """Start commands; whatever still runs in the end is ended."""
    started: list[Terminal] = []

    def start(*command: str, first: str = "", **variables: str) -> Terminal:
        terminal = Terminal(*command, first=first, **{**place, **variables})
        started.append(terminal)
        return terminal

    yield start
    for terminal in started:
        terminal.end()
        terminal.process.stdout.close()
