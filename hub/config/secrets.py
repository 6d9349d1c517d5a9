"""Secrets that are made once and kept in files that are ours alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from spawners.common.ownership import read_own

from .settings import Settings


def ensure_secret(
    path: Path, make: Callable[[], str] = lambda: secrets.token_hex(32)
) -> str:
    """Return the secret in ``path``; ``make`` gives one if there is none yet.

    Raises:
        NotOurs: what is there was made by somebody else, or others can read it.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = read_own(path).decode("ascii").strip()
        if kept:
            return kept
        path.unlink()  # made, but never filled: a full disk
        return ensure_secret(path, make)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(make())
    return read_own(path).decode("ascii").strip()


def ensure_password(settings: Settings) -> str:
    """Return the demo password that this state directory was given, or make it."""
    path = settings.state / "secrets" / "demo-password"
    return ensure_secret(path, lambda: secrets.token_urlsafe(9))


def operator_token_file(settings: Settings) -> Path:
    """Return where the operator's token lies."""
    return settings.state / "secrets" / "operator-token"
