"""What may run on after all processes of a gateway have ended."""

from __future__ import annotations

import json
from pathlib import Path

from hub.config.settings import Settings
from spawners.batch.local.scheduler import LocalScheduler, LocalSettings
from spawners.common.daemon import end
from spawners.common.processes import ProcessId

_STORE_PATIENCE_SECONDS = 15.0


def edge_process(settings: Settings) -> ProcessId | None:
    """Return HAProxy's process as the proxy wrote it down, if it still runs."""
    return _process(settings.state / "haproxy" / "process.json")


def store_process(settings: Settings) -> ProcessId | None:
    """Return the embedded store's process, if it still runs."""
    return _process(settings.state / "store" / "process.json")


def _process(path: Path) -> ProcessId | None:
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        process = ProcessId(int(facts["pid"]), int(facts["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if process.alive else None


def edge_runs(settings: Settings) -> bool:
    """True if a HAProxy of earlier with this state still serves."""
    return edge_process(settings) is not None


async def end_leftovers(settings: Settings) -> None:
    """End what the processes of this state left behind, when the gateway is stopped."""
    store = store_process(settings)
    if store is not None:
        # It writes down what it holds: more than a proxy has to do.
        await end(store, patience_seconds=_STORE_PATIENCE_SECONDS)
    queue = settings.state / "local"
    if (queue / "jobs").is_dir():
        # Kernels that their users keep have no server any more.
        await LocalScheduler(LocalSettings(directory=queue, gpus=0)).shutdown()
