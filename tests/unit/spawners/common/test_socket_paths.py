"""Paths of sockets that the kernel can hold, which no release may change.

A gateway that is upgraded finds its HAProxy, its hub and its store by these paths.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from hub.config.paths import hub_socket, short_socket
from hub.config.settings import load_settings
from hub.config.store_address import store_socket
from services.edge.config import runtime_path
from spawners.common.ownership import NotOurs
from spawners.common.sockets import LONGEST_PATH, short_path, short_way

# Length of a directory below /srv; runtime socket, hub, storage service, store.
PATHS = {
    60: (
        "{state}/runtime.sock",
        "{state}/run/hub.sock",
        "{state}/run/storage.sock",
        "{state}/store/sock/s3.sock",
    ),
    70: (
        "{short}-fd0435a8c739/runtime.sock",
        "{state}/run/hub.sock",
        "{state}/run/storage.sock",
        "{state}/store/sock/s3.sock",
    ),
    80: (
        "{short}-687e883f741b/runtime.sock",
        "{state}/run/hub.sock",
        "{short}-76a6a3118884/storage.sock",
        "{short}-a72a73e6fa7c/store/s3.sock",
    ),
    140: (
        "{short}-8378c31cb03f/runtime.sock",
        "{short}-da991c767e09/hub.sock",
        "{short}-da991c767e09/storage.sock",
        "{short}-99e3b921f215/store/s3.sock",
    ),
}


@pytest.fixture
def temporary(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


@pytest.mark.parametrize("length", PATHS)
def test_the_sockets_of_a_gateway_are_where_they_always_were(length, temporary):
    state = Path("/srv") / ("d" * length)
    settings = replace(load_settings({}), state=state)
    found = (
        runtime_path(state),
        hub_socket(settings),
        short_socket(state / "run", "storage.sock"),
        store_socket(settings),
    )
    short = temporary / f"landbridge-{os.geteuid()}"
    wanted = [path.format(state=state, short=short) for path in PATHS[length]]
    assert [str(path) for path in found] == wanted


def test_haproxys_socket_is_measured_in_characters(temporary):
    near = Path("/srv") / ("é" * 60)
    assert runtime_path(near) == near / "runtime.sock"
    name = f"landbridge-{os.geteuid()}-2b8c3df961bb"
    deep = Path("/srv") / ("é" * 68)
    assert runtime_path(deep) == temporary / name / "runtime.sock"


def test_the_longest_path_is_what_the_kernel_holds(temporary):
    fits = temporary / ("x" * (LONGEST_PATH - len(os.fsencode(temporary)) - 1))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path(fits)))
    assert fits.is_socket()
    longer = fits.with_name(f"{fits.name}x")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        pytest.raises(OSError, match="long"),
    ):
        listener.bind(str(longer))
    assert short_path(longer).parent != longer.parent


def test_a_deep_directory_gets_a_private_one_and_a_way_to_it(temporary):
    deep = temporary / ("d" * 120)
    deep.mkdir()
    path = short_path(deep / "a.sock")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    way = short_way(deep / "b.sock", "store")
    assert way == path.parent / "store" / "b.sock"
    assert way.parent.readlink() == deep
    way.parent.unlink()
    way.parent.symlink_to("/nowhere")  # of a directory that was moved
    assert short_way(deep / "b.sock", "store") == way
    assert way.parent.readlink() == deep


@pytest.mark.root
def test_somebody_elses_directory_is_not_believed(temporary):
    deep = temporary / ("d" * 120)
    place = short_path(deep / "a.sock").parent
    os.chown(place, 65534, 65534)
    with pytest.raises(NotOurs):
        short_path(deep / "a.sock")
    with pytest.raises(NotOurs):
        short_way(deep / "a.sock", "store")
