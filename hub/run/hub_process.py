"""The hub as ``landbridge up`` runs it: how it is started, and what is told of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from hub.child import tie_to_parent
from hub.config.paths import hub_socket
from hub.config.settings import CHECKOUT, Settings
from services.jobs.settings import Site
from spawners.common.daemon import Launch, NotStarted, Program
from spawners.common.processes import ProcessId

from .client import HubUnreachable, ask_hub
from .log_file import LogFile, copy_pipe

_LOG_SECONDS = 1.0


def hub_environment(
    settings: Settings, site: Site, password: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment for the hub: ours, with all choices made."""
    child = dict(environment)
    child["LANDBRIDGE_STATE"] = str(settings.state)
    child["LANDBRIDGE_PORT"] = str(settings.hub.port)
    child["LANDBRIDGE_SCHEDULER"] = site.scheduler
    child["LANDBRIDGE_PASSWORD"] = password
    if settings.path:
        child["LANDBRIDGE_CONFIG"] = str(settings.path)
    binaries = str(Path(sys.executable).parent)
    child["PATH"] = os.pathsep.join([binaries, child.get("PATH", os.defpath)])
    child["PYTHONUNBUFFERED"] = "1"
    return child


def hub_command(settings: Settings) -> list[str]:
    """Return the argv that starts the hub with the site's or our own config file."""
    config = settings.folder / "jupyterhub_config.py"
    if not config.is_file():
        config = CHECKOUT / "config" / "jupyterhub_config.py"
    # -P: it runs in the state directory, and what lies there is no code of ours.
    command = [sys.executable, "-P", "-m", "hub.app"]
    return [*command, f"--config={config}"] if config.is_file() else command


class HubProgram(Program):
    """The hub with one configuration.

    Args:
        settings: checked.
        environment: for the hub, see :func:`hub_environment`.
        say: tells the person at the terminal one line.
        stopping: set once the gateway is to stop: a hub is not waited for then.
    """

    name = "The hub"
    start_seconds = 120.0
    patience_seconds = 10.0

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._say = say
        self._stopping = stopping
        self._copying: set[asyncio.Task[None]] = set()
        self._was_up = False
        self.log_path = settings.state / "logs" / "hub.log"
        """Where its words go, and those of the services."""
        self._log_file = LogFile(self.log_path)

    async def prepare(self, replaced: ProcessId | None) -> Launch:
        """Make room for its socket, and have its words copied to the log."""
        hub_socket(self._settings).unlink(missing_ok=True)
        # By a pipe: what several processes write to one file, nobody could put aside.
        reading, writing = os.pipe()
        copying = asyncio.create_task(copy_pipe(reading, self._log_file))
        self._copying.add(copying)
        copying.add_done_callback(self._copying.discard)
        return Launch(
            hub_command(self._settings),
            self._environment,
            directory=self._settings.state,
            output=writing,
            before_exec=tie_to_parent,  # killed, we cannot stop it
        )

    async def serves(self, process: ProcessId) -> bool:
        """Return whether it answers through its socket, or is not waited for."""
        with suppress(HubUnreachable):
            await asyncio.to_thread(ask_hub, self._settings, "GET", "info")
            return True
        return self._stopping.is_set()

    async def started(self, process: ProcessId) -> None:
        """Say that it is back, if it was away."""
        if self._was_up and not self._stopping.is_set():
            self._say("The hub is back.")
        self._was_up = True

    async def ended(self, process: ProcessId, code: int | None, pause: float) -> None:
        """Say so, and that nothing else did."""
        self._say(f"The hub ended (code {code}); servers go on. {_again(pause)}")

    async def failed(self, error: Exception, pause: float) -> None:
        """Say why, and when it is tried again."""
        self._say(f"{await self.why(error)} {_again(pause)}")

    async def why(self, error: Exception) -> str:
        """Return in one line why it did not start, with the last error in its log."""
        if not isinstance(error, NotStarted):
            return f"The hub cannot be started: {error}."
        if not error.ended:
            seconds = f"{self.start_seconds:.0f}"
            return f"The hub is not ready after {seconds} s: see {self.log_path}"
        await self._all_written(_LOG_SECONDS)
        return f"The hub ended at once: {last_words(self.log_path)}"

    async def close(self, seconds: float) -> None:
        """Close the log, when all that has the pipe has ended, or after a while."""
        await self._all_written(seconds)
        self._log_file.close()

    async def _all_written(self, seconds: float) -> None:
        if self._copying:
            await asyncio.wait(self._copying, timeout=seconds)


def _again(pause: float) -> str:
    return f"Starting it again{f' in {pause:.0f} s' if pause >= 1 else ''}."


def last_words(log: Path) -> str:
    """Return the last error in the hub's log, in one line, and where the log is."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-80:]
    except OSError:
        lines = []
    marks = ("[C ", "[E ", "Error", "error")
    wrong = [line for line in lines if any(mark in line for mark in marks)]
    last = (wrong or lines or ["it said nothing"])[-1].strip()
    return f"{last[:300]} (whole log: {log})"
