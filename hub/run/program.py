"""A process of the table as ``landbridge up`` runs it, and what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import hub
import services
import spawners
from hub.config.settings import Settings
from spawners.common.daemon import Launch, NotStarted, Program
from spawners.common.processes import ProcessId

from .client import service_answers
from .processes import ProcessSpec

Say = Callable[[str], None]

# Of the environment, what changes how a process of ours works.
_TOLD = ("LANDBRIDGE_", "JUPYTERHUB_", "SLURM_CONF", "PATH")
# Where our own code lies, installed or in a checkout.
_CODE = tuple(
    Path(str(package.__file__)).parent for package in (hub, services, spawners)
)


class GatewayProgram(Program):
    """One process of the gateway.

    Args:
        spec: its row of the table.
        settings: the site's.
        environment: all of its environment.
        say: tells the person at the terminal one line.
        stopping: set once the gateway is to stop: nobody is waited for then.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        settings: Settings,
        environment: Mapping[str, str],
        say: Say,
        stopping: asyncio.Event,
    ) -> None:
        self.spec = spec
        self.name = spec.title
        self.start_seconds = spec.start_seconds
        self.patience_seconds = spec.patience_seconds
        self._settings = settings
        self._environment = environment
        self._say = say
        self._stopping = stopping
        self._was_up = False

    @property
    def state_file(self) -> Path:
        """Where the process is written down for the next ``landbridge up``."""
        return self._settings.state / "run" / f"{self.spec.name}.process.json"

    @property
    def log_file(self) -> Path:
        """Where its words go."""
        return self._settings.state / "logs" / f"{self.spec.name}.log"

    async def prepare(self, replaced: ProcessId | None) -> Launch:
        """Return how it is started."""
        return Launch(
            self.spec.command, self._environment, directory=self._settings.state
        )

    async def serves(self, process: ProcessId) -> bool:
        """Return whether it answers at its socket, or is not waited for."""
        if self._stopping.is_set() or self.spec.socket is None:
            return True
        return await asyncio.to_thread(
            service_answers, self.spec.socket, self.spec.health
        )

    async def find(
        self, recorded: ProcessId | None, facts: Mapping[str, Any]
    ) -> ProcessId | None:
        """Go on with one that was started as it would be now, and that answers."""
        if recorded is None or facts.get("signature") != self._signature:
            return None
        if not await self.serves(recorded):
            return None
        self._was_up = True
        return recorded

    def owns(self, process: ProcessId) -> bool:
        """Return whether it is the command of this row."""
        return process.command[1:] == list(self.spec.command[1:])

    def facts(self) -> Mapping[str, Any]:
        """Return what says whether a later one would be started in the same way."""
        return {"signature": self._signature}

    @property
    def _signature(self) -> str:
        """A digest of all that it reads when it starts, but for secrets in files."""
        digest = hashlib.sha256()
        digest.update(json.dumps([list(self.spec.command)]).encode())
        told = sorted(
            (name, value)
            for name, value in self._environment.items()
            if name.startswith(_TOLD)
        )
        digest.update(json.dumps(told).encode())
        digest.update(json.dumps(_code()).encode())
        for file in (
            self._settings.path,
            self._settings.folder / self._settings.jobs.profiles,
        ):
            if file is not None and file.is_file():
                digest.update(file.read_bytes())
        return digest.hexdigest()

    async def started(self, process: ProcessId) -> None:
        """Say that it is back, if it was away."""
        if self._was_up and not self._stopping.is_set():
            self._say(f"{self.spec.title} is back.")
        self._was_up = True

    async def ended(self, process: ProcessId, code: int | None, pause: float) -> None:
        """Say so, and that nothing else did."""
        how = "" if code is None else f" (code {code})"
        self._say(f"{self.spec.title} ended{how}; servers go on. {_again(pause)}")

    async def failed(self, error: Exception, pause: float) -> None:
        """Say why, and when it is tried again."""
        self._say(f"{self.why(error)} {_again(pause)}")

    def why(self, error: Exception) -> str:
        """Return in one line why it did not start, with the last error in its log."""
        if not isinstance(error, NotStarted):
            return f"{self.spec.title} cannot be started: {error}."
        if not error.lines and not error.ended:
            return f"{self.spec.title} cannot be started: {error.message}"
        if not error.ended:
            seconds = f"{self.start_seconds:.0f}"
            return (
                f"{self.spec.title} is not ready after {seconds} s: see {self.log_file}"
            )
        words = last_words(error.lines)
        return f"{self.spec.title} ended at once: {words} (whole log: {self.log_file})"


def _code() -> list[tuple[str, int, int]]:
    """Return what tells the code of one release from that of another."""
    facts = []
    for file in sorted(file for place in _CODE for file in place.rglob("*.py")):
        with suppress(FileNotFoundError):  # it is being replaced just now
            status = file.stat()
            facts.append((str(file), status.st_size, status.st_mtime_ns))
    return facts


def _again(pause: float) -> str:
    return f"Starting it again{f' in {pause:.0f} s' if pause >= 1 else ''}."


def last_words(lines: list[str]) -> str:
    """Return the last error in lines of a log, or their last, in one short line."""
    marks = ("[C ", "[E ", "Error", "error", "landbridge:")
    recent = lines[-80:]
    wrong = [line for line in recent if any(mark in line for mark in marks)]
    last = (wrong or recent or ["it said nothing"])[-1].strip()
    return last[:300]
