"""Users' servers at the edge: who loads them, and what they may leave behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.edge.admissions import OWN, VISIT, admission_key

ANN, EVE = "a" * 32, "e" * 32
WINDOW = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
FETCH = ("Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*")
FRAME = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html")
PLAIN = ("Accept: text/html,application/xhtml+xml",)


def key(session: str, owner: str) -> str:
    return admission_key(hashlib.sha256(session.encode()).hexdigest(), owner)


def cookie(*sessions: str, more: str = "") -> str:
    parts = [f"jupyterhub-session-id={one}" for one in sessions]
    return f"Cookie: {'; '.join([*parts, *filter(None, [more])])}"


@dataclass
class Hostile:
    """A server that answers with whatever headers a test gives it."""

    answer: list[str] = field(default_factory=list)
    status: str = "200 OK"
    heads: list[str] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        except asyncio.IncompleteReadError:
            writer.close()
            return
        self.heard.set()
        lines = [f"HTTP/1.1 {self.status}", *self.answer, "Content-Length: 2"]
        writer.write(("\r\n".join([*lines, "Connection: close", "", "ok"])).encode())
        await writer.drain()
        writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def hostile():
    """Eve's server."""
    made = Hostile()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
async def edge(make_edge, make_origin, hostile):
    """Ann's and eve's servers; each is signed in, and ann visits eve."""
    edge = await make_edge(guard_users=True)
    ann = await make_origin("ann")
    for name, url in (("ann", ann.url), ("eve", hostile.url), ("an", hostile.url)):
        await edge.proxy.add_route(f"/user/{name}/", url, {"user": name})
    edge.proxy.admissions.replace(
        {key(ANN, "ann"): OWN, key(EVE, "eve"): OWN, key(ANN, "eve"): VISIT}
    )
    assert await edge.proxy.admissions.tell()
    return edge


async def heads(edge, hostile, path: str, *headers: str) -> list[str]:
    """Return what reached the server; the answer to an upgrade has no end."""
    hostile.heads.clear()
    hostile.heard.clear()
    tasks = [
        asyncio.create_task(edge.ask(path, headers=headers)),
        asyncio.create_task(hostile.heard.wait()),
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return hostile.heads


async def test_a_browser_loads_its_own_server_alone(edge) -> None:
    for way in (WINDOW, FETCH, PLAIN, FRAME):
        answer = await edge.ask("/user/ann/lab", headers=(cookie(ANN), *way))
        assert answer.json["origin"] == "ann"
    strangers = [(), (cookie(EVE),), (cookie("0" * 32),), (cookie(ANN, EVE),)]
    strangers += [(cookie(""),), (cookie(ANN.upper()),), (cookie(f'"{ANN}"'),)]
    for sent in strangers:
        for way in (WINDOW, PLAIN):
            answer = await edge.ask("/user/ann/lab?x=1&y=%2F", headers=(*sent, *way))
            assert answer.status == 303
            place = "/hub/visit?next=%2Fuser%2Fann%2Flab%3Fx%3D1%26y%3D%252F"
            assert answer.headers["location"] == place
        for way in (FETCH, FRAME, ("Accept: */*",)):
            answer = await edge.ask("/user/ann/lab", headers=(*sent, *way))
            assert (answer.status, answer.json["status"]) == (403, 403)
        answer = await edge.ask("/user/ann/", headers=(*sent, *WINDOW), method="POST")
        assert answer.status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/user/eve",
        "/user/eve/",
        "/user/%65ve/x",
        "/%75ser/eve/x",
        "/user/eve/x?token=abc",
        "/user/eve/api/kernels",
        "/user/an/",
    ],
)
async def test_no_spelling_of_an_address_passes_a_stranger(edge, hostile, path):
    zoe = "2" * 32
    edge.proxy.admissions.change({}, {key(zoe, "zoe"): OWN})
    await edge.proxy.admissions.tell()
    for sent in ((), (cookie(zoe),)):
        for way in (WINDOW, PLAIN, FETCH):
            assert await heads(edge, hostile, path, *sent, *way) == []


async def test_a_name_that_begins_like_another_is_another(edge, hostile) -> None:
    assert await heads(edge, hostile, "/user/an/", cookie(ANN), *WINDOW) == []


async def test_programs_come_with_a_token_in_a_header(edge, hostile) -> None:
    for word in ("token abc", "Bearer abc", "bearer abc"):
        sent = (f"Authorization: {word}",)
        answer = await edge.ask("/user/ann/api", headers=sent)
        assert answer.json["origin"] == "ann"
    for word in ("Basic YTpi", "tokenabc", "", "Negotiate token x"):
        sent = (f"Authorization: {word}", *WINDOW)
        assert (await edge.ask("/user/ann/api", headers=sent)).status == 303
    # What a script of another site asks before it may send a token.
    answer = await edge.ask("/user/ann/api", method="OPTIONS")
    assert answer.json["origin"] == "ann"
    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert await heads(edge, hostile, "/user/eve/api?token=abc", *upgrade)
    assert not await heads(edge, hostile, "/user/eve/api", *upgrade)
    assert not await heads(edge, hostile, "/user/eve/api?token=abc", *FETCH)


async def test_a_session_that_ends_passes_nobody_from_then_on(edge) -> None:
    edge.proxy.admissions.change({key(ANN, "ann"): OWN}, {})
    await edge.proxy.admissions.tell()
    answer = await edge.ask("/user/ann/", headers=(cookie(ANN), *WINDOW))
    assert answer.status == 303


@dataclass
class Connection:
    """One that stays open, as a browser's, or as a front proxy's for many browsers."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def whose(self, path: str, *headers: str) -> str | int:
        """Return who answers, or the status of a refusal."""
        lines = [f"GET {path} HTTP/1.1", "Host: gateway.example", *headers]
        self.writer.write(("\r\n".join([*lines, "", ""])).encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        body = await self.reader.readexactly(int(length or 0))
        status = int(head.split(" ")[1])
        return str(json.loads(body)["origin"]) if status == 200 else status


async def test_requests_of_a_connection_are_known_by_their_own_cookies(
    edge, make_origin
) -> None:
    eves = await make_origin("eve")
    await edge.proxy.add_route("/user/eve/", eves.url, {"user": "eve"})
    streams = await asyncio.open_connection("127.0.0.1", edge.port)
    one = Connection(*streams)
    lab = "/user/ann/lab"
    for sent, answer in (
        ((), 403),
        ((cookie(ANN),), "ann"),
        ((cookie(ANN),), "ann"),
        ((cookie(EVE),), 403),
        ((cookie(EVE),), 403),
        ((), 403),
        ((cookie(ANN),), "ann"),
        ((cookie(ANN, EVE),), 403),
        ((cookie(ANN, EVE),), 403),
        ((cookie(EVE, ANN),), 403),
        ((cookie(EVE), cookie(ANN)), 403),
        ((cookie(ANN, more="theme=dark"),), "ann"),
        ((cookie("", more="theme=dark"),), 403),
        (("Cookie: theme=dark",), 403),
        ((cookie(ANN),), "ann"),
    ):
        assert await one.whose(lab, *FETCH, *sent) == answer, sent
    # The same cookies on the same connection: another server, and a session that ends.
    assert await one.whose("/user/eve/lab", *FETCH, cookie(EVE)) == "eve"
    assert await one.whose(lab, *FETCH, cookie(EVE)) == 403
    assert await one.whose(lab, *FETCH, cookie(ANN)) == "ann"
    edge.proxy.admissions.replace({})
    assert await edge.proxy.admissions.tell()
    assert await one.whose(lab, *FETCH, cookie(ANN)) == 403
    one.writer.close()


async def test_sessions_outlive_haproxy(edge, kill) -> None:
    wanted = {key(ANN, "ann"): OWN, key("1" * 32, "zo@é"): OWN}
    edge.proxy.admissions.replace(wanted)
    first = edge.pid
    kill(first)
    async with asyncio.timeout(20):
        while edge.pid in (None, first) or not await edge.proxy.admissions.tell():
            await asyncio.sleep(0.05)
    async with edge.proxy._changing:
        assert await edge.proxy.runtime.read_map("sessions.map") == wanted
    assert (edge.directory / "sessions.map").stat().st_mode & 0o077 == 0
    answer = await edge.ask("/user/ann/", headers=(cookie(ANN), *FETCH))
    assert answer.json["origin"] == "ann"


async def test_names_are_found_however_they_are_spelled(edge, hostile) -> None:
    name = "zoé@x y"
    await edge.proxy.add_route("/user/zo%C3%A9@x%20y/", hostile.url, {"user": name})
    edge.proxy.admissions.change({}, {key(ANN, name): OWN})
    await edge.proxy.admissions.tell()
    for path in ("/user/zo%c3%a9%40x%20y/", "/user/zo%C3%A9@x%20y/lab"):
        assert await heads(edge, hostile, path, cookie(ANN), *FETCH)
    assert not await heads(edge, hostile, "/user/zo%C3%A9@x%20y/", cookie(EVE), *FETCH)


async def test_the_same_below_another_base(make_edge, hostile) -> None:
    edge = await make_edge(guard_users=True, base_url="/a/b/")
    await edge.proxy.add_route("/a/b/user/eve/", hostile.url, {"user": "eve"})
    edge.proxy.admissions.replace({key(ANN, "eve"): VISIT})
    await edge.proxy.admissions.tell()
    hostile.answer = ["Set-Cookie: x=1; Path=/a/b/user/eve/"]
    answer = await edge.ask("/a/b/user/eve/", headers=(cookie(ANN), *WINDOW))
    assert answer.status == 200
    assert answer.headers["set-cookie"] == "x=1; Path=/a/b/user/eve/"
    assert "/a/b/user/eve/ " in answer.headers["content-security-policy"]
    answer = await edge.ask("/a/b/user/eve/", headers=WINDOW)
    assert answer.headers["location"].startswith("/a/b/hub/visit?next=%2Fa%2Fb%2Fuser")


async def test_objects_in_a_bucket_called_user_are_no_servers(
    make_edge, make_origin, hostile
) -> None:
    store = await make_origin("store")
    edge = await make_edge(guard_users=True, store=store.url)
    await edge.proxy.add_route("/user/eve/", hostile.url, {"user": "eve"})
    sent = ("Authorization: AWS4-HMAC-SHA256 x",)
    answer = await edge.ask("/user/eve/key", headers=sent)
    assert answer.json["origin"] == "store"


# -- what is sent to a server ------------------------------------------------------


def cookies_of(head: str) -> dict[str, str]:
    lines = [x for x in head.split("\r\n") if x.lower().startswith("cookie:")]
    assert len(lines) <= 1
    pairs = lines[0].partition(":")[2].split(";") if lines else []
    return dict(pair.strip().split("=", 1) for pair in pairs if pair.strip())


async def test_a_server_is_sent_nothing_that_signs_somebody_in(edge, hostile) -> None:
    more = (
        "jupyterhub-hub-login=L; service-storage=S; service-x-oauth-state=T; "
        "_xsrf=X, y; jupyterhub-user-eve=U; jupyterhub-hub-login=M; my-service-a=1"
    )
    [head] = await heads(edge, hostile, "/user/eve/", cookie(ANN, more=more), *WINDOW)
    sent = cookies_of(head)
    told = sent.pop("jupyterhub-session-id")
    assert sent == {
        "_xsrf": "X, y",
        "jupyterhub-user-eve": "U",
        "my-service-a": "1",
    }
    assert "L" not in sent.values()
    assert told == hashlib.sha256(f"{ANN}/eve".encode()).hexdigest().upper()
    # Her own server knows her session as before: its pages stay good over an upgrade.
    [head] = await heads(edge, hostile, "/user/eve/", cookie(EVE, more="a=b"), *WINDOW)
    assert cookies_of(head) == {"jupyterhub-session-id": EVE, "a": "b"}
    # A program's cookie is nobody's.
    sent = (cookie(ANN), "Authorization: token x")
    [head] = await heads(edge, hostile, "/user/an/", *sent)
    assert ANN not in head


# -- what a server answers -----------------------------------------------------------

KEPT = [
    "a=1; Path=/user/eve/",
    "a=1; Path=/user/eve",
    "a=1; path=/user/eve/lab; HttpOnly; Secure",
    'a="x, y"; expires=Thu, 01 Jan 2027 00:00:00 GMT; Path=/user/eve/; SameSite=Lax',
    "a=1",
    "a=; Max-Age=0",
    "a=1; Path=/; Path=/user/eve/",
    "a=1;Path = /user/eve/ ;HttpOnly",
]
TAKEN = [
    "a=1; Path=/",
    "a=1; Path=/hub/",
    "a=1; Path=/user/",
    "a=1; Path=/user/ev",
    "a=1; Path=/user/evelyn",
    "a=1; Path=/user/ann/",
    "a=1; Path=/user/eve/; Path=/",
    "a=1; Path=/user/eve/; PATH=/hub/",
    "a=1; Path=/user/eve/;\tpath\t=/",
    "a=1; Path=/user/eve/; Path",
    "a=1; Path=/user/eve/; Path=",
    "a=1; Path=",
    "a=1; Domain=example.org",
    "a=1; Path=/user/eve/; domain=.example.org",
    "a=1; Domain=x; Path=/user/eve/",
    "__Host-a=1; Path=/; Secure",
    "__host-a=1",
    "jupyterhub-session-id=E; Path=/user/eve/",
    "jupyterhub-hub-login=E; Path=/user/eve/",
    "JupyterHub-Session-Id=E",
    "/user/eve a=1; Path=/",
    "/user/eve /user/eve a=1; Path=/hub",
]


@pytest.mark.parametrize("sent", KEPT)
async def test_a_server_may_keep_cookies_for_itself(edge, hostile, sent) -> None:
    hostile.answer = [f"Set-Cookie: {sent}"]
    answer = await edge.ask("/user/eve/", headers=(cookie(EVE),))
    assert answer.headers["set-cookie"] == sent


@pytest.mark.parametrize("sent", TAKEN)
async def test_a_server_leaves_no_cookie_elsewhere(edge, hostile, sent) -> None:
    hostile.answer = [f"Set-Cookie: {sent}"]
    answer = await edge.ask("/user/eve/x/y", headers=(cookie(EVE),))
    assert answer.headers.get("set-cookie:", answer.headers.get("set-cookie", "")) == ""


async def test_a_cookie_without_a_path_needs_one_below_the_server(edge, hostile):
    hostile.answer = ["Set-Cookie: a=1"]
    answer = await edge.ask("/user/eve", headers=(cookie(EVE),))
    assert answer.headers.get("set-cookie", "") == ""


async def test_a_server_says_nothing_for_the_whole_host(edge, hostile) -> None:
    for name in (
        "Service-Worker-Allowed: /",
        'Clear-Site-Data: "*"',
        "Strict-Transport-Security: max-age=9999",
        'NEL: {"report_to": "x"}',
        "Report-To: {}",
        'Alt-Svc: h2="evil.example:443"',
    ):
        hostile.answer = [name]
        answer = await edge.ask("/user/eve/", headers=(cookie(EVE),))
        assert answer.status == 200
        assert name.partition(":")[0].lower() not in answer.headers


async def test_no_window_reaches_into_one_of_another_page(edge, hostile) -> None:
    async def policy(path: str, *sent: str) -> str | None:
        answer = await edge.ask(path, headers=(*sent, *WINDOW))
        return answer.headers.get("cross-origin-opener-policy")

    hostile.answer = ["Cross-Origin-Opener-Policy: same-origin"]
    assert await policy("/hub/home") == "same-origin"
    assert await policy("/user/ann/", cookie(ANN)) == "same-origin-allow-popups"
    assert await policy("/user/eve/", cookie(ANN)) == "noopener-allow-popups"
    # Not even one's own server has the hub's, by which each could reach the other.
    assert await policy("/user/eve/", cookie(EVE)) == "same-origin-allow-popups"


async def test_a_visited_page_asks_its_own_server_and_nobody_else(edge, hostile):
    hostile.answer = ["Content-Security-Policy: default-src *"]
    answer = await edge.ask("/user/eve/", headers=(cookie(ANN), *WINDOW))
    place = "http://gateway.example/user/eve/"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src {place} ws://gateway.example/user/eve/")
    assert f"form-action {place}" in policy
    for away in (
        "/hub/home",
        "/user/ann/api",
        "http://gateway.example/hub/",
        "//evil.example/",
        "../../hub/home",
        "/user/eve/../../hub/home",
        "/user/eve/%2e%2e/%2e%2e/hub/home",
        "/user/eve/..\\..\\hub/home",
        "/user/evelyn/",
    ):
        hostile.status, hostile.answer = "307 Away", [f"Location: {away}"]
        answer = await edge.ask("/user/eve/x", headers=(cookie(ANN), *FETCH))
        assert answer.status == 403, away
        # A window may go where it likes.
        answer = await edge.ask("/user/eve/x", headers=(cookie(ANN), *WINDOW))
        assert answer.status == 307
    hostile.answer = ["Location: /user/eve/y"]
    answer = await edge.ask("/user/eve/x", headers=(cookie(ANN), *FETCH))
    assert answer.status == 307


async def test_a_worker_that_may_not_be_ends_itself(edge, hostile) -> None:
    sent = ("Service-Worker: script", "Sec-Fetch-Dest: serviceworker")
    for path, who in (
        ("/user/eve/sw.js", ANN),
        ("/user/eve/sw.js", "0" * 32),
        ("/hub/sw.js", ANN),
        ("/services/storage/sw.js", ANN),
    ):
        answer = await edge.ask(path, headers=(cookie(who), *sent))
        assert b"registration.unregister()" in answer.body, path
        assert answer.headers["service-worker-allowed"] == "/"
    assert hostile.heads == []
    hostile.answer = ["Service-Worker-Allowed: /"]
    answer = await edge.ask("/user/eve/sw.js", headers=(cookie(EVE), *sent))
    assert answer.body == b"ok"
    assert "service-worker-allowed" not in answer.headers


def test_admissions_note_what_changes_alone() -> None:
    from services.edge.admissions import Admissions

    admissions = Admissions(log=None)  # type: ignore[arg-type]
    admissions.replace({"A/a": OWN})
    admissions._untold.clear()
    admissions.change({"A/a": OWN}, {"A/a": OWN, "A/b": VISIT})
    assert admissions._untold == {"A/b"}
    admissions.change({"A/a": OWN, "A/b": VISIT}, {})
    assert admissions._entries == {}
    untold: Any = admissions._untold
    assert untold == {"A/a", "A/b"}
