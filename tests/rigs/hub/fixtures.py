"""Fixtures with a real hub process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.hub.process import HubProcess, running_hub


@pytest.fixture
def hub(shared: Path) -> Iterator[HubProcess]:
    """A hub on the local scheduler, with nobody in it."""
    with running_hub(shared) as hub:
        yield hub
