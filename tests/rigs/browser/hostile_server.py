"""A web server of a user who means harm, where the edge expects a notebook server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORKER = """
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', e => e.waitUntil(self.clients.claim()));
self.addEventListener('fetch', e => {
  if (e.request.mode === 'navigate')
    e.respondWith(new Response('<h1>worker of bob</h1>',
      {headers: {'Content-Type': 'text/html'}}));
});
"""
PAGE = "<!doctype html><meta charset=utf-8><title>bob</title><h1>page of bob</h1>"


class HostileServer(ThreadingHTTPServer):
    """Answers below any path; remembers who asked for what.

    ``NAME/sw.js`` is a worker that answers for everything, ``NAME/away?TO`` leads to
    TO, and everything else is a page.
    """

    daemon_threads = True
    # What is left of its connections must not keep the gateway from its port.
    allow_reuse_port = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: HostileServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Cookie", "")))
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        path, _, query = self.path.partition("?")
        if path.endswith("/away"):
            self.send_response(307)
            self.send_header("Location", query)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        kind, body = "text/html", PAGE
        if path.endswith("/sw.js"):
            kind, body = "text/javascript", WORKER
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Service-Worker-Allowed", "/")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        for path in ("/", "/hub/", "/user/alice/"):
            self.send_header("Set-Cookie", f"evil=1; Path={path}")
        self.send_header("Set-Cookie", "jupyterhub-session-id=evil; Path=/")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815 -- the library's own spelling

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hostile_server(port: int = 0) -> Iterator[HostileServer]:
    """Run one."""
    server = HostileServer(port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
