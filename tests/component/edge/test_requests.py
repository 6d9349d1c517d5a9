"""What of a request is passed on, what is refused, and what HAProxy says itself."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import websockets
from jupyterhub.utils import url_escape_path

IDENTITY = [
    "X-Remote-User",
    "x-remote-user",
    "X_Remote_User",
    "Remote-User",
    "REMOTE_USER",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X_Forwarded_For",
    "X-Forwarded-Prefix",
    "X-Auth-Request-User",
    "X-Auth-Token",
    "X-Landbridge-Key",
    "X_Landbridge_Key",
    "X-Real-IP",
    "X-Scheme",
    "X-Client-Cert",
    "X-SSL-Client-DN",
    "SSL-Client-S-DN",
    "X-WebAuth-User",
    "X-Authenticated-User",
    "X-Goog-Authenticated-User-Email",
    "OIDC-Claim-Sub",
    "X-Original-URL",
    "X-Rewrite-URL",
    "True-Client-IP",
    "Forwarded",
    "Proxy",
]


def headers_of(answer) -> list[tuple[str, str]]:
    lines = answer.json["head"].split("\r\n")[1:]
    return [tuple(line.lower().split(": ", 1)) for line in lines if line]


@pytest.mark.parametrize("path", ["/user/alice/", "/hub/home", "/hub/api/users"])
async def test_headers_that_claim_an_identity_do_not_pass(make_edge, make_origin, path):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    sent = [f"{name}: forged" for name in IDENTITY for _ in range(2)]
    sent += ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X-Kept: kept"]
    sent += ["X-Forwarded-Proto: https, https", "X-Forwarded-Port: 1"]
    answer = await edge.ask(path, headers=tuple(sent))
    headers = headers_of(answer)
    assert "forged" not in answer.json["head"]
    assert [v for k, v in headers if k == "x-forwarded-for"] == ["127.0.0.1"]
    assert [v for k, v in headers if k == "x-forwarded-proto"] == ["http"]
    assert [v for k, v in headers if k == "x-forwarded-host"] == ["gateway.example"]
    assert [v for k, v in headers if k == "x-forwarded-port"] == [str(edge.port)]
    assert ("x-kept", "kept") in headers


async def test_connection_cannot_name_our_headers_away(make_edge):
    edge = await make_edge()
    answer = await edge.ask(
        "/hub/", headers=("Connection: close, X-Forwarded-For, x-forwarded-proto",)
    )
    headers = dict(headers_of(answer))
    assert "x-forwarded" not in headers.get("connection", "")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    upgrade = (
        "Connection: Upgrade, X-Forwarded-For",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    head = await edge.head_of("/hub/", headers=upgrade)
    assert "connection: upgrade\r\n" in head.lower()
    head = await edge.head_of("/hub/", headers=("Connection: Upgrade", "Upgrade: h2c"))
    assert "h2c" not in head


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        ("GET", UPGRADE, True),
        ("POST", UPGRADE, False),
        ("POST", (), False),
        ("GET", (), False),
        ("GET", UPGRADE[:1], False),
        ("GET", UPGRADE[1:], False),
    ],
)
async def test_only_a_websocket_says_that_it_opens_one(
    make_edge, method, headers, passes
):
    """The hub's and the services' XSRF checks ask such a request nothing."""
    edge = await make_edge()
    for word in ("websocket", "WebSocket"):
        sent = (*headers, f"Sec-Fetch-Mode: {word}")
        head = await edge.head_of("/hub/x", method=method, headers=sent)
        assert ("sec-fetch-mode" in head.lower()) is passes
    kept = await edge.head_of(
        "/hub/x", method=method, headers=("Sec-Fetch-Mode: cors",)
    )
    assert "cors" in kept


async def test_cookies_authorization_and_the_path_pass_as_they_are(
    make_edge, make_origin
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    path = "/user/alice/api/contents/a%2Fb%20c//d;x=1/%E2%82%AC?q=%2F..%2F&a+b"
    kept = ("Cookie: a=1; b=2", "Authorization: token secret")
    answer = await edge.ask(path, headers=kept)
    head = answer.json["head"]
    assert head.startswith(f"GET {path} HTTP/1.1\r\n")
    assert {("cookie", "a=1; b=2"), ("authorization", "token secret")} <= set(
        headers_of(answer)
    )


@pytest.mark.parametrize(
    "walk",
    ["..", "%2e%2e", ".%2E", "..;", "..;x=1", "%2e%2e%3b", "..%2f", "..%5c", "x%2f.."],
)
async def test_a_path_that_walks_up_reaches_nobody(make_edge, make_origin, walk):
    edge = await make_edge()
    origins = {name: await make_origin(name) for name in ("alice", "bob")}
    for name, origin in origins.items():
        await edge.proxy.add_route(f"/user/{name}/", origin.url, {})
    answer = await edge.ask(f"/user/alice/{walk}/bob/lab")
    assert answer.status == 400
    assert not any(origin.received for origin in origins.values())
    assert not edge.hub.received


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("//user/alice/", "hub"),
        ("/./user/alice/", "hub"),
        ("/user//alice/", "hub"),
        ("/user%2falice/", "hub"),
        ("/user/alice%2f", "hub"),
        ("/user/bob%2f..alice/", "hub"),
        ("/user/%61lice/", "alice"),
        ("/user/ALICE/", "hub"),
        ("/user/alice;x/", "hub"),
        ("/user/alice%3b/", "hub"),
        ("/user/alice%20/", "hub"),
        ("/user/alice%zz/", "hub"),
        ("/user/alice/..hidden/...", "alice"),
        ("/user/alice%00/", "400"),
        ("/user/alice/%00", "400"),
        ("/user/alice/a%2Fb", "alice"),
        ("/user/%2561lice/", "hub"),
        ("/user\\alice/", "hub"),
    ],
)
async def test_other_spellings_never_reach_somebody_elses_server(
    make_edge, make_origin, path, who
):
    edge = await make_edge()
    for name in ("alice", "bob"):
        origin = await make_origin(name)
        await edge.proxy.add_route(f"/user/{name}/", origin.url, {})
    assert await edge.origin_of(path) == who


@pytest.mark.parametrize(
    "name", ["zoé", "a@b.org", "日本", "o'neil", "x y", "a+b", "~t", "50%"]
)
async def test_names_outside_ascii_are_found_in_every_spelling(
    make_edge, make_origin, name
):
    edge = await make_edge()
    origin = await make_origin("right")
    spec = f"/user/{url_escape_path(name)}/"
    await edge.proxy.add_route(spec, origin.url, {"user": name})
    everything = "".join(f"%{byte:02x}" for byte in name.encode())
    for path in (spec, spec.lower(), f"/user/{everything}/lab"):
        assert await edge.origin_of(path) == "right", path
    assert list(await edge.proxy.get_all_routes()) == [spec]
    await edge.proxy.delete_route(spec)
    assert await edge.origin_of(spec) == "hub"


async def test_host_routing(make_edge, make_origin):
    edge = await make_edge(host_routing=True)
    for host in ("alice.hub.example", "bob.hub.example"):
        origin = await make_origin(host)
        await edge.proxy.add_route(f"{host}/user/x/", origin.url, {})
    ask = edge.origin_of
    assert await ask("/user/x/", host="alice.hub.example") == "alice.hub.example"
    assert await ask("/user/x/", host="BOB.hub.example.:80") == "bob.hub.example"
    assert await ask("/user/x/", host="hub.example") == "hub"
    assert await ask("/user/x/", host="evil%2falice.hub.example") in {"hub", "400"}
    with pytest.raises(ValueError, match="host"):
        await edge.proxy.add_route("/user/x/", origin.url, {})


async def test_only_named_hosts_are_served(make_edge):
    edge = await make_edge(hosts=["gateway.example", "localhost"])
    assert await edge.origin_of("/", host="gateway.example:8000") == "hub"
    assert await edge.origin_of("/", host="evil.example") == "400"


async def test_a_trusted_proxy_in_front_says_who_and_how(make_edge):
    edge = await make_edge(trusted_proxies=["127.0.0.0/8"])
    sent = ("X-Forwarded-For: 6.6.6.6, 10.1.2.3", "X-Forwarded-Proto: https")
    headers = dict(headers_of(await edge.ask("/hub/", headers=sent)))
    assert headers["x-forwarded-for"] == "10.1.2.3"
    assert headers["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_methods_that_are_for_proxies_are_refused(make_edge, method):
    edge = await make_edge()
    target = "gateway.example" if method == "CONNECT" else "/hub/"
    answer = await edge.ask(target, method=method)
    assert answer.status in {400, 405}
    assert edge.hub.received == b""


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: +5",),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length : 5",),
        ("Transfer-Encoding: chunked, identity",),
    ],
)
async def test_ambiguous_framing_is_refused(make_edge, framing):
    edge = await make_edge()
    answer = await edge.ask("/hub/", method="POST", headers=framing)
    assert answer.status in {400, 422, 501}
    assert edge.hub.received == b""


async def test_when_the_hub_is_away_a_browser_gets_a_page_that_comes_back(make_edge):
    edge = await make_edge(base_url="/base/")
    await edge.hub.stop()
    page = await edge.ask("/base/hub/home", headers=("Accept: text/html,*/*",))
    assert page.status == 503
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["retry-after"] == "5"
    assert b"The gateway is restarting" in page.body
    assert b'http-equiv="refresh"' in page.body
    assert b'href="/base/hub/home"' in page.body
    for path, accept in {"/hub/api/x": "text/html", "/x": "application/json"}.items():
        answer = await edge.ask(path, headers=(f"Accept: {accept}",))
        assert (answer.status, answer.json["status"]) == (503, 503)
        assert answer.headers["content-type"] == "application/json"


async def test_a_server_that_is_gone_gets_its_own_words(make_edge, make_origin):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    await origin.stop()
    path = "/user/alice/<script>alert(1)</script>"
    page = await edge.ask(path, headers=("Accept: text/html",))
    assert page.status == 503
    assert b"This server does not answer" in page.body
    assert b"alert" not in page.body
    answer = await edge.ask("/user/alice/api/kernels")
    assert "does not answer" in answer.json["message"]


async def test_websockets_pass_both_ways_and_outlive_a_reload(make_edge):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    edge = await make_edge()
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await edge.proxy.add_route("/user/alice/", f"http://127.0.0.1:{port}", {})
        url = f"ws://127.0.0.1:{edge.port}/user/alice/api/kernels/1/channels"
        async with websockets.connect(url) as socket:
            for message in ("hello", b"\0\1\2" * 100_000):
                await socket.send(message)
                assert await socket.recv() == message
            before = edge.pid
            edge.told["tunnel_timeout"] = 301
            await edge.reload()
            assert edge.pid != before
            await socket.send("still here")
            assert await socket.recv() == "still here"


async def test_a_stream_arrives_as_it_is_sent(make_edge):
    sent: list[float] = []

    async def stream(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            sent.append(time.monotonic())
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")
        writer.close()

    edge = await make_edge()
    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await edge.proxy.add_route("/user/alice/", f"http://127.0.0.1:{port}", {})
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /user/alice/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        seen = []
        while (await reader.readline()) != b"0\r\n":
            seen.append(time.monotonic())
            await reader.readline()
        writer.close()
    lags = sorted(b - a for a, b in zip(sent, seen, strict=True))
    assert lags[len(lags) // 2] < 0.05, json.dumps(lags)


async def test_prometheus_finds_metrics_where_it_was_told(make_edge, directory):
    path, token = directory / "metrics.sock", directory / "metrics.token"
    token.write_text("the right token\n")
    token.chmod(0o600)
    edge = await make_edge(metrics_address=str(path), metrics_token=token)
    assert path.stat().st_mode & 0o777 == 0o600

    async def ask(authorization: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        head = f"Authorization: {authorization}\r\n" if authorization else ""
        writer.write(f"GET /metrics HTTP/1.0\r\n{head}\r\n".encode())
        text = await reader.read(-1)
        writer.close()
        return text

    token.write_text("right\n")
    await edge.reload()
    for wrong in ("", "Bearer", "Bearer wrong", "Bearer the", "right", "Bearer nobody"):
        assert (await ask(wrong)).startswith(b"HTTP/1.1 401"), wrong
    assert b"haproxy_process_uptime_seconds" in await ask("Bearer right")
    for file in edge.directory.iterdir():
        assert not file.is_file() or b"right" not in file.read_bytes(), file


async def test_without_a_token_nobody_reads_the_metrics(make_edge, directory):
    path = directory / "metrics.sock"
    await make_edge(metrics_address=str(path))
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /metrics HTTP/1.0\r\nAuthorization: Bearer nobody\r\n\r\n")
    assert (await reader.read(-1)).startswith(b"HTTP/1.1 401")
    writer.close()
