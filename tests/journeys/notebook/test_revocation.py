"""A revoked token, a session that was signed out: dead within 30 s, streams included.

Real hub, HAProxy, notebook server and kernel. What one right opened is closed when it
ends; what others opened goes on, and a hub that is away ends nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rigs.hub.process import HubProcess, find_server, until
from rigs.notebooks.on_hub import NotebookServer, browser
from rigs.notebooks.server import Channel

PROMISED_SECONDS = 30
AWAY_SECONDS = 40  # more than an answer of the hub's is kept


def headers_of(client: httpx.Client, path: str) -> dict[str, str]:
    """The cookies that a browser sends to ``path`` with a websocket's handshake."""
    pairs = [
        f"{cookie.name}={cookie.value}"
        for cookie in client.cookies.jar
        if path.startswith(cookie.path)
    ]
    return {"Cookie": "; ".join(pairs), "Sec-Fetch-Mode": "websocket"}


def token_headers(hub: HubProcess, user: str) -> tuple[str, dict[str, str]]:
    made = hub.call("POST", f"users/{user}/tokens", {"note": "a test"})
    return made["id"], {"Authorization": f"token {made['token']}"}


@contextlib.contextmanager
def channel(
    hub: HubProcess, user: str, kernel: str, headers: dict[str, str]
) -> Iterator[Channel]:
    path = f"/user/{user}/api/kernels/{kernel}/channels"
    address = f"ws://127.0.0.1:{hub.port}{path}?session_id={time.monotonic_ns()}"
    with connect(
        address,
        additional_headers=headers,
        origin=f"http://127.0.0.1:{hub.port}",
        max_size=None,
        proxy=None,
    ) as socket:
        yield Channel(socket, "of-" + kernel)


def seconds_until_closed(channels: list[Any]) -> float:
    """How long until none of these can execute anything any more."""
    began = time.monotonic()
    for one in channels:
        with pytest.raises(ConnectionClosed):
            while time.monotonic() - began < 2 * PROMISED_SECONDS:
                one.socket.recv(timeout=2 * PROMISED_SECONDS)
    return time.monotonic() - began


def test_what_ends_at_the_hub_ends_at_the_notebook_server(hub: HubProcess) -> None:
    hub.add_user("ann")
    server = NotebookServer(hub, "ann")
    server.start()
    kernel = server.call("POST", "api/kernels", {"name": "python3"})["id"]
    with contextlib.ExitStack() as stack:
        stolen_id, stolen = token_headers(hub, "ann")
        _, kept = token_headers(hub, "ann")
        here, there = (stack.enter_context(browser(hub, "ann")) for _ in range(2))
        path = "/user/ann/"
        by_stolen, by_kept, by_here, by_there = (
            stack.enter_context(channel(hub, "ann", kernel, headers))
            for headers in (
                stolen,
                kept,
                headers_of(here, path),
                headers_of(there, path),
            )
        )
        everyone = (by_stolen, by_kept, by_here, by_there)
        assert [one.run("print(6 * 7)") for one in everyone] == ["42"] * 4

        hub.kill()
        time.sleep(AWAY_SECONDS)
        assert [one.run("print(7 * 7)") for one in everyone] == ["49"] * 4
        hub.start()
        until("it answers", lambda: hub.answers("ann"))

        old_cookies = headers_of(here, path)
        (session,) = (
            one.value for one in here.cookies.jar if one.name == "jupyterhub-session-id"
        )
        hub.call("DELETE", f"users/ann/tokens/{stolen_id}")
        assert here.get("/hub/logout").url.path == "/hub/login"
        began = time.monotonic()
        took = seconds_until_closed([by_stolen, by_here])
        assert took < PROMISED_SECONDS
        address = f"http://127.0.0.1:{hub.port}/user/ann/api/kernels"
        for headers in (stolen, old_cookies):
            while httpx.get(address, headers=headers).status_code == 200:
                assert time.monotonic() - began < PROMISED_SECONDS
                time.sleep(0.2)
        assert [one.run("print(8 * 8)") for one in (by_kept, by_there)] == ["64"] * 2
    log = (hub.state / "users" / "ann" / ".landbridge-server.log").read_text()
    assert "closing 1 of its connections" in log
    for secret in (stolen["Authorization"][6:], kept["Authorization"][6:], session):
        assert secret
        assert secret not in log


def test_a_stream_of_the_hub_ends_with_its_token(hub: HubProcess) -> None:
    hub.add_user("pam")
    hub.start_server("pam")
    server = until("it begins", lambda: find_server(hub, "pam"), every=0.02)
    os.kill(server, signal.SIGSTOP)  # so that the start goes on and on
    token_id, headers = token_headers(hub, "pam")
    with httpx.stream(
        "GET",
        f"http://127.0.0.1:{hub.port}/hub/api/landbridge/servers/pam/progress",
        headers={**headers, "Accept": "text/event-stream"},
        timeout=2 * PROMISED_SECONDS,
        trust_env=False,
    ) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("id: ")
        hub.call("DELETE", f"users/pam/tokens/{token_id}")
        began = time.monotonic()
        assert "event: done" not in list(lines)
    assert time.monotonic() - began < PROMISED_SECONDS
    os.kill(server, signal.SIGCONT)
    hub.wait_state("pam", "ready", "failed")
