"""Sockets of services: whose turn it is, and how they are named."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub.httpclient import fetch
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from services.common.access.people import HubDirectory
from spawners.common.sockets import (
    ListeningSocket,
    SocketTaken,
    service_of_url,
    service_url,
    socket_of_url,
    url_of_socket,
)

_LISTENS = """
import asyncio, pathlib, sys
from spawners.common.sockets import ListeningSocket
async def main():
    async with ListeningSocket(pathlib.Path(sys.argv[1])):
        print("listens", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def run() -> Iterator[Path]:
    """A directory with a short path and capitals, as ``state/run`` may have."""
    with tempfile.TemporaryDirectory(prefix="lb Run-") as name:
        yield Path(name)


def start(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _LISTENS, path], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"listens\n"
    return process


paths = st.text(st.characters(exclude_characters="\0"), min_size=1)


@given(paths)
def test_a_path_is_a_url_and_back(path):
    try:
        url = url_of_socket(f"/{path}")
    except UnicodeEncodeError:
        return  # no file is called so
    assert socket_of_url(f"{url}/hub/api") == f"/{path}"
    assert urlsplit(url).netloc == urlsplit(url).netloc.lower()


def test_other_urls_name_no_socket():
    assert socket_of_url("http://127.0.0.1:8081/hub/api") is None
    assert service_of_url("http://127.0.0.1:18103") is None
    assert service_of_url("http://a.services.landbridge.internal.evil.org") is None
    assert service_of_url(f"{service_url('storage')}:80/x") == "storage"


async def test_only_our_account_reaches_it(run):
    path = run / "a.sock"
    async with ListeningSocket(path):
        facts = path.lstat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o600, os.geteuid())
    assert not path.exists()


async def test_what_a_dead_process_left_is_replaced(run):
    path = run / "a.sock"
    with start(path) as dead:
        dead.kill()
    assert path.is_socket()
    async with ListeningSocket(path, patience_seconds=0) as listener:
        assert listener.socket.getsockname() == str(path)


async def test_a_live_process_keeps_it_until_it_ends(run):
    path = run / "a.sock"
    with start(path) as live:
        with pytest.raises(SocketTaken, match="does not end"):
            async with ListeningSocket(path, patience_seconds=0.2):
                pass
        waiting = asyncio.ensure_future(ListeningSocket(path).__aenter__())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        live.send_signal(signal.SIGKILL)
        async with asyncio.timeout(5):
            listener = await waiting
        listener.close()


async def test_a_stranger_who_listens_there_is_refused(run):
    path = run / "a.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen(1)
        with pytest.raises(SocketTaken, match="not ours"):
            async with ListeningSocket(path):
                pass
        assert path.is_socket()


async def test_a_file_or_link_in_its_place_is_refused(run):
    (run / "b").write_text("precious")
    (run / "a.sock").symlink_to(run / "b")
    for name in ("a.sock", "b"):
        with pytest.raises(SocketTaken, match="no socket"):
            async with ListeningSocket(run / name):
                pass
    assert (run / "b").read_text() == "precious"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o711])
async def test_a_directory_that_others_enter_is_refused(run, mode):
    run.chmod(mode)
    with pytest.raises(SocketTaken, match="only this account"):
        async with ListeningSocket(run / "a.sock"):
            pass


@pytest.mark.root
async def test_a_directory_of_somebody_elses_is_refused(run):
    os.chown(run, 65_534, 65_534)
    with pytest.raises(SocketTaken, match="only this account"):
        async with ListeningSocket(run / "a.sock"):
            pass
    os.chown(run, 0, 0)


async def test_the_hub_is_asked_at_its_socket(run):
    """By JupyterHub's client, as HubOAuth does, and by ours; with a capital."""
    heard: list[str] = []

    class Hub(RequestHandler):
        def get(self) -> None:
            heard.append(self.request.headers["Authorization"])
            self.write({"name": "ada", "groups": ["geo"]})

    server = HTTPServer(Application([(r"/hub/api/.*", Hub)]))
    async with ListeningSocket(run / "Hub.sock") as listener:
        server.add_socket(listener.socket)
        api_url = f"{url_of_socket(run / 'Hub.sock')}/hub/api"
        headers = {"Authorization": "token a"}
        answer = await fetch(f"{api_url}/user", headers=headers)
        assert (await answer.json())["name"] == "ada"
        people = HubDirectory(api_url, "b")
        assert await people.groups_of("ada") == {"geo"}
        await people.close()
        server.stop()
        await server.close_all_connections()
    assert heard == ["token a", "token b"]
