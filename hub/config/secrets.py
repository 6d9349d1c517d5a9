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
