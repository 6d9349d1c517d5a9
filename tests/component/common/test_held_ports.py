"""A held port: nobody else's, whatever he sets, while nobody of ours listens there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from spawners.common.held_ports import HeldPorts, PortTaken

NOBODY = 65_534
# Every way to ask for the port; prints those that were given it.
_TRIES = """
import itertools, json, socket, sys
port, given = int(sys.argv[1]), []
options = [socket.SO_REUSEADDR, socket.SO_REUSEPORT]
for n in range(3):
    for chosen in itertools.combinations(options, n):
        for host in ("127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "127.0.0.9"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family) as one:
                for option in chosen:
                    one.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    one.bind((host, port))
                    one.listen(1)
                except OSError:
                    continue
                given.append([host, len(chosen)])
print(json.dumps(given))
"""


def given_to(uid: int, port: int) -> list[list[object]]:
    """The ways by which an account gets the port."""
    done = subprocess.run(
        [sys.executable if uid == 0 else "/usr/bin/python3", "-c", _TRIES, str(port)],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def held() -> Iterator[HeldPorts]:
    ports = HeldPorts()
    yield ports
    ports.close()


def as_haproxy(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A listener with the options that HAProxy sets."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((host, port))
    one.listen(1)
    return one


@pytest.mark.root
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "*"])
def test_no_other_account_gets_it_and_ours_does(held, host):
    port = free_port()
    assert given_to(NOBODY, port)  # it is to be had
    held.hold(f"{host}:{port}")
    held.hold(f"{host}:{port}")
    others = [] if host != "127.0.0.1" else [["127.0.0.9", n] for n in (0, 1, 1, 2)]
    assert given_to(NOBODY, port) == others
    for _ in range(3):  # HAProxy comes and goes
        with as_haproxy(port) as listener:
            assert given_to(NOBODY, port) == others
            with socket.create_connection(("127.0.0.1", port)):
                listener.accept()[0].close()
        assert given_to(NOBODY, port) == others  # with a connection in TIME_WAIT
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    held.close()
    assert given_to(NOBODY, port)


def test_what_is_ours_and_listens_already_goes_on(held):
    port = free_port()
    with as_haproxy(port):
        held.hold(f"127.0.0.1:{port}")
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_port_that_is_taken_is_named(held):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1: address"):
            held.hold(f"127.0.0.1:{port}")
    held.hold(f"127.0.0.1:{port}")


def test_an_address_that_is_not_ours_is_named(held):
    with pytest.raises(PortTaken, match=r"cannot listen on 192\.0\.2\.1"):
        held.hold("192.0.2.1:18290")
