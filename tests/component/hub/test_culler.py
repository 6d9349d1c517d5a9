"""The culler's requests: to the hub's socket, and to nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from hub.run.culler import HubResolver, use_socket
from spawners.common.sockets import url_of_socket

TOKEN = "culler-token-" + "0" * 20


class _Hub(BaseHTTPRequestHandler):
    heard: list[tuple[str, str]] = []  # noqa: RUF012 -- one for the test
    done = threading.Event()

    def do_GET(self) -> None:
        self.heard.append((self.path, self.headers["Authorization"]))
        body = b'{"version": "6.1.0"}'
        if self.path.startswith("/hub/api/users"):
            body = b'{"items": [], "_pagination": {"next": null}}'
            self.done.set()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"


async def test_another_name_than_the_hubs_means_nothing():
    resolver = HubResolver(path="/x")
    with pytest.raises(OSError, match="only the hub"):
        await resolver.resolve("localhost", 80)


def test_a_port_is_refused():
    with pytest.raises(ValueError, match="not the URL of a socket"):
        use_socket("http://127.0.0.1:8081/hub/api")


def test_it_asks_the_hub_at_its_socket():
    with tempfile.TemporaryDirectory(prefix="lbCu-") as name:
        path = Path(name) / "hub.sock"
        environment = os.environ | {
            "JUPYTERHUB_API_URL": f"{url_of_socket(path)}/hub/api",
            "JUPYTERHUB_API_TOKEN": TOKEN,
            # Nobody is asked for a way to there.
            "http_proxy": "http://127.0.0.1:1",
        }
        with ThreadingUnixStreamServer(str(path), _Hub) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            culler = subprocess.Popen(
                [sys.executable, "-m", "hub.run.culler", "--cull-every=60"],
                env=environment,
                cwd=name,
            )
            try:
                assert _Hub.done.wait(30)
            finally:
                culler.kill()
                culler.wait()
                server.shutdown()
    assert _Hub.heard == [
        ("/hub/api/", f"token {TOKEN}"),
        ("/hub/api/users?state=ready", f"token {TOKEN}"),
    ]
