"""Secrets that are made once and kept in files of mode 0600."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from .settings import Settings


def ensure_secret(
    path: Path, make: Callable[[], str] = lambda: secrets.token_hex(32)
) -> str:
    """Return the secret in ``path``; ``make`` gives one if there is none yet."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text(encoding="ascii").strip()
        if kept:
            return kept
        path.unlink()  # made, but never filled: a full disk
        return ensure_secret(path, make)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(make())
    return path.read_text(encoding="ascii").strip()


def ensure_password(settings: Settings) -> str:
    """Return the demo password that this state directory was given, or make it."""
    path = settings.state / "secrets" / "demo-password"
    return ensure_secret(path, lambda: secrets.token_urlsafe(9))


def operator_token_file(settings: Settings) -> Path:
    """Return where the operator's token lies."""
    return settings.state / "secrets" / "operator-token"
