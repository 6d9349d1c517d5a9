"""Any database of ours: opened, closed to others, migrated, its errors in words.

SQLite (WAL, durable commits) or PostgreSQL, by URL. Callers run every transaction on
one thread of their own; see :class:`~spawners.batch.store.JobStore`.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from .errors import StoreIncompatible, StoreUnavailable


def open_engine(url: str, timeout_seconds: float, *, what: str) -> Engine:
    """Return an engine for ``url``; nothing is connected yet.

    Args:
        url: an SQLAlchemy URL. An SQLite file is made for its owner alone.
        timeout_seconds: how long a call waits for a lock of somebody else.
        what: names it in errors, e.g. ``"database of jobs"``.

    Raises:
        StoreUnavailable: the file cannot be written.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            parsed,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": max(1, int(timeout_seconds)),
                "options": f"-c lock_timeout={int(timeout_seconds * 1000)}"
                f" -c statement_timeout={int(timeout_seconds * 4000)}",
            },
        )
        return engine
    in_memory = parsed.database in (None, "", ":memory:")
    if parsed.database and not in_memory:
        _create_private(Path(parsed.database), what)
    engine = sa.create_engine(
        parsed,
        poolclass=StaticPool if in_memory else None,
        connect_args={"timeout": timeout_seconds, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(path: Path, what: str) -> None:
    """Create the file for its owner alone; it may hold what users wrote."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"Cannot write the {what} {path}: {error.strerror}.",
            hint="Check that its directory exists and that its disk has space.",
        ) from error


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    """Leave transactions to us, and make a commit survive a power cut."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that starts as a reader cannot wait for a lock when it writes.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def upgrade(connection: Connection, migrations: Path, *, what: str) -> None:
    """Bring the tables up to date by the migrations in a directory.

    Raises:
        StoreIncompatible: a newer release made them.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreIncompatible(
            f"The {what} is not of this release: {error}.",
            hint="Install the release that wrote it, or restore a backup.",
        ) from error


def explain(
    error: SQLAlchemyError, *, what: str
) -> StoreUnavailable | StoreIncompatible:
    """Return what a failed call means; its reason is cut to one line."""
    reason = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0][:200]
    if "not a database" in reason or "malformed" in reason:
        return StoreIncompatible(
            f"The {what} is damaged: {reason}.", hint="Restore a backup."
        )
    return StoreUnavailable(
        f"The {what} did not take a call: {reason}.",
        hint="Check that it is reachable and that its disk has space.",
    )
