"""Fixtures with a real hub process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.hub.process import HubProcess, hub_without_storage


@pytest.fixture
def hub(shared: Path) -> Iterator[HubProcess]:
    """A hub on the local scheduler, without storage, with nobody in it."""
    with hub_without_storage(shared) as hub:
        yield hub
