"""Kernels with real S3 clients over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.clients.kernel import CredentialSource, Kernel
from rigs.stores.sites import StoreFacts


@pytest.fixture(scope="module")
def source(seaweedfs_facts: StoreFacts) -> Iterator[CredentialSource]:
    """Alice's bucket and bob's, and sessions for alice."""
    one = CredentialSource(seaweedfs_facts)
    yield one
    one.close()


@pytest.fixture
def kernel(
    clients_python: str, source: CredentialSource, tmp_path: Path
) -> Iterator[Kernel]:
    """Alice's kernel, with keys of its own."""
    source.stated_life = None
    one = Kernel(clients_python, source, tmp_path)
    yield one
    one.close()
