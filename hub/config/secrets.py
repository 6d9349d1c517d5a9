"""Secrets that are made once and kept in files that are ours alone."""

from __future__ import annotations

import secrets
from pathlib import Path

from spawners.common.files import ensure_secret

from .settings import Settings


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
    """
    kept = ensure_secret(settings.state / "secrets" / "launch-keys")
    return [line.encode("ascii") for line in kept.split()]
