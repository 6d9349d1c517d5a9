"""A right that the hub has ended ends what was opened with it: tornado, JupyterHub."""

import asyncio
import functools
import json
import logging

import pytest
import websockets
from jupyterhub.services import auth as jupyterhub_auth
from tornado import httpserver, netutil, web, websocket

from spawners.node import server_rights
from spawners.node.server_rights import (
    Rights,
    WithoutSessions,
    be_patient,
    follow,
    keep_short,
)

MAY = ["access:servers!server=alice/"]


class StubHub:
    """Says whose a token is.

    Attributes: known (token to scopes), down (its status if it is), edge (what is said
    of it by the edge), asked.
    """

    def __init__(self):
        self.known = {"one": MAY, "two": MAY, "other": MAY}
        self.down = 0
        self.edge = ""
        self.asked = []

    def app(self):
        hub = self

        class User(web.RequestHandler):
            def get(self):
                token = self.request.headers["Authorization"].rpartition(" ")[2]
                hub.asked.append(token)
                if hub.down:
                    raise web.HTTPError(hub.down)
                if token not in hub.known:
                    raise web.HTTPError(403)
                self.write({"name": "alice", "scopes": hub.known[token]})

        class Root(web.RequestHandler):
            def get(self):
                self.set_status(hub.down or 200)
                if hub.edge:
                    self.set_header("X-Landbridge-Hub", hub.edge)

        return web.Application([("/hub/api/user", User), ("/hub/api", Root)])


@pytest.fixture
def auth_class():
    """``HubAuth`` of this test alone, to be changed as a server's is."""

    class Auth(jupyterhub_auth.HubAuth):
        pass

    return Auth


@pytest.fixture
async def served(monkeypatch, auth_class):
    """A hub, and a server of alice's with a websocket and an endless answer."""
    monkeypatch.setattr(server_rights, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(server_rights, "CACHE_SECONDS", 1)
    keep_short(auth_class)
    rights = follow(auth_class)
    hub, servers = StubHub(), []

    def serve(app):
        (socket,) = netutil.bind_sockets(0, "127.0.0.1")
        server = httpserver.HTTPServer(app)
        server.add_socket(socket)
        servers.append(server)
        return socket.getsockname()[1]

    auth = auth_class(
        api_url=f"http://127.0.0.1:{serve(hub.app())}/hub/api",
        api_token="servers",
        access_scopes=set(MAY),
        cache_max_age=300,
    )
    heard = []

    class Mine:
        async def prepare(self):
            if not await auth.get_user(self, sync=False):
                raise web.HTTPError(403)

    class Echo(Mine, websocket.WebSocketHandler):
        def on_message(self, message):
            heard.append(message)
            self.write_message(message)

    class Endless(Mine, web.RequestHandler):
        async def get(self):
            while not self.request.connection.stream.closed():
                self.write("data: tick\n\n")
                await self.flush()
                await asyncio.sleep(0.02)

    port = serve(web.Application([("/echo", Echo), ("/endless", Endless)]))
    server = type("Served", (), {})()
    server.hub, server.auth, server.rights, server.heard = hub, auth, rights, heard
    server.port = port
    server.connect = functools.partial(_connect, port)
    yield server
    for one in servers:
        one.stop()
        await one.close_all_connections()


def _connect(port, token):
    return websockets.connect(
        f"ws://127.0.0.1:{port}/echo",
        additional_headers={"Authorization": f"token {token}"},
        proxy=None,
    )


async def says(socket, text):
    await socket.send(text)
    async with asyncio.timeout(5):
        return await socket.recv() == text


async def test_a_token_that_ends_takes_its_websockets_along_and_no_others(served):
    async with (
        served.connect("one") as first,
        served.connect("one") as second,
        served.connect("two") as other,
    ):
        assert await says(first, "a")
        assert await says(second, "b")
        del served.hub.known["one"]
        async with asyncio.timeout(5):
            for socket in (first, second):
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd.code == server_rights.GOING_AWAY
                assert "signed out" in closed.value.rcvd.reason
        assert await says(other, "c")
        with pytest.raises(websockets.InvalidStatus):
            async with served.connect("one"):
                pass


async def test_a_right_that_ends_ends_them_too(served):
    async with served.connect("one") as socket:
        assert await says(socket, "a")
        served.hub.known["one"] = ["access:servers!server=bob/"]
        async with asyncio.timeout(5):
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()


async def test_a_client_that_does_not_close_is_heard_no_more(served):
    """The closing handshake is polite: it waits five seconds for the other side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Version: 13\r\nAuthorization: token one\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    before, after = (b"\x81\x83\0\0\0\0" + text for text in (b"yes", b"no!"))
    writer.write(before)
    assert (await reader.readexactly(5))[2:] == b"yes"
    del served.hub.known["one"]
    async with asyncio.timeout(5):
        assert (await reader.readexactly(2))[0] == 0x88  # a close frame
    writer.write(after)
    async with asyncio.timeout(10):
        await reader.read()  # and then the server hangs up by itself
    assert served.heard == ["yes"]
    writer.close()


async def test_an_answer_that_still_goes_out_is_cut(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"GET /endless HTTP/1.1\r\nHost: x\r\nAuthorization: token one\r\n\r\n"
    )
    await reader.readuntil(b"tick")
    del served.hub.known["one"]
    async with asyncio.timeout(5):
        while await reader.read(65536):
            pass
    writer.close()


async def test_a_hub_that_is_away_ends_nothing(served, caplog):
    async with served.connect("one") as socket:
        assert await says(socket, "a")
        served.hub.down = 503
        until = len(served.hub.asked) + 5
        async with asyncio.timeout(10):
            while len(served.hub.asked) < until:
                await asyncio.sleep(0.05)
        assert await says(socket, "b")
        del served.hub.known["one"]
        assert await says(socket, "c")
        served.hub.down = 0
        async with asyncio.timeout(5):
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
    told = [r for r in caplog.records if "cannot be asked" in r.getMessage()]
    assert len(told) == 1


async def test_the_hub_is_asked_once_for_each_token_in_a_while(served):
    """Ten tabs cost as much as one, and looking often costs nothing."""
    async with served.connect("one") as first:
        others = [await served.connect("one") for _ in range(10)]
        began = asyncio.get_running_loop().time()
        served.hub.asked.clear()
        await asyncio.sleep(2.5)
        passed = asyncio.get_running_loop().time() - began
        assert 1 <= len(served.hub.asked) <= passed + 1
        assert await says(first, "a")
        for other in others:
            await other.close()


async def test_what_is_over_is_forgotten_and_the_task_ends(served):
    async with served.connect("one") as socket:
        assert await says(socket, "a")
        assert served.rights.open
    async with asyncio.timeout(5):
        while served.rights.open or not served.rights._task.done():
            await asyncio.sleep(0.05)
    async with served.connect("one") as socket:  # and begins anew
        assert await says(socket, "b")
        del served.hub.known["one"]
        async with asyncio.timeout(5):
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()


@pytest.mark.parametrize("asked_for", [0, 300, 5])
def test_no_setting_keeps_the_hubs_answers_longer(auth_class, asked_for):
    keep_short(auth_class)
    auth = auth_class(api_token="x", cache_max_age=asked_for)
    assert auth.cache.max_age == (asked_for if asked_for == 5 else 15)
    auth.cache_max_age = 300  # a setting that comes later
    assert auth.cache.max_age <= 15


def test_sessions_ids_do_not_reach_the_log():
    keep = WithoutSessions().filter
    make = functools.partial(
        logging.LogRecord, "x", logging.INFO, "f", 1, exc_info=None
    )
    assert not keep(make(msg="Setting new xsrf cookie for %r %r", args=(b"id", {})))
    assert not keep(make(msg="xsrf id mismatch %r != %r", args=("a", "b")))
    assert not keep(make(msg="Received request from Hub user %s", args=(json,)))
    assert keep(make(msg="Kernel started: %s", args=("k",)))


async def test_requests_of_other_threads_are_left_alone(auth_class):
    rights = Rights()
    await asyncio.to_thread(rights.note, auth_class(api_token="x"), object())
    assert rights.open == []


@pytest.fixture
async def patient(monkeypatch, served, auth_class):
    """The same server, which believes the hub's last answer while that is away."""
    monkeypatch.setattr(server_rights, "CACHE_SECONDS", 1)
    be_patient(auth_class)
    url = f"{served.auth.api_url}/user"

    async def who(token="one", session="s"):
        # As if the answer that is kept for a while had been forgotten by now.
        served.auth.cache.clear()
        model = await served.auth._check_hub_authorization(
            url, token, cache_key=f"token:{session}:{token}"
        )
        return model and model["name"]

    served.who = who
    return served


def go(hub):
    hub.down, hub.edge = 503, "away"


async def test_who_was_known_is_known_while_there_is_no_hub(patient):
    assert await patient.who() == "alice"
    go(patient.hub)
    assert await patient.who() == "alice"
    patient.hub.down = 0
    del patient.hub.known["one"]
    assert await patient.who() is None
    go(patient.hub)
    with pytest.raises(web.HTTPError):
        await patient.who()


async def test_nobody_is_known_by_anothers_answer(patient):
    assert await patient.who() == "alice"
    go(patient.hub)
    for token, session in [("two", "s"), ("one", "another")]:
        with pytest.raises(web.HTTPError):
            await patient.who(token, session)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 503, 504])
async def test_a_hub_that_is_there_is_never_gone_past(patient, status):
    """However slow or confused it is, and also where the server's own token ended."""
    assert await patient.who() == "alice"
    patient.hub.down = status
    with pytest.raises(web.HTTPError):
        await patient.who()


async def test_a_hub_that_is_away_for_long_is_believed_no_more(patient, monkeypatch):
    assert await patient.who() == "alice"
    go(patient.hub)
    assert await patient.who() == "alice"
    monkeypatch.setattr(server_rights, "AWAY_SECONDS", -1)
    with pytest.raises(web.HTTPError):
        await patient.who()


async def test_an_edge_that_is_away_says_nothing_of_the_hub(patient):
    assert await patient.who() == "alice"
    patient.auth.api_url = "http://127.0.0.1:1/hub/api"
    assert not server_rights.is_away(patient.auth)


async def test_so_many_answers_are_remembered_and_no_more(patient, monkeypatch):
    monkeypatch.setattr(server_rights, "MOST_REMEMBERED", 2)
    for session in ("a", "b", "c"):
        assert await patient.who(session=session) == "alice"
    go(patient.hub)
    assert await patient.who(session="c") == "alice"
    with pytest.raises(web.HTTPError):
        await patient.who(session="a")


def test_a_jupyterhub_that_asks_in_another_way_is_left_as_it_is():
    class Other:
        def _check_hub_authorization(self):
            return None

    ask = Other._check_hub_authorization
    be_patient(Other)
    be_patient(int)
    assert Other._check_hub_authorization is ask
