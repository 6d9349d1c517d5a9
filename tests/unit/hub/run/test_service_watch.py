"""A service that ended comes back, also where starting it fails for a while."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

from hub.run.service_watch import ServiceWatch
from spawners.common.backoff import Restarts


class Service:
    """As much of JupyterHub's ``Service`` as is used, failing at first."""

    def __init__(self, failures: int) -> None:
        self.proc = SimpleNamespace(returncode=-9)
        self.failures = failures
        self.started = asyncio.Event()

    async def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(11, "Resource temporarily unavailable")
        self.started.set()

    def _proc_stopped(self) -> None:
        raise AssertionError("JupyterHub's own would try only once")


async def test_it_is_started_until_it_starts(caplog):
    watch = ServiceWatch(logging.getLogger("t"), lambda: Restarts(longest_seconds=0.01))
    service = Service(failures=6)
    watch.watch("storage", service)
    service._proc_stopped()
    await asyncio.wait_for(service.started.wait(), 5)
    assert service.failures == 0
    assert caplog.text.count("Cannot start the service storage") == 6
    assert "ended (code -9)" in caplog.text
