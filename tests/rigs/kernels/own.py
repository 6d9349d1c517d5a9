"""The jobs service that programs under test started for themselves."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from spawners.batch.jobs.http import HttpClient, SocketWay
from spawners.batch.jobs.record import JobRecord
from spawners.batch.jobs.wire import Listing, read
from spawners.common.sockets import short_path
from spawners.kernels.facts import is_let_go
from spawners.kernels.own import MODULE, SOCKET, TOKEN
from spawners.kernels.tunnel import begin

_ENDS_WITHIN = 30


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, even if its parent has not noticed."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


class OwnJobs:
    """What lies below a state directory, of whichever machine.

    Args:
        state: the directory; the service may not have been started yet.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    @property
    def directory(self) -> Path | None:
        """Where the service keeps what it needs, if it ever ran."""
        return next(iter((self._state / "jobs").glob("*")), None)

    @property
    def pid(self) -> int | None:
        """The service's process, if it runs, be it not ready yet."""
        wanted = f"-m\0{MODULE}\0{self.directory}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cmdline").read_bytes().endswith(wanted):
                    return int(entry.name)
        return None

    @property
    def answers(self) -> bool:
        """Whether it takes connections now."""
        if self.directory is None:
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            path = short_path(self.directory / SOCKET)
            return probe.connect_ex(str(path)) == 0

    @property
    def records(self) -> list[JobRecord]:
        """The records of kernels' jobs that are there and wanted."""
        directory = self.directory
        if directory is None or not self.answers:
            return []
        client = HttpClient(SocketWay(short_path(directory / SOCKET)))
        token = (directory / TOKEN).read_text().strip()
        answer = begin(
            client.request("GET", "/v1/jobs", token=token, seconds=20)
        ).result(30)
        assert answer.good, answer
        listing = read(Listing, answer.body)
        records = [entry.record for entry in listing.entries]
        return [one for one in records if one.live and not is_let_go(one)]

    @property
    def kernels(self) -> list[str]:
        """Their kernels' ids."""
        return sorted(record.facts["kernel"] for record in self.records)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the service, and any that waits for its turn; wait for that."""
        deadline = time.monotonic() + _ENDS_WITHIN
        while (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            while not is_gone(pid):
                assert time.monotonic() < deadline, "the jobs service does not end"
                time.sleep(0.05)
