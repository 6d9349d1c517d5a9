"""Users and services at hosts of their own: which host leads to whom, and to nobody."""

from __future__ import annotations

import json

import pytest

from spawners.common.sockets import service_url

HUB = "hub.example"
STORAGE = "storage--service.hub.example"
ORIGIN = "http://hub.example:8000"


@pytest.fixture(params=["/", "/gate.way/"])
def base(request) -> str:
    return request.param


@pytest.fixture
async def edge(make_edge, make_origin, base, directory):
    """An edge with servers of alice and bob and the storage service."""
    edge = await make_edge(
        base_url=base,
        host_routing=True,
        origin=ORIGIN,
        service_hosts={"storage": STORAGE},
        services={"storage": str(directory / "storage.sock")},
        hosts=[HUB, f".{HUB}"],
        store="/nonexistent/store.sock",
    )
    for name in ("alice", "bob"):
        origin = await make_origin(f"{name}.{HUB}")
        spec = f"{name}.{HUB}{base}user/{name}/"
        await edge.proxy.add_route(spec, origin.url, {})
    storage = type(edge.hub)(STORAGE)
    await storage.start_unix(directory / "storage.sock")
    spec = f"{STORAGE}{base}services/storage/"
    await edge.proxy.add_route(spec, service_url("storage"), {})
    yield edge
    await storage.stop()


@pytest.mark.parametrize(
    "host",
    [
        f"alice.{HUB}",
        f"alice.{HUB}:8000",
        "Alice.HUB.example:80",
        f"ALICE.{HUB}:8000",
    ],
)
async def test_a_server_answers_at_its_users_host(edge, base, host):
    assert await edge.origin_of(f"{base}user/alice/lab", host=host) == f"alice.{HUB}"


async def test_a_server_answers_at_no_other_host(edge, base):
    path = f"{base}user/alice/api/contents"
    for host in (f"bob.{HUB}", f"nobody.{HUB}", STORAGE, f"x.alice.{HUB}"):
        answer = await edge.ask(path, host=host)
        assert answer.status == 424, host
    # The hub's own host, and its address: the hub says where it is.
    for host in (HUB, "127.0.0.1:8000"):
        assert await edge.origin_of(path, host=host) == "hub"


async def test_the_hub_answers_at_no_other_host(edge, base):
    for host in (f"alice.{HUB}", f"nobody.{HUB}", STORAGE, f".{HUB}", f"a.b.{HUB}"):
        for path in ("", "x", "hub", "hubx/", "services/", "services/other/", "users/"):
            for method in ("GET", "POST", "DELETE"):
                answer = await edge.ask(base + path, host=host, method=method)
                assert answer.status == 404, (host, path)
        answer = await edge.ask(f"{base}hub/api/users", host=host)
        assert answer.status == 404
        assert answer.json["status"] == 404
        answer = await edge.ask(f"{base}hub/login", host=host, method="POST")
        assert answer.status == 404
        answer = await edge.ask(f"{base}hub/login?next=x", host=host)
        assert answer.status == 302
        assert answer.headers["location"] == f"{ORIGIN}{base}hub/login?next=x"
    assert edge.hub.received == b""


async def test_nothing_at_an_address_is_said_in_words(edge, base):
    page = await edge.ask(base, host=f"nobody.{HUB}")
    assert page.status == 404
    assert f'href="{ORIGIN}{base}hub/home"' in page.body.decode()
    assert "tries again" not in page.body.decode()
    told = await edge.ask(
        base, host=f"nobody.{HUB}", headers=("Accept: application/json",)
    )
    assert told.status == 404
    assert json.loads(told.body)["message"] == "There is nothing at this host and path."


async def test_who_runs_no_server_is_sent_to_the_hub(edge, base):
    answer = await edge.ask(f"{base}user/carl/lab?a=1&b=%2F", host=f"carl.{HUB}")
    assert answer.status == 302
    location = f"{ORIGIN}{base}hub/user/carl/lab?a=1&b=%2F"
    assert answer.headers["location"] == location
    for method, path in (("GET", "api/kernels"), ("POST", "api/kernels"), ("POST", "")):
        answer = await edge.ask(
            f"{base}user/carl/{path}", host=f"carl.{HUB}", method=method
        )
        assert answer.status == 424
        assert "does not run" in answer.json["message"]


@pytest.mark.parametrize(
    "host",
    [
        "alice.hub.example%2Fuser%2Falice",
        "alice%2ehub.example",
        "alice.hub.example/user/alice",
        "alice.hub.example%00",
        "alice_hub.example",
        "aliceXhub.example",
        "evil.example",
        "alice.hub.example.evil.example",
    ],
)
async def test_what_is_not_a_host_of_ours_leads_nowhere(edge, base, host):
    for path in ("user/alice/", "", "hub/home"):
        answer = await edge.ask(base + path, host=host)
        assert answer.status == 400, path
    assert edge.hub.received == b""


async def test_a_dot_at_the_end_is_taken_away(edge, base):
    for host, right in (
        (f"alice.{HUB}.", f"alice.{HUB}"),
        (f"{HUB}.:8000", f"{HUB}:8000"),
    ):
        answer = await edge.ask(f"{base}user/alice/lab?x", host=host)
        assert answer.status == 308
        location = f"http://{right}{base}user/alice/lab?x"
        assert answer.headers["location"] == location


async def test_a_service_has_its_host_and_its_api_is_found_at_the_hubs(edge, base):
    service = f"{base}services/storage/"
    for path in ("", "api/v1/me", "link/abc", "health"):
        assert await edge.origin_of(service + path, host=STORAGE) == STORAGE
        answer = await edge.ask(f"{service}{path}?q", host=HUB)
        assert answer.status == 308
        assert answer.headers["location"] == f"http://{STORAGE}:8000{service}{path}?q"
    token = ("Authorization: Bearer t",)
    for host in (HUB, "127.0.0.1"):
        who = await edge.origin_of(f"{service}api/v1/me", host=host, headers=token)
        assert who == STORAGE
        # A page is shown where its cookies are, whoever asks.
        answer = await edge.ask(service, host=host, headers=token)
        assert answer.status == 308
    for host in (f"alice.{HUB}", f"nobody.{HUB}"):
        answer = await edge.ask(f"{service}api/v1/me", host=host, headers=token)
        assert answer.status == 404


async def test_by_its_address_pages_of_the_hub_are_sent_to_its_name(edge, base):
    for host in ("127.0.0.1:8000", "[::1]:8000"):
        answer = await edge.ask(f"{base}hub/login?next=%2F", host=host)
        assert answer.status == 302
        assert answer.headers["location"] == f"{ORIGIN}{base}hub/login?next=%2F"
        assert await edge.origin_of(f"{base}hub/api/info", host=host) == "hub"
        assert await edge.origin_of(f"{base}hub/health", host=host) == "hub"
    assert await edge.origin_of(f"{base}hub/login", host=HUB) == "hub"
    assert await edge.origin_of(f"{base}hub/login", host="HUB.EXAMPLE:1") == "hub"


async def test_objects_are_served_at_every_host(edge, base):
    for host in (HUB, f"alice.{HUB}", STORAGE):
        answer = await edge.ask(f"{base}s3/bucket/key", host=host)
        assert answer.status == 503, "the store of this test is never there"


async def test_routes_of_the_other_mode_are_forgotten(make_edge, make_origin):
    """The setting was changed: what an earlier hub wrote down fits no more."""
    alice = await make_origin("alice")
    before = await make_edge()
    await before.proxy.add_route("/user/alice/", alice.url, {"user": "alice"})
    await before.proxy.flush()
    await before.leave()
    after = await make_edge(
        host_routing=True, origin=ORIGIN, port=before.port, hub=before.hub
    )
    assert await after.proxy.get_all_routes() == {}
    await after.proxy.check_routes({}, {})
    assert await after.origin_of("/user/alice/api/x", host=f"alice.{HUB}") == "424"
    assert await after.origin_of("/user/alice/", host=HUB) == "hub"
    await after.proxy.add_route(f"alice.{HUB}/user/alice/", alice.url, {})
    await after.proxy.flush()
    await after.leave()
    again = await make_edge(port=before.port, hub=before.hub)
    assert list(await again.proxy.get_all_routes()) == ["/"]
