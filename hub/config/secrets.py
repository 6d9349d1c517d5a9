"""Secrets that are made once and kept in files that are ours alone."""

from __future__ import annotations

import secrets
from pathlib import Path

from spawners.common.files import ensure_secret
from spawners.common.settings import ConfigError

from .settings import Settings

_SHORTEST_KEY = 32


def ensure_password(settings: Settings) -> str:
    """Return the demo password that this state directory was given, or make it."""
    path = settings.state / "secrets" / "demo-password"
    return ensure_secret(path, lambda: secrets.token_urlsafe(9))


def operator_token_file(settings: Settings) -> Path:
    """Return where the operator's token lies."""
    return settings.state / "secrets" / "operator-token"


def launch_secrets(settings: Settings) -> list[bytes]:
    """Return what encrypts the launches of jobs that wait; made if there is none yet.

    The file holds one secret a line. To change it, an operator writes a new one above;
    the old one may go when no job waits any more that was submitted with it.

    Raises:
        NotOurs: the file was made by somebody else, or others can read it.
        ConfigError: a line is too short to be a secret.
    """
    path = settings.state / "secrets" / "launch-keys"
    lines = ensure_secret(path).split()
    if any(len(line) < _SHORTEST_KEY for line in lines):
        message = f"each line must have {_SHORTEST_KEY} random characters or more."
        raise ConfigError(path, [message])
    return [line.encode("ascii") for line in lines]
