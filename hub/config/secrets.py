"""Secrets that are made once and kept in files that are ours alone."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path

from hub.roles import CULLER, METRICS
from spawners.common.files import ensure_secret, write_whole
from spawners.common.settings import ConfigError

from .settings import Settings

_TOKEN_BYTES = 32


def ensure_password(settings: Settings) -> str:
    """Return the demo password that this state directory was given, or make it."""
    path = settings.state / "secrets" / "demo-password"
    return ensure_secret(path, lambda: secrets.token_urlsafe(9))


def operator_token_file(settings: Settings) -> Path:
    """Return where the operator's token lies."""
    return settings.state / "secrets" / "operator-token"


def token_names(settings: Settings) -> list[str]:
    """Return the services that have a token of their own."""
    names = [METRICS.service]
    names += [CULLER.service] if settings.culling.enabled else []
    enabled = [name for name, section in settings.services.items() if section.enabled]
    return names + enabled


def service_token_file(settings: Settings, name: str) -> Path:
    """Return where a service finds the token by which the hub knows it."""
    return settings.state / "secrets" / f"service-{name}.token"


def ensure_service_token(settings: Settings, name: str) -> str:
    """Return a service's token; made if it has none yet.

    Raises:
        NotOurs: the file is somebody else's, or open to others.
    """
    return ensure_secret(service_token_file(settings, name))


def rotate_service_token(settings: Settings, name: str) -> Path:
    """Give a service another token; the old one is good until the hub starts again.

    Returns the file.
    """
    path = service_token_file(settings, name)
    write_whole(path, secrets.token_hex(_TOKEN_BYTES))
    return path


def check_known(
    settings: Settings, noun: str, name: str, names: Collection[str]
) -> None:
    """Refuse to make a token for somebody that this site does not have.

    Raises:
        ConfigError: with the names that there are.
    """
    if name not in names:
        known = ", ".join(names) or "none"
        where = settings.path or Path("gateway.toml")
        raise ConfigError(where, [f"there is no {noun} {name}; there is {known}."])
