"""The jobs service of one user, where there is no gateway: started when it is needed.

It is ``services.jobs.own``, a process of the user's: it outlives the program that
started it, as its kernels do, and ends by itself when it has neither jobs nor clients.
Whichever program finds nobody at its socket starts it; two of them never run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from pathlib import Path
from time import monotonic

from spawners.common.files import write_whole
from spawners.common.ownership import own_directory
from spawners.common.sockets import short_path

from .settings import KernelSettings

log = logging.getLogger(__name__)

MODULE = "services.jobs.own"
SETTINGS, SOCKET, TOKEN, LOG = "settings.json", "jobs.sock", "jobs-own.token", "log"
_PATIENCE_SECONDS = 15.0  # of a service that is starting, or waits for another's end


class OwnService:
    """The way to the user's own jobs service; a :class:`~spawners.batch.jobs.http.Way`.

    Args:
        settings: of this program's kernels.
    """

    base, host = "", "jobs"

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._directory = settings.jobs_directory
        self._started: float | None = None

    def token(self) -> str:
        """Return what this program shows; ``""`` before there ever was a service."""
        with contextlib.suppress(FileNotFoundError):
            return (self._directory / TOKEN).read_text("ascii").strip()
        return ""

    async def connect(
        self, longest_line: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection; see :class:`~spawners.batch.jobs.http.Way`."""
        path = short_path(self._directory / SOCKET)
        try:
            connection = await asyncio.open_unix_connection(path, limit=longest_line)
        except (FileNotFoundError, ConnectionRefusedError):
            # Whoever asks tries again.
            await asyncio.to_thread(self._start)
            raise
        self._started = None  # one that ends after it answered is replaced at once
        return connection

    def _start(self) -> None:
        now = monotonic()
        if self._started is not None and now - self._started < _PATIENCE_SECONDS:
            return
        self._started = now
        prepare(self._directory, self._settings)
        # By a shell that ends at once: it is to be nobody's child, for it outlives us.
        service = [sys.executable, "-P", "-m", MODULE, str(self._directory)]
        with (self._directory / LOG).open("ab") as output:
            subprocess.run(
                ["/bin/sh", "-c", '"$@" &', "sh", *service],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a program's Ctrl-C is none of its business
                check=True,
            )
        log.info("Started the jobs service of this account in %s", self._directory)


def prepare(directory: Path, settings: KernelSettings) -> None:
    """Make the service's directory, with what it is told.

    Raises:
        OSError, NotOurs: it cannot be made, or others can write there.
    """
    for path in (directory.parent, directory):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    own_directory(directory)
    write_whole(directory / SETTINGS, settings.model_dump_json())
