"""Only the server that a route names gets its requests, whoever holds the port."""

from __future__ import annotations

import asyncio
import ssl

import pytest

NAME = "j-alice.landbridge.internal"
OTHER = "j-mallory.landbridge.internal"
SECRET = ("Cookie: session=alices-secret",)


@pytest.fixture
def jobs_ca(make_authority):
    return make_authority("jobs-ca")


@pytest.fixture
def hub_ca(make_authority):
    return make_authority("hub-ca")


@pytest.fixture
def make_tls_edge(make_edge, jobs_ca, hub_ca):
    def make(**options):
        return make_edge(
            jobs_ca=str(jobs_ca.path),
            client_certificate=str(hub_ca.issue("proxy.landbridge.internal")),
            resolve_target=lambda name: "127.0.0.1",
            **options,
        )

    return make


async def add(edge, port, name=NAME, spec="/user/alice/"):
    await edge.proxy.add_route(spec, f"https://{name}:{port}", {"user": "alice"})


async def test_the_right_server_is_reached_and_sees_our_certificate(
    make_tls_edge, make_origin, jobs_ca, hub_ca
):
    edge = await make_tls_edge()
    tls = jobs_ca.server_context(NAME, clients_of=hub_ca)
    origin = await make_origin("alice", tls=tls)
    await add(edge, origin.port)
    assert await edge.origin_of("/user/alice/lab") == "alice"


async def test_another_jobs_certificate_on_the_port_gets_nothing(
    make_tls_edge, make_origin, jobs_ca
):
    edge = await make_tls_edge()
    squatter = await make_origin("mallory", tls=jobs_ca.server_context(OTHER))
    await add(edge, squatter.port)
    answer = await edge.ask("/user/alice/lab", headers=SECRET)
    assert answer.status == 503
    assert squatter.received == b""


async def test_a_certificate_of_another_authority_gets_nothing(
    make_tls_edge, make_origin, make_authority, hub_ca
):
    edge = await make_tls_edge()
    for authority in (make_authority("self-made"), hub_ca):
        squatter = await make_origin("mallory", tls=authority.server_context(NAME))
        await add(edge, squatter.port)
        answer = await edge.ask("/user/alice/lab", headers=SECRET)
        assert answer.status == 503
        assert squatter.received == b""


async def test_a_plain_http_squatter_does_not_see_the_request(make_tls_edge):
    edge = await make_tls_edge()
    heard = bytearray()

    async def listen(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        heard.extend(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        await add(edge, server.sockets[0].getsockname()[1])
        answer = await edge.ask("/user/alice/lab", headers=SECRET)
    assert answer.status == 503
    assert heard[:1] == b"\x16", "a TLS hello and nothing else"
    assert b"alices-secret" not in heard
    assert b"/user/alice" not in heard


async def test_one_port_with_two_names_serves_only_the_one_it_proves(
    make_tls_edge, make_origin, jobs_ca
):
    """An idle connection to alice's server is never used for another name."""
    edge = await make_tls_edge()
    origin = await make_origin("alice", tls=jobs_ca.server_context(NAME))
    await add(edge, origin.port)
    await add(edge, origin.port, OTHER, "/user/mallory/")
    for _ in range(20):
        assert await edge.origin_of("/user/alice/") == "alice"
        assert await edge.origin_of("/user/mallory/") == "503"
    assert b"/user/mallory" not in origin.received


async def test_a_port_taken_over_by_another_job_is_noticed_at_once(
    make_tls_edge, make_origin, jobs_ca
):
    edge = await make_tls_edge()
    origin = await make_origin("alice", tls=jobs_ca.server_context(NAME))
    await add(edge, origin.port)
    for _ in range(5):
        assert await edge.origin_of("/user/alice/") == "alice"
    await origin.stop()
    tls = jobs_ca.server_context(OTHER)
    squatter = await make_origin("mallory", port=origin.port, tls=tls)
    for _ in range(5):
        answer = await edge.ask("/user/alice/lab", headers=SECRET)
        assert answer.status == 503
    assert squatter.received == b""


async def test_no_tls_session_is_resumed(make_tls_edge, make_origin, jobs_ca):
    """Every connection is verified from the start, for nothing else looks again."""
    edge = await make_tls_edge(threads=1)
    origin = await make_origin("alice", tls=jobs_ca.server_context(NAME))
    origin.closes = True
    await add(edge, origin.port)
    for _ in range(6):
        assert await edge.origin_of("/user/alice/") == "alice"
    assert origin.connections >= 6
    assert origin.resumed == 0


async def test_reused_connections_never_mix_peers(make_tls_edge, make_origin, jobs_ca):
    edge = await make_tls_edge(threads=2)
    names = [f"u{i}" for i in range(6)]
    for name in names:
        domain = f"j-{name}.landbridge.internal"
        origin = await make_origin(name, tls=jobs_ca.server_context(domain))
        await add(edge, origin.port, domain, f"/user/{name}/")

    async def client(offset: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        for step in range(60):
            name = names[(offset + step * 5) % len(names)]
            if step % 7 == 0:  # somebody gives up in the middle
                _, rude = await asyncio.open_connection("127.0.0.1", edge.port)
                rude.write(
                    f"GET /user/{name}/?rude HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                await rude.drain()
                rude.transport.abort()
            head = f"GET /user/{name}/?n={step} HTTP/1.1\r\nHost: gateway.example\r\n"
            writer.write(head.encode() + b"\r\n")
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r")[0])
            body = await reader.readexactly(length)
            assert f'"origin": "{name}"'.encode() in body
            assert f"/user/{name}/?n={step} ".encode() in body
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for offset in range(6):
            group.create_task(client(offset))


async def test_browsers_get_tls_with_the_sites_certificate(
    make_edge, make_authority, make_origin
):
    site = make_authority("site-ca")
    pem = site.issue("gateway.example")
    edge = await make_edge(ssl_cert=str(pem))
    answer = await edge.ask("/hub/", tls=site.client_context())
    assert "x-forwarded-proto: https" in answer.json["head"].lower()
    old = ssl.create_default_context(cafile=str(site.path))
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await edge.ask("/hub/", tls=old)


async def test_plain_http_is_redirected_to_https(make_edge, make_authority, free_port):
    port = free_port()
    pem = make_authority("site-ca").issue("gateway.example")
    edge = await make_edge(ssl_cert=str(pem), redirect_address=f"127.0.0.1:{port}")
    public, edge.port = edge.port, port
    answer = await edge.ask("/hub/spawn?x=1")
    assert answer.status == 308
    assert answer.headers["location"] == (
        f"https://gateway.example:{public}/hub/spawn?x=1"
    )


async def test_a_renewed_certificate_is_served_without_a_gap(
    make_edge, make_authority, make_origin
):
    site = make_authority("site-ca")
    pem = site.issue("gateway.example")
    edge = await make_edge(ssl_cert=str(pem))
    first = edge.pid
    task = asyncio.create_task(_ask_until_cancelled(edge, site.client_context()))
    site.issue("gateway.example")
    await edge.reload()
    assert edge.pid != first
    await edge.ask("/hub/", tls=site.client_context())
    task.cancel()
    statuses = await task
    assert statuses
    assert set(statuses) == {200}


async def _ask_until_cancelled(edge, tls) -> list[int]:
    statuses = []
    try:
        while True:
            statuses.append((await edge.ask("/hub/", tls=tls)).status)
    except asyncio.CancelledError:
        return statuses


async def test_compute_nodes_reach_the_hubs_api_and_nothing_else(
    make_edge, make_authority, make_origin, make_service
):
    ca = make_authority("edge-ca")
    storage = await make_service("storage")
    edge = await make_edge(
        base_url="/base/",
        jobs_certificate=str(ca.issue("gateway.example")),
        services={"storage": storage.path},
    )
    origin = await make_origin("alice")
    await edge.proxy.add_route("/base/user/alice/", origin.url, {})
    edge.port, tls = edge.jobs_port, ca.client_context()
    for path in ("/base/hub/api/users", "/base/hub/api"):
        assert await edge.origin_of(path, tls=tls) == "hub"
    path = "/base/services/storage/api/v1/credentials"
    assert await edge.origin_of(path, tls=tls) == "storage"
    storage.received = b""
    for path in (
        "/base/hub/login",
        "/base/user/alice/",
        "/",
        "/hub/api/",
        "/base/hub/apix/",
        "/base/hub/api/../login",
        "/base/hub/api/%2e%2e/login",
        "/base/hub/api/..%2flogin",
        "/base/hub/api/..;/login",
        "//base/hub/api/",
        "/base/services/storage/",
        "/base/services/storage/api/../link/x",
        "/base/services/other/api/v1/x",
    ):
        answer = await edge.ask(path, tls=tls)
        assert answer.status == 404, path
        assert answer.json["status"] == 404
    assert origin.received == b""
    assert storage.received == b""
