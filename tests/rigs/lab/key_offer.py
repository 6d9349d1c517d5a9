"""Storage keys as a notebook server offers them to its kernels, set up for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from landbridge_lab.keys import endpoint as credentials
from rigs.lab.storage_stub import StorageStub
from spawners.kernels import credentials as kernel_storage


@contextmanager
def keys_offered(
    gateway: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StorageStub]:
    """Offer keys of a storage service whose ``/s3`` is ``gateway``; then take all back.

    Yields:
        The service, which a test may give troubles.
    """
    stub = StorageStub("http://127.0.0.1:9")
    stub.me["gateway"] = gateway
    before = dict(os.environ)
    for name, value in stub.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(credentials, "_offer", None)
    monkeypatch.setattr(kernel_storage, "_offers", [])
    credentials.start()
    assert credentials._offer is not None
    try:
        yield stub
    finally:
        credentials._offer.close()
        stub.close()
        os.environ.clear()
        os.environ.update(before)
