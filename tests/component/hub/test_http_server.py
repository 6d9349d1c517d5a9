"""The hub's HTTP server is bounded by itself, on its own socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

SERVER = """
import asyncio, sys
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from hub import http_server

class Echo(web.RequestHandler):
    def post(self):
        self.write(str(len(self.request.body)))

async def main(path):
    http_server.BODY_SECONDS = 1
    http_server.bound_http_servers()
    # As JupyterHub makes its own.
    server = HTTPServer(web.Application([("/", Echo)]), ssl_options=None, xheaders=True)
    server.add_socket(bind_unix_socket(path, mode=0o600))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "s")
    command = [sys.executable, "-c", SERVER, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"ready\n"
        yield path
        server.kill()


async def send(path: str, head: str, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
    try:
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()


async def test_bodies_are_bounded_in_size_and_time(path):
    mib = 1024**2
    ok = await send(path, f"Content-Length: {mib}", b"x" * mib)
    assert b" 200 " in ok
    assert b" 200 " not in await send(path, f"Content-Length: {mib + 1}")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    chunked = await send(path, "Transfer-Encoding: chunked", chunk * 17)
    assert b" 200 " not in chunked
    # One that does not come is not waited for.
    assert b" 200 " not in await send(path, "Content-Length: 100", b"x")


async def test_a_class_that_knocks_at_once_is_let_in(path):
    """HAProxy would answer 503 at a queue that is full."""
    many = [asyncio.open_unix_connection(path) for _ in range(500)]
    for _, writer in await asyncio.gather(*many):
        writer.close()
