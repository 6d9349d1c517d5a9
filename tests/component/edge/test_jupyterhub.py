"""What JupyterHub expects of its proxy, by its own routines."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from jupyterhub.proxy import Proxy


def spawner(spec: str, host: str, *, ready: bool = True, pending: str | None = None):
    return SimpleNamespace(
        proxy_spec=spec,
        server=SimpleNamespace(host=host),
        ready=ready,
        pending=pending,
        _log_name=spec,
    )


def user(name: str, **spawners):
    return SimpleNamespace(
        name=name,
        proxy_spec=f"/user/{name}/",
        spawners={key.removeprefix("_"): one for key, one in spawners.items()},
    )


@pytest.fixture
async def edge(make_edge):
    return await make_edge()


def test_it_is_found_by_the_name_of_its_entry_point():
    from importlib.metadata import entry_points

    found = entry_points(group="jupyterhub.proxies")["landbridge-haproxy"].load()
    assert issubclass(found, Proxy)


async def test_check_routes_repairs_what_is_missing_wrong_or_stale(edge, make_origin):
    alice, bob, storage = [await make_origin(n) for n in ("alice", "bob", "storage")]
    proxy = edge.proxy
    await proxy.add_route("/user/alice/", bob.url, {"user": "alice"})
    await proxy.add_route("/user/gone/", bob.url, {"user": "gone"})
    await proxy.add_route("/user/bob/big/", bob.url, {"user": "bob"})
    users = {
        1: user("alice", _=spawner("/user/alice/", alice.url)),
        2: user(
            "bob",
            _=spawner("/user/bob/", bob.url),
            big=spawner("/user/bob/big/", bob.url, ready=False, pending="stop"),
            cold=spawner("/user/bob/cold/", bob.url, ready=False),
        ),
    }
    service = SimpleNamespace(
        name="storage",
        proxy_spec="/services/storage/",
        server=SimpleNamespace(host=storage.url),
    )
    await proxy.check_routes(users, {"storage": service})
    routes = await proxy.get_all_routes()
    assert {spec: route["target"] for spec, route in routes.items()} == {
        "/": "http://hub.internal:1",
        "/user/alice/": alice.url,
        "/user/bob/": bob.url,
        "/user/bob/big/": bob.url,
        "/services/storage/": storage.url,
    }
    assert routes["/user/bob/"]["data"] == {"user": "bob", "server_name": ""}
    assert await edge.origin_of("/user/alice/") == "alice"
    assert await edge.origin_of("/services/storage/api/v1/") == "storage"
    assert await edge.origin_of("/user/gone/") == "hub"
    before = await proxy.get_all_routes()
    await proxy.check_routes(users, {"storage": service})
    assert await proxy.get_all_routes() == before


async def test_extra_routes_are_kept_and_may_take_the_root(make_edge, make_origin):
    site = await make_origin("site")
    edge = await make_edge(extra_routes={"/": site.url})
    edge.proxy.app.hub.routespec = edge.proxy.hub.routespec = "/hub/"
    await edge.proxy.check_routes({}, {})
    assert await edge.origin_of("/") == "site"
    assert await edge.origin_of("/hub/login") == "hub"


async def test_get_route_and_data_are_given_back_as_they_came(edge, make_origin):
    alice = await make_origin("alice")
    data = {"user": "zoé", "server_name": "x y", "n": 1, "list": [None, True]}
    await edge.proxy.add_route("/user/alice/", alice.url, data)
    route = await edge.proxy.get_route("/user/alice/")
    assert route == {"routespec": "/user/alice/", "target": alice.url, "data": data}
    assert await edge.proxy.get_route("/user/bob/") is None


async def test_two_thousand_routes_each_lead_to_their_own_server(edge, make_origin):
    left, right = await make_origin("left"), await make_origin("right")
    took = []

    async def add(number: int) -> None:
        origin = left if number % 2 else right
        began = time.perf_counter()
        await edge.proxy.add_route(f"/user/u{number}/", origin.url, {"user": "u"})
        took.append(time.perf_counter() - began)

    for number in range(2000):
        await add(number)
    for number in (0, 1, 19, 199, 1998, 1999):
        side = "left" if number % 2 else "right"
        assert await edge.origin_of(f"/user/u{number}/lab") == side
    assert len(await edge.proxy.get_all_routes()) == 2000
    took.sort()
    assert took[len(took) // 2] < 0.02
    for number in range(2000):
        await edge.proxy.delete_route(f"/user/u{number}/")
    assert await edge.proxy.get_all_routes() == {}
    await edge.proxy.flush()
    assert (edge.directory / "routes.map").read_text() == ""


async def test_a_burst_of_changes_ends_as_the_last_one_said(edge, make_origin):
    origins = [await make_origin(f"o{n}") for n in range(3)]
    await asyncio.gather(
        *(
            edge.proxy.add_route(f"/user/u{n % 40}/", origins[n % 3].url, {})
            for n in range(400)
        )
    )
    for name in ("u0", "u17", "u39"):
        route = await edge.proxy.get_route(f"/user/{name}/")
        [who] = [o.name for o in origins if o.url == route["target"]]
        assert await edge.origin_of(f"/user/{name}/") == who


async def test_a_name_of_the_batch_core_is_resolved_by_the_one_who_knows(
    make_edge, make_origin
):
    async def resolver(name: str) -> str | None:
        return "127.0.0.1" if name == "j-1.landbridge.internal" else None

    edge = await make_edge(resolve_target=resolver)
    origin = await make_origin("alice")
    url = f"http://j-1.landbridge.internal:{origin.port}"
    await edge.proxy.add_route("/user/alice/", url, {})
    assert await edge.origin_of("/user/alice/") == "alice"
    assert (await edge.proxy.get_route("/user/alice/"))["target"] == url
    await edge.proxy.add_route("/user/bob/", f"http://localhost:{origin.port}", {})
    assert await edge.origin_of("/user/bob/") == "alice"
