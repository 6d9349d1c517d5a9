"""Between hub and jobs service things get lost, late, doubled and out of order.

A small proxy stands at the jobs service's socket and harms each event of the stream, or
each request the first time that it comes, all through a server's start and stop; or
nobody gets through from one of its steps on. The end is the same as without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rigs.hub.process import NO_STORAGE, HubProcess, find_server, until
from rigs.places import open_directory
from rigs.services.jobs import Meddler, between
from spawners.common.sockets import is_deserted

EVENTS = ["cut", "delay", "double", "reorder"]
REQUESTS = ["lose", "double"]
LONG = pytest.mark.long
STEPS = {
    "asked": {"queued", "starting", "ready", "submitting"},
    "queued": {"queued", "starting", "ready"},
    "starting": {"starting", "ready"},
    "ready": {"ready"},
}


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[HubProcess, Meddler]]:
    """A gateway whose jobs service is reached through the proxy alone."""
    with open_directory() as directory:
        settings = directory / "gateway.toml"
        settings.write_text(NO_STORAGE)
        hub = HubProcess(directory / "state", LANDBRIDGE_CONFIG=str(settings))
        try:
            hub.start_sibling("jobs")
            socket = hub.state / "run" / "jobs.sock"
            until("the jobs service listens", lambda: not is_deserted(socket))
            with between(socket) as meddler:
                hub.start()
                hub.add_user("ann")
                yield hub, meddler
                hub.close()
        finally:
            hub.close()


@pytest.fixture
def harm(running: tuple[HubProcess, Meddler]) -> Iterator[Meddler]:
    meddler = running[1]
    meddler.harmed = 0
    yield meddler
    meddler.first = meddler.stream = ""
    meddler.away = False


@pytest.fixture
def hub(running: tuple[HubProcess, Meddler]) -> HubProcess:
    running[0].clear("ann")
    return running[0]


def has_started(hub: HubProcess) -> None:
    """There is one server, one job, and each line of its story once."""
    hub.wait_state("ann", "ready", seconds=120)
    until("ann's server answers", lambda: hub.answers("ann"))
    assert len(hub.live_records("ann")) == 1
    story = [
        (event["kind"], event["message"]) for event in hub.progress("ann")["events"]
    ]
    assert len(story) == len(set(story)), story


def stops(hub: HubProcess) -> None:
    hub.stop_server("ann")
    until("ann's server ends", lambda: find_server(hub, "ann") is None)
    until("its end is written down", lambda: not hub.live_records("ann"))
    hub.wait_state("ann", "stopped")


@pytest.mark.parametrize(
    ("events", "requests"),
    [
        *(pytest.param(each, "", id=f"events-{each}") for each in EVENTS),
        *(pytest.param("", each, id=f"requests-{each}") for each in REQUESTS),
        *(
            pytest.param(events, requests, id=f"{events}+{requests}", marks=[LONG])
            for events, requests in [("", "refuse"), ("", "half"), ("cut", "lose")]
        ),
    ],
)
def test_a_harmed_stream_leads_to_the_same_end(
    hub: HubProcess, harm: Meddler, events: str, requests: str
) -> None:
    harm.stream, harm.first = events, requests
    hub.start_server("ann")
    has_started(hub)
    stops(hub)
    assert harm.harmed, "something was done"


@pytest.mark.parametrize("step", STEPS)
def test_a_hub_that_is_cut_off_at_a_step_comes_to_the_same_end(
    hub: HubProcess, harm: Meddler, step: str
) -> None:
    hub.start_server("ann")
    if step != "asked":
        states = STEPS[step]
        until(f"a start that is {step}", lambda: hub.server("ann")["state"] in states)
    harm.away = True
    harm.cut()
    until("somebody has tried in vain", lambda: harm.harmed)
    time.sleep(2)
    harm.away = False
    has_started(hub)
    stops(hub)
