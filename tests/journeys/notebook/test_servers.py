"""Notebook servers under a real hub: start, use, stop, and the hub's death."""

from __future__ import annotations

from rigs.hub.process import HubProcess, until


def test_a_server_starts_answers_and_stops(hub: HubProcess) -> None:
    hub.add_user("ann")
    hub.start_server("ann")
    server = hub.wait_state("ann", "ready", "failed")
    assert server["state"] == "ready", hub.progress("ann")
    until("the server answers through the edge", lambda: hub.answers("ann"))
    events = [event["kind"] for event in hub.progress("ann")["events"]]
    assert events[0] == "submitted"
    assert "ready" in events
    hub.stop_server("ann")
    hub.wait_state("ann", "stopped")
    assert not hub.answers("ann")
