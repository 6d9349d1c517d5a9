"""Fixtures for spawners without a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rigs.notebooks.spawners import Rig, make_rig


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Rig]:
    """A user whose servers run on a fake scheduler."""
    rig, down = await make_rig(str(tmp_path))
    yield rig
    await down()
