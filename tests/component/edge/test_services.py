"""The gateway's own services: their socket is in the configuration, in no map."""

from __future__ import annotations

import json
import stat
from types import SimpleNamespace

import pytest

from services.edge.errors import BadRoute
from services.edge.maps import Route, ServiceTarget, Target, journal_line, journal_text
from spawners.common.sockets import service_url

PATH = "/services/storage/"
DATA = {"service": "storage"}


async def test_a_service_is_reached_at_its_socket(make_edge, make_service):
    storage = await make_service("storage")
    edge = await make_edge(services={"storage": storage.path})
    await edge.proxy.add_route(PATH, service_url("storage"), DATA)
    assert await edge.origin_of(f"{PATH}api/v1/me") == "storage"
    entries = await edge.proxy.runtime.read_map("routes.map")
    assert entries["%2Fservices%2Fstorage%2F"] == "service|storage|-"
    routes = await edge.proxy.get_all_routes()
    assert routes[PATH]["target"] == service_url("storage")
    await storage.stop()
    answer = await edge.ask(f"{PATH}api/v1/me")
    assert (answer.status, answer.json["status"]) == (503, 503)


@pytest.mark.parametrize("name", ["other", "a_b", "a|b", ""])
async def test_a_service_without_a_socket_has_no_route(make_edge, make_service, name):
    storage = await make_service("storage")
    edge = await make_edge(services={"storage": storage.path})
    with pytest.raises(BadRoute):
        await edge.proxy.add_route(PATH, service_url(name), DATA)
    assert await edge.origin_of(PATH) == "hub"


async def test_a_name_in_the_map_that_is_no_service_leads_nowhere(
    make_edge, make_service
):
    storage = await make_service("storage")
    edge = await make_edge(services={"storage": storage.path})
    for value in ("service|other|-", "service|storage|x", "service|hub_html|-"):
        await edge.proxy.runtime.add_entry("routes.map", "%2Fx%2F", value)
        assert await edge.origin_of("/x/") == "503", value
    assert storage.received == b""


async def test_routes_to_a_port_of_an_earlier_version_lead_to_the_socket(
    make_edge, make_service, make_origin, directory
):
    """That port is anybody's now: nothing is sent there, not even at first."""
    squatter = await make_origin("squatter")
    state = directory / "haproxy"
    state.mkdir(mode=0o700)
    old = Route(PATH, squatter.url, Target("127.0.0.1", squatter.port), DATA)
    (state / "routes.json").write_bytes(journal_text([journal_line(old)]))
    storage = await make_service("storage")
    edge = await make_edge(services={"storage": storage.path}, state=state)
    assert await edge.origin_of(PATH) == "storage"
    service = SimpleNamespace(
        name="storage",
        proxy_spec=PATH,
        server=SimpleNamespace(host=service_url("storage")),
    )
    await edge.proxy.check_routes({}, {"storage": service})
    assert await edge.origin_of(PATH) == "storage"
    assert squatter.received == b""
    await edge.proxy.flush()
    rows = (state / "routes.json").read_text().splitlines()[1:]
    targets = {row["routespec"]: row["target"] for row in map(json.loads, rows)}
    assert targets[PATH] == ServiceTarget("storage").value


async def test_a_haproxy_of_an_earlier_version_is_adopted_and_goes_on(
    make_edge, make_service, make_origin
):
    """It knew the service by a port; after the upgrade it is at its socket."""
    port, alice = await make_origin("port"), await make_origin("alice")
    before = await make_edge()
    await before.proxy.add_route(PATH, port.url, DATA)
    await before.proxy.add_route("/user/alice/", alice.url, {"user": "alice"})
    assert await before.origin_of(PATH) == "port"
    await before.leave()
    storage = await make_service("storage")
    after = await make_edge(
        services={"storage": storage.path},
        state=before.directory,
        port=before.port,
        hub=before.hub,
    )
    assert await after.origin_of(PATH) == "storage"
    assert await after.origin_of("/user/alice/") == "alice"
    # The same hub once more, as after a crash: adopted as it is.
    pid = after.pid
    await after.leave()
    again = await make_edge(
        services={"storage": storage.path},
        state=before.directory,
        port=before.port,
        hub=before.hub,
    )
    assert again.pid == pid
    assert await again.origin_of(PATH) == "storage"


async def test_the_configuration_is_read_by_us_alone(make_edge, make_service):
    storage = await make_service("storage")
    edge = await make_edge(services={"storage": storage.path})
    modes = {stat.S_IMODE(path.stat().st_mode) for path in edge.directory.iterdir()}
    assert modes == {0o600}
