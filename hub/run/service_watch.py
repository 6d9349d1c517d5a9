"""Starts a service that ended again, for as long as it takes.

JupyterHub looks every half a minute whether a service runs, and starts one that ended
once: where that fails, as on a machine that is short of memory or processes for a
moment, nobody would look again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from spawners.common.backoff import Restarts


class ServiceWatch:
    """Watches over services that the hub starts.

    Args:
        log: where ends and failed starts are told.
        restarts: makes the pauses between starts that fail.
    """

    def __init__(
        self,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        restarts: Callable[[], Restarts] = Restarts,
    ) -> None:
        self._log = log
        self._restarts = restarts
        self._starting: set[asyncio.Task[None]] = set()

    def watch(self, name: str, service: Any) -> None:
        """Have a service of JupyterHub's started again by us: before its start."""
        service._proc_stopped = lambda: self._ended(name, service)

    def _ended(self, name: str, service: Any) -> None:
        code = service.proc.returncode
        self._log.error("Service %s ended (code %s): starting it again", name, code)
        task = asyncio.create_task(self.start(name, service))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def start(self, name: str, service: Any) -> None:
        """Start a service, however often that fails before."""
        restarts = self._restarts()
        while True:
            try:
                await service.start()
            except Exception as error:  # noqa: BLE001 -- whatever it is, try again
                pause = restarts.ended(0)
                self._log.error(
                    "Cannot start the service %s, again in %g s: %s", name, pause, error
                )
                await asyncio.sleep(pause)
            else:
                return
