"""Which process of an earlier ``landbridge up`` is gone on with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.config.settings import load_settings
from hub.run import program
from hub.run.processes import process_spec
from hub.run.program import GatewayProgram


@pytest.fixture
def signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is written down of a process, for a release that lies in a directory."""
    (tmp_path / "gateway.toml").write_text("")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "module.py").write_text("old")
    monkeypatch.setattr(program, "_CODE", (tmp_path / "code",))
    variables = {
        "LANDBRIDGE_CONFIG": str(tmp_path / "gateway.toml"),
        "LANDBRIDGE_STATE": str(tmp_path / "state"),
    }
    settings = load_settings(variables)
    spec = process_spec(settings, "jobs")

    def signature(**environment: str) -> object:
        made = GatewayProgram(spec, settings, environment, print, asyncio.Event())
        return made.facts()["signature"]

    return signature


def test_one_that_was_started_in_the_same_way_has_the_same(signature):
    assert signature(LANDBRIDGE_PORT="8000") == signature(LANDBRIDGE_PORT="8000")
    assert signature(TERM="xterm") == signature(TERM="dumb")


def test_another_release_other_settings_and_another_environment_have_others(
    signature, tmp_path
):
    seen = {signature(LANDBRIDGE_PORT="8000"), signature(LANDBRIDGE_PORT="8001")}
    (tmp_path / "code" / "module.py").write_text("newer")
    seen.add(signature(LANDBRIDGE_PORT="8000"))
    (tmp_path / "gateway.toml").write_text('[hub]\nname = "Another"\n')
    seen.add(signature(LANDBRIDGE_PORT="8000"))
    assert len(seen) == 4
