"""A whole gateway, attacked by somebody who has not signed in."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import httpx

MIB = 1024**2


def raw(port: int, text: bytes) -> bytes:
    """Send bytes as they are; return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        return connection.recv(65_536)


def sign_in(client: httpx.Client, name: str, password: str) -> httpx.Response:
    xsrf = client.get("/hub/login").cookies.get("_xsrf") or client.cookies["_xsrf"]
    form = {"username": name, "password": password, "_xsrf": xsrf}
    return client.post("/hub/login", data=form)


def wait_for_storage(client: httpx.Client) -> None:
    """Its store may still be starting; a service that broke would not come."""
    deadline = time.monotonic() + 60
    while client.get("/services/storage/health").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_strangers_meet_bounds_and_users_do_not(run, place):
    Path(place["LANDBRIDGE_CONFIG"]).write_text("")  # all services run
    up = run("up")
    up.wait_for("Landbridge is ready at")
    state = Path(place["LANDBRIDGE_STATE"])
    log = state / "logs" / "hub.log"
    origin = f"http://127.0.0.1:{up.port}"

    evil = raw(up.port, b"GET /hub/login HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert evil.startswith(b"HTTP/1.1 400")
    assert b"hub.hosts" in evil
    large = b"POST /hub/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000"
    assert raw(up.port, large + b"\r\n\r\n").startswith(b"HTTP/1.1 413")

    # The hub is bounded by itself, on its own socket.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(state / "run" / "hub.sock"))
        head = (
            f"POST /hub/login HTTP/1.1\r\nHost: x\r\nContent-Length: {MIB + 1}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert b" 200 " not in connection.recv(100)

    with httpx.Client(base_url=origin, timeout=30) as stranger:
        for path, status in {
            # Jobs' agents call at a port of their own.
            "/hub/api/landbridge/jobs/fetch": 404,
            "/jobs/agent/fetch": 404,
            "/hub/api/authorizations/token/name": 404,
            "/hub/api/authorizations/token": 404,
        }.items():
            answer = stranger.post(path, json={})
            assert answer.status_code in (status, 403), path
        # Services bound what they take by themselves; the edge passes it on.
        buckets = "/services/storage/api/v1/buckets"
        for body in (b"x" * (3 * MIB), (b"x" * 65_536 for _ in range(48))):
            try:
                answer = stranger.post(buckets, content=body)
            except httpx.TransportError:
                continue  # it hung up on us
            assert answer.status_code in (400, 413, 502), answer.text
        wait_for_storage(stranger)
        stranger.get("/hub/" + "x" * 14_000)
        stranger.get("/services/storage/" + "y" * 14_000)
        refused = sign_in(stranger, "A" * 100_000, place["LANDBRIDGE_PASSWORD"])
        assert refused.status_code in (400, 403)
    lines = log.read_text().splitlines()
    assert any("xxxx" in line for line in lines)
    longest = max(lines, key=len)
    assert len(longest) < 1500, longest[:200]

    with httpx.Client(base_url=origin, timeout=30, follow_redirects=True) as ada:
        cookies: list[str] = []
        ada.event_hooks["response"] = [
            lambda answer: cookies.extend(answer.headers.get_list("set-cookie"))
        ]
        home = sign_in(ada, "ada", place["LANDBRIDGE_PASSWORD"])
        assert home.status_code == 200
        assert ada.get("/services/storage/").status_code == 200, "through OAuth"
        names = {cookie.partition("=")[0] for cookie in cookies}
        assert {"jupyterhub-hub-login", "_xsrf", "service-storage"} <= names
        kept = [one for one in cookies if not re.match(r'[^=]*=""', one)]
        assert [one for one in kept if "samesite=lax" not in one.lower()] == []
        # Nothing but a websocket may say that it opens one.
        for path in ("/hub/api/users/ada/tokens", "/services/storage/api/v1/buckets"):
            answer = ada.post(path, json={}, headers={"Sec-Fetch-Mode": "websocket"})
            assert answer.status_code == 403, path
            assert "xsrf" in answer.text.lower(), path
