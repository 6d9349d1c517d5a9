"""A notebook server whose kernels are local jobs, with two simulated GPUs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rigs.notebooks.server import LOCAL, NotebookServer


@pytest.fixture
def server(shared_server: NotebookServer) -> NotebookServer:
    """A server without kernels."""
    shared_server.clear()
    return shared_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[NotebookServer]:
    """One server for a module."""
    path = Path(tempfile.mkdtemp(prefix="lbn-", dir="/var/tmp"))
    rig = NotebookServer(path, LOCAL)
    try:
        yield rig.start()
    finally:
        rig.close()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def new_server() -> Iterator[Callable[..., NotebookServer]]:
    """Make servers of one's own, with other settings."""
    made: list[NotebookServer] = []

    def make(**settings: object) -> NotebookServer:
        path = Path(tempfile.mkdtemp(prefix="lbn-", dir="/var/tmp"))
        made.append(NotebookServer(path, {**LOCAL, **settings}))
        return made[-1]

    try:
        yield make
    finally:
        for rig in made:
            rig.close()
            shutil.rmtree(rig.path, ignore_errors=True)
