"""Where things lie in the state directory, and that they are fit to use.

Kept free of JupyterHub: the ``landbridge`` command starts fast because of it.
"""

from __future__ import annotations

import os
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path

from services.jobs.settings import JobsSettings
from spawners.common.files import ensure_secret
from spawners.common.ownership import NotOurs, check_below, own_directory
from spawners.common.settings import ConfigError
from spawners.common.sockets import short_path
from spawners.profiles.profiles import Profiles, load_profiles

from .secrets import ensure_service_token, operator_token_file, token_names
from .settings import Settings

LONGEST_SOCKET = 100

# Made at every start; nothing that is somebody else's may lie in them.
_ROOMS = ("secrets", "run", "db", "logs", "pki")
# Made by who needs them.
_FURTHER = ("local", "users")


def prepare_state(settings: Settings) -> None:
    """Make the state directory (0700 inside) and the secrets that are not there.

    Raises:
        ConfigError: it, or something in it, is somebody else's or open to them;
            nothing of what it holds was believed or run.
        OSError: it cannot be made.
    """
    try:
        _prepare_rooms(settings)
        ensure_secret(operator_token_file(settings))
        ensure_secret(settings.state / "secrets" / "cookie-secret")
        for name in token_names(settings):
            ensure_service_token(settings, name)
    except NotOurs as error:
        raise ConfigError(Path(error.filename), [str(error.strerror)]) from None
    ensure_wal(settings)


def _prepare_rooms(settings: Settings) -> None:
    state = settings.state
    own_directory(state, 0o755, readable=True)
    # The store looks after its own, which may be another account's.
    check_below(state, deep=False, leave=["store"])
    for name in _ROOMS:
        own_directory(state / name)
        check_below(state / name)
    # A HAProxy of the site's may read it.
    own_directory(state / "haproxy", readable=True)
    if settings.proxy.managed:
        check_below(state / "haproxy")
    for name in _FURTHER:
        if os.path.lexists(state / name):
            own_directory(state / name)


def ensure_wal(settings: Settings) -> None:
    """Have JupyterHub's SQLite file keep a write-ahead log, which it does not ask for.

    The mode is kept in the file: readers do not wait for the writer, and a commit
    costs one write. Nothing to do for a database of the site's own.

    Raises:
        ConfigError: the file is no database, or the disk is full.
    """
    url = database_url(settings, "jupyterhub")
    if not url.startswith("sqlite:///"):
        return
    path = url.removeprefix("sqlite:///")
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise ConfigError(Path(path), [f"cannot be used: {error}."]) from None


def hub_socket(settings: Settings) -> Path:
    """Return the Unix socket that the hub listens on; only HAProxy connects."""
    return short_socket(settings.state / "run", "hub.sock")


def jobs_socket(settings: Settings) -> Path:
    """Return the Unix socket of the jobs service."""
    return short_socket(settings.state / "run", "jobs.sock")


def short_socket(directory: Path, name: str) -> Path:
    """Return a socket's path in ``directory``, or one that the kernel can hold.

    See :func:`spawners.common.sockets.short_path`.

    Raises:
        ConfigError: somebody else has made the directory for deep ones.
    """
    try:
        return short_path(directory / name, LONGEST_SOCKET)
    except NotOurs as error:
        raise ConfigError(Path(error.filename), [str(error.strerror)]) from None


def database_url(settings: Settings, name: str) -> str:
    """Return the SQLAlchemy address of a database: the site's, or a file of ours."""
    if settings.database.url:
        return settings.database.url
    return f"sqlite:///{settings.state / 'db' / name}.sqlite"


def pki_directory(settings: Settings) -> Path:
    """Return where the two authorities and their certificates lie."""
    return settings.state / "pki"


def check_certificate(settings: Settings) -> None:
    """Refuse a certificate and key that do not belong together.

    Raises:
        ConfigError: naming the file and the cause.
    """
    tls = settings.hub.tls
    if not tls.certificate:
        return
    files = [str(settings.folder / name) for name in (tls.certificate, tls.key)]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            Path(files[0]), [f"cannot be used with {files[1]}: {error}."]
        ) from None


def site_profiles(settings: Settings) -> Profiles | None:
    """Return what users may pick; ``None`` if the site has no file of profiles.

    Raises:
        ConfigError: the file is faulty, or one that was named is not there.
    """
    path = settings.folder / settings.jobs.profiles
    named = settings.jobs.profiles != JobsSettings().profiles
    return load_profiles(path) if named or path.exists() else None


def kernel_profiles(settings: Settings) -> Profiles | None:
    """Return what users may pick for kernels; ``None`` if the site says nothing.

    Raises:
        ConfigError: as :func:`site_profiles`.
    """
    name = settings.kernels.profiles
    return load_profiles(settings.folder / name) if name else site_profiles(settings)
