"""How the notebook server's extension finds what makes kernels batch jobs."""

from __future__ import annotations

import logging
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from landbridge_lab import kernel_parts
from landbridge_lab.gateway.storage import Place, StorageService
from landbridge_lab.keys import endpoint
from rigs.checkout import CHECKOUT
from spawners.kernels import credentials
from spawners.kernels.server import extension

SWITCHED_ON = {"LANDBRIDGE_KERNEL_CONFIG": "/srv/kernels.json"}


def install(monkeypatch: pytest.MonkeyPatch, *parts: EntryPoint) -> None:
    def entry_points(**wanted: str) -> EntryPoints:
        return EntryPoints(parts).select(**wanted)

    monkeypatch.setattr(kernel_parts, "entry_points", entry_points)


def declared() -> list[EntryPoint]:
    """The entry points that this checkout's own package declares."""
    project: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    parts = project["project"]["entry-points"][kernel_parts.GROUP]
    return [
        EntryPoint(name, value, kernel_parts.GROUP) for name, value in parts.items()
    ]


def test_the_kernels_package_declares_both_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, *declared())
    assert kernel_parts.kernel_jobs(SWITCHED_ON) is extension
    assert kernel_parts.kernel_keys() is credentials


def test_kernels_are_no_jobs_unless_the_server_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, *declared())
    assert kernel_parts.kernel_jobs({}) is None


def test_without_the_package_there_is_nothing_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch)
    assert kernel_parts.kernel_keys() is None
    with caplog.at_level(logging.WARNING, "landbridge_lab"):
        assert kernel_parts.kernel_jobs(SWITCHED_ON) is None
    assert "LANDBRIDGE_KERNEL_CONFIG" in caplog.text


def test_an_offer_has_all_that_kernels_in_jobs_are_given(tmp_path: Path) -> None:
    """Its fields go by name across the two packages."""
    service = StorageService("http://127.0.0.1:9/", "token")
    keys = endpoint.CredentialEndpoint(service, tmp_path)
    try:
        place = Place("http://127.0.0.1:9", "us-east-1", "alice")
        found = endpoint.Offer(keys, tmp_path, place, {})
        offer = credentials.KeyOffer(**endpoint._for_jobs(found, tmp_path))
    finally:
        keys.close()
    assert offer.process.startswith('"""')
    assert offer.elsewhere({}) == {}
