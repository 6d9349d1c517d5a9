"""Secrets that are made once, and the change of one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hub.config.secrets import launch_secrets
from hub.config.settings import Settings, load_settings
from spawners.common.ownership import NotOurs
from spawners.common.settings import ConfigError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secrets").mkdir(mode=0o700)
    return load_settings({"LANDBRIDGE_STATE": str(tmp_path)})


def test_the_key_of_launches_is_made_once_for_us_alone(settings: Settings) -> None:
    made = launch_secrets(settings)
    assert launch_secrets(settings) == made
    (key,) = made
    assert len(key) == 64
    file = settings.state / "secrets" / "launch-keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_key_is_put_above_the_old(settings: Settings) -> None:
    (old,) = launch_secrets(settings)
    file = settings.state / "secrets" / "launch-keys"
    file.write_text("n" * 64 + "\n" + file.read_text() + "\n")
    assert launch_secrets(settings) == [b"n" * 64, old]


def test_a_key_that_is_none_is_refused(settings: Settings) -> None:
    launch_secrets(settings)
    file = settings.state / "secrets" / "launch-keys"
    file.write_text("secret\n")
    with pytest.raises(ConfigError, match="32 random characters"):
        launch_secrets(settings)


def test_a_key_that_others_can_read_is_refused(settings: Settings) -> None:
    launch_secrets(settings)
    (settings.state / "secrets" / "launch-keys").chmod(0o644)
    with pytest.raises(NotOurs, match="open to others"):
        launch_secrets(settings)
