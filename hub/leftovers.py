"""What a hub that died may have left running: its HAProxy."""

from __future__ import annotations

import json

from services.common.process import ProcessId, end

from .settings import Settings

_PATIENCE_SECONDS = 5.0


def edge_process(settings: Settings) -> ProcessId | None:
    """Return HAProxy's process as the proxy wrote it down, if it still runs."""
    path = settings.state / "haproxy" / "process.json"
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        process = ProcessId(int(facts["pid"]), int(facts["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if process.alive else None


def edge_runs(settings: Settings) -> bool:
    """True if HAProxy of an earlier hub with this state still serves."""
    return edge_process(settings) is not None


async def end_leftovers(settings: Settings) -> None:
    """End what a hub of this state left behind, when the gateway is stopped."""
    process = edge_process(settings)
    if process is not None and settings.proxy.managed:
        await end(process, patience_seconds=_PATIENCE_SECONDS)
