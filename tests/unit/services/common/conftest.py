"""The plainest service, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rigs.services.plain import SERVICE, SPEC, Shelf, open_plain
from services.common.testing.rig import ServiceRig


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[ServiceRig[Shelf]]:
    async with ServiceRig(SERVICE, open_plain, tmp_path, spec=SPEC) as rig:
        yield rig
