"""Secrets that are made once, and the change of one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.jobs.build import launch_secrets
from spawners.common.ownership import NotOurs
from spawners.common.settings import ConfigError


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir(mode=0o700)
    return tmp_path / "secrets"


def test_the_key_of_launches_is_made_once_for_us_alone(secrets: Path) -> None:
    made = launch_secrets(secrets)
    assert launch_secrets(secrets) == made
    (key,) = made
    assert len(key) == 64
    file = secrets / "launch-keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_key_is_put_above_the_old(secrets: Path) -> None:
    (old,) = launch_secrets(secrets)
    file = secrets / "launch-keys"
    file.write_text("n" * 64 + "\n" + file.read_text() + "\n")
    assert launch_secrets(secrets) == [b"n" * 64, old]


def test_a_key_that_is_none_is_refused(secrets: Path) -> None:
    launch_secrets(secrets)
    file = secrets / "launch-keys"
    file.write_text("secret\n")
    with pytest.raises(ConfigError, match="32 random characters"):
        launch_secrets(secrets)


def test_a_key_that_others_can_read_is_refused(secrets: Path) -> None:
    launch_secrets(secrets)
    (secrets / "launch-keys").chmod(0o644)
    with pytest.raises(NotOurs, match="open to others"):
        launch_secrets(secrets)
