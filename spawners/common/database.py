"""Any database of ours: opened, closed to others, migrated, its errors in words.

SQLite (WAL, durable commits) or PostgreSQL, by URL. Every transaction runs on one
thread, in the order of the calls (:class:`Database`, and the job store by itself); the
event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import TypeDecorator

from spawners.common.errors import DatabaseIncompatible, DatabaseUnavailable
from spawners.common.settings import read_toml

_READS = "landbridge_reads"


def open_engine(url: str, timeout_seconds: float, *, what: str) -> Engine:
    """Return an engine for ``url``; nothing is connected yet.

    Args:
        url: an SQLAlchemy URL. An SQLite file is made for its owner alone.
        timeout_seconds: how long a call waits for a lock of somebody else.
        what: names it in errors, e.g. ``"database of jobs"``.

    Raises:
        DatabaseUnavailable: the file cannot be written.
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
        raise DatabaseUnavailable(
            f"Cannot write the {what} {path}: {error.strerror}.",
            hint="Check that its directory exists and that its disk has space.",
        ) from error


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    """Leave transactions to us, have commits survive a power cut, erase what goes."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = bool(connection.get_execution_options().get(_READS))
    # A write in what was begun to read would not wait for its lock: it is refused.
    connection.exec_driver_sql(f"PRAGMA query_only={int(reads)}")
    # A transaction that starts as a reader cannot wait for a lock when it writes.
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def upgrade(connection: Connection, migrations: Path, *, what: str) -> None:
    """Bring the tables up to date by the migrations in a directory.

    Raises:
        DatabaseIncompatible: a newer release made them.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseIncompatible(
            f"The {what} is not of this release: {error}.",
            hint="Install the release that wrote it, or restore a backup.",
        ) from error


def explain(
    error: SQLAlchemyError, *, what: str
) -> DatabaseUnavailable | DatabaseIncompatible:
    """Return what a failed call means; its reason is cut to one line."""
    reason = (str(getattr(error, "orig", None) or error).splitlines() or [""])[0][:200]
    if "not a database" in reason or "malformed" in reason:
        return DatabaseIncompatible(
            f"The {what} is damaged: {reason}.", hint="Restore a backup."
        )
    return DatabaseUnavailable(
        f"The {what} did not take a call: {reason}.",
        hint="Check that it is reachable and that its disk has space.",
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which knows no zones, stores it without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Convert on the way in; a naive time is a bug and refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the job store must be aware")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Return an aware UTC time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value


T = TypeVar("T")


class Database:
    """The tables of one service. Make one with :meth:`open`."""

    def __init__(self, engine: Engine, what: str) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{_READS: True})
        self._what = what
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")

    @classmethod
    async def open(
        cls, url: str, migrations: Path, *, what: str, timeout_seconds: float = 5.0
    ) -> Database:
        """Connect to ``url`` and bring its tables up to date.

        Args:
            url: an SQLAlchemy URL.
            migrations: Alembic's directory; its ``env.py`` names the version table.
            what: names it in errors, e.g. ``"database of storage"``.
            timeout_seconds: how long a call waits for a lock of somebody else.

        Raises:
            DatabaseUnavailable: it cannot be reached or written to.
            DatabaseIncompatible: a newer release made it.
        """
        engine = open_engine(url, timeout_seconds, what=what)
        database = cls(engine, what)
        try:
            await database.run(lambda c: upgrade(c, migrations, what=what))
        except BaseException:
            await database.close()
            raise
        return database

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction and return what it returns.

        Raises:
            IntegrityError: a row is there already; nothing was written.
            DatabaseUnavailable: nothing was written.
        """
        return await self._transact(self._engine, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, in one transaction; return what it returns.

        It sees one moment of all tables. With SQLite it waits for no writer, and no
        writer waits for it.

        Raises:
            DatabaseUnavailable: it was not read, or ``work`` wanted to write.
        """
        return await self._transact(self._reading, work)

    async def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except IntegrityError:
                raise
            except SQLAlchemyError as error:
                raise explain(error, what=self._what) from error

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, transaction)

    async def close(self) -> None:
        """Finish what was asked for and disconnect."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)


def database_url(config: Path | None, state: Path, name: str) -> str:
    """Return where a service's tables are: ``[database] url``, or a file of ours."""
    table = read_toml(config).get("database", {}) if config else {}
    return str(table.get("url") or f"sqlite:///{state / 'db' / name}.sqlite")
