"""What one client may take of the edge: bodies, time, connections, sign-ins."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time

import pytest

MIB = 1024**2


class Hub:
    """A hub that reads bodies, and says how many bytes came and how many at a time."""

    def __init__(self) -> None:
        self.bodies: list[int] = []
        self.at_once = self.most_at_once = 0
        self.status = b"200 OK"
        self.hold = asyncio.Event()
        self.hold.set()
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def start_unix(self, path) -> None:
        self.server = await asyncio.start_unix_server(
            self._serve, path, limit=4 * MIB, backlog=512
        )

    async def _serve(self, reader, writer) -> None:
        self.writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    body = await reader.readexactly(int(length[1]) if length else 0)
                    await self.hold.wait()
                finally:
                    self.at_once -= 1
                self.bodies.append(len(body))
                text = json.dumps({"origin": "hub", "head": head.decode("latin-1")})
                writer.write(
                    b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s"
                    % (self.status, len(text), text.encode())
                )
                await writer.drain()
        writer.close()

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.close()


@pytest.fixture
async def hub(directory):
    hub = Hub()
    await hub.start_unix(directory / "hub.sock")
    yield hub
    await hub.stop()


async def post(edge, path, body=b"", *, headers=(), tls=None, port=0, html=False):
    """Send a POST whole and return status, headers and body."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port or edge.port, ssl=tls, server_hostname="gw" if tls else None
    )
    head = [f"POST {path} HTTP/1.1", "Host: gw", "Connection: close", *headers]
    if not any("ontent-" in line or "ransfer-" in line for line in headers):
        head.append(f"Content-Length: {len(body)}")
    if html:
        head.append("Accept: text/html")
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    with contextlib.suppress(OSError):
        await writer.drain()
    async with asyncio.timeout(30):
        raw = await reader.read(-1)
    writer.close()
    top, _, rest = raw.partition(b"\r\n\r\n")
    return int(top.split(b" ")[1]), top.decode().lower(), rest


@pytest.fixture
def both_fronts(make_edge, make_authority, hub):
    """Return the edge, and the ways in: the browsers' and the jobs'."""

    async def made(**traits):
        authority = make_authority("hub")
        certificate = str(authority.issue("gw"))
        edge = await make_edge(hub=hub, jobs_certificate=certificate, **traits)
        jobs = {"port": edge.jobs_port, "tls": authority.client_context()}
        return edge, ({}, jobs)

    return made


PATH = "/hub/api/landbridge/x"


async def test_a_body_to_the_hub_has_a_bound_at_every_front(both_fronts, hub):
    edge, ways = await both_fronts()
    for way in ways:
        for length in (MIB + 1, 95 * MIB, 2**32 + 1, 2**63, 10**30):
            headers = (f"Content-Length: {length}",)
            status, _, body = await post(edge, PATH, headers=headers, **way)
            assert status in (400, 413), length  # 400: HAProxy's own, no number
            if length < 2**60:
                assert status == 413
                assert json.loads(body)["status"] == 413
        headers = ("Transfer-Encoding: chunked",)
        status, _, body = await post(
            edge, PATH, b"5\r\nhello\r\n", headers=headers, **way
        )
        assert (status, json.loads(body)["status"]) == (411, 411)
        assert hub.bodies == []
        assert (await post(edge, PATH, b"x" * MIB, **way))[0] == 200
        assert (await post(edge, PATH, b"x" * 100, **way))[0] == 200
        assert hub.bodies == [MIB, 100]
        hub.bodies.clear()
    _, _, page = await post(
        edge, "/hub/login", headers=("Content-Length: 5000000",), html=True
    )
    assert b"more than the gateway takes" in page


async def test_servers_and_the_store_keep_large_bodies(make_edge, hub, make_origin):
    edge = await make_edge(hub=hub)
    target = Hub()
    target.server = await asyncio.start_server(target._serve, "127.0.0.1", 0)
    port = target.server.sockets[0].getsockname()[1]
    await edge.proxy.add_route("/user/alice/", f"http://127.0.0.1:{port}", {})
    status, _, _ = await post(edge, "/user/alice/api/contents/x", b"x" * 3 * MIB)
    assert (status, target.bodies) == (200, [3 * MIB])
    await target.stop()


@pytest.mark.parametrize("length", [100, 12_000])
async def test_a_body_that_does_not_come_ends_in_time(both_fronts, hub, length):
    edge, ways = await both_fronts(body_timeout=1)

    async def drip(way) -> tuple[float, bytes]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            way.get("port", edge.port),
            ssl=way.get("tls"),
            server_hostname="gw" if way else None,
        )
        began = time.monotonic()
        head = [f"POST {PATH} HTTP/1.1", "Host: gw", f"Content-Length: {length}"]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
        answer = asyncio.ensure_future(reader.read(-1))
        with contextlib.suppress(OSError):
            while not answer.done() and time.monotonic() - began < 15:
                writer.write(b"x")
                await asyncio.wait({answer}, timeout=0.25)
        writer.close()
        return time.monotonic() - began, await answer

    for took, raw in await asyncio.gather(*(drip(way) for way in ways)):
        assert raw.startswith(b"HTTP/1.1 408"), raw
        assert b"did not arrive" in raw
        assert took < 10, "the limit is 1 s"
    assert hub.bodies == []


async def test_large_bodies_reach_the_hub_a_few_at_a_time(make_edge, hub):
    edge = await make_edge(hub=hub)
    hub.hold.clear()
    many = [asyncio.create_task(post(edge, PATH, b"x" * 500_000)) for _ in range(60)]
    while hub.at_once < 32:
        await asyncio.sleep(0.05)
    assert (await asyncio.wait_for(_answered(edge, hub), 10)) == 200
    assert hub.most_at_once <= 33
    hub.hold.set()
    assert {answer[0] for answer in await asyncio.gather(*many)} == {200}


async def _answered(edge, hub) -> int:
    """A small request comes through while the large ones are held."""
    task = asyncio.create_task(edge.ask("/hub/home"))
    while hub.at_once < 33:
        await asyncio.sleep(0.05)
    hub.hold.set()
    return (await task).status


async def test_failed_sign_ins_of_one_source_come_to_an_end(make_edge, hub):
    edge = await make_edge(hub=hub, sign_in_failures=5)
    hub.status = b"302 Found"
    for _ in range(12):
        assert (await post(edge, "/hub/login"))[0] == 302, "who gets in is no failure"
    hub.status = b"403 Forbidden"
    spellings = ["/hub/login", "/hub/%6cogin", "//hub//login/", "/hub/login?next=%2F"]
    spellings.append("/hub/oauth_callback?code=1")
    for path in spellings:
        assert (await post(edge, path))[0] == 403
    for path in spellings:
        status, head, body = await post(edge, path, html=True)
        assert status == 429
        assert "retry-after: 120" in head
        assert b"Too many failed sign-ins" in body
    hub.status = b"200 OK"
    count = len(hub.bodies)
    assert (await post(edge, "/hub/login"))[0] == 429, "even with the right password"
    assert len(hub.bodies) == count
    assert (await edge.ask("/hub/login")).status == 200
    assert (await edge.ask("/hub/home")).status == 200
    assert (await post(edge, "/hub/api/x"))[0] == 200


async def test_attempts_that_do_not_wait_for_an_answer_come_to_an_end(make_edge, hub):
    edge = await make_edge(hub=hub, sign_in_failures=5)
    hub.hold.clear()
    many = [asyncio.create_task(post(edge, "/hub/login")) for _ in range(60)]
    async with asyncio.timeout(10):
        while sum(task.done() for task in many) < 60 - 25:
            await asyncio.sleep(0.02)
    assert hub.at_once == 25
    hub.hold.set()
    statuses = [answer[0] for answer in await asyncio.gather(*many)]
    assert sorted(statuses) == [200] * 25 + [429] * 35


async def test_a_classroom_behind_one_address_signs_in_by_default(make_edge, hub):
    """200 people, of whom most mistype their password at first."""
    edge = await make_edge(hub=hub)
    for status, times in ((b"403 Forbidden", 150), (b"302 Found", 200)):
        hub.status = status
        many = (post(edge, "/hub/login") for _ in range(times))
        answers = {answer[0] for answer in await asyncio.gather(*many)}
        assert answers == {int(status.split()[0])}


async def test_behind_a_trusted_proxy_each_client_counts_for_itself(make_edge, hub):
    edge = await make_edge(hub=hub, sign_in_failures=3, trusted_proxies=["127.0.0.0/8"])
    hub.status = b"403 Forbidden"

    async def tries(client: str) -> int:
        headers = (f"X-Forwarded-For: 6.6.6.6, {client}", "Content-Length: 0")
        return (await post(edge, "/hub/login", headers=headers))[0]

    assert [await tries("10.0.0.1") for _ in range(5)] == [403] * 3 + [429] * 2
    assert await tries("10.0.0.2") == 403
    # One household of IPv6 is one source, the next one another.
    assert [await tries(f"2001:db8:1:1::{n}") for n in range(5)] == [403] * 3 + [
        429
    ] * 2
    assert await tries("2001:db8:1:2::1") == 403


async def test_one_source_cannot_take_all_connections(make_edge, hub):
    edge = await make_edge(hub=hub, connections_per_source=20)
    idle = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(20)]
    async with asyncio.timeout(5):
        while int((await edge.proxy.runtime.info())["CurrConns"]) < 20:
            await asyncio.sleep(0.02)
    answer = await edge.ask("/hub/home", headers=("Accept: text/html",))
    assert answer.status == 429
    assert b"Too many connections" in answer.body
    for _ in range(40):
        with contextlib.suppress(OSError):
            idle.append(await asyncio.open_connection("127.0.0.1", edge.port))
    info = await edge.proxy.runtime.info()
    assert int(info["CurrConns"]) <= 25
    for _, writer in idle:
        writer.close()

    async def served() -> bool:
        with contextlib.suppress(OSError):
            return (await edge.ask("/hub/home")).status == 200
        return False

    async with asyncio.timeout(5):
        while not await served():
            await asyncio.sleep(0.05)


async def test_one_server_leaves_connections_for_others(make_edge, hub, make_origin):
    edge = await make_edge(hub=hub, connections_per_server=5)
    held = Hub()
    held.hold.clear()
    held.server = await asyncio.start_server(held._serve, "127.0.0.1", 0)
    port = held.server.sockets[0].getsockname()[1]
    alices = f"http://127.0.0.1:{port}"
    await edge.proxy.add_route("/user/alice/", alices, {"user": "alice"})
    bob = await make_origin("bob")
    await edge.proxy.add_route("/user/bob/", bob.url, {"user": "bob"})
    waiting = [asyncio.create_task(edge.ask("/user/alice/x")) for _ in range(5)]
    while held.at_once < 5:
        await asyncio.sleep(0.02)
    answer = await edge.ask("/user/alice/api/kernels")
    assert answer.status == 429
    assert "to this server" in answer.json["message"]
    assert await edge.origin_of("/user/bob/") == "bob"
    assert (await edge.ask("/hub/home")).status == 200
    held.hold.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await edge.ask("/user/alice/x")).status == 200
    await held.stop()


@pytest.mark.parametrize(
    "path",
    [
        "/hub/api/landbridge/jobs/fetch",
        "/hub/api/landbridge/%6aobs/ready",
        "//hub/api//landbridge/jobs/ended",
    ],
)
async def test_jobs_report_on_their_own_front_only(both_fronts, hub, path):
    edge, (_, jobs) = await both_fronts()
    assert (await post(edge, path, b"{}"))[0] == 404
    assert hub.bodies == []
    plain = path.replace("%6a", "j").replace("//", "/")
    assert (await post(edge, plain, b"{}", **jobs))[0] == 200


def _h2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame of HTTP/2."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """One header in HPACK, neither indexed nor compressed."""
    words = (word.encode() for word in (name, value))
    return b"\0" + b"".join(bytes([len(word)]) + word for word in words)


@pytest.mark.parametrize(
    ("size", "words"), [(20, "did not arrive"), (20_000, "Say by")]
)
async def test_a_body_of_untold_length_over_http2_does_not_reach_the_hub(
    make_edge, make_authority, hub, size, words
):
    """There is no chunked encoding there: every body may come without a length."""
    authority = make_authority("hub")
    certificate = str(authority.issue("gw"))
    edge = await make_edge(
        hub=hub, ssl_cert=certificate, ssl_key=certificate, body_timeout=1
    )
    tls = authority.client_context()
    tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", edge.port, ssl=tls, server_hostname="gw"
    )
    named = {":method": "POST", ":scheme": "https", ":path": PATH, ":authority": "gw"}
    headers = b"".join(_literal(name, value) for name, value in named.items())
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _h2(4, 0, 0, b""))
    writer.write(_h2(1, 4, 1, headers) + _h2(0, 0, 1, b"x" * min(size, 16_000)))
    writer.write(_h2(0, 0, 1, b"x" * max(0, size - 16_000)))
    raw = b""
    async with asyncio.timeout(10):
        while words.encode() not in raw:
            raw += await reader.read(4096)
            assert not reader.at_eof(), raw
    writer.close()
    assert hub.bodies == []
    assert hub.most_at_once == 0
