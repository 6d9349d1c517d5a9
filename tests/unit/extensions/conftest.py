"""A storage service for the notebook server to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rigs.lab.storage_stub import StorageStub


@pytest.fixture
def stub() -> Iterator[StorageStub]:
    """A storage service that gives made-up keys."""
    service = StorageStub()
    yield service
    service.close()
