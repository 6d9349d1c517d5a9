"""A service's own database: opened, migrated, one transaction per call.

SQLite (WAL) in the state directory, or the site's PostgreSQL. All access runs on one
thread, in the order of the calls; the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from spawners.batch.database import explain, open_engine, upgrade
from spawners.settings import read_toml

T = TypeVar("T")


class Database:
    """The tables of one service. Make one with :meth:`open`."""

    def __init__(self, engine: Engine, what: str) -> None:
        self._engine = engine
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
            StoreUnavailable: it cannot be reached or written to.
            StoreIncompatible: a newer release made it.
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
            StoreUnavailable: nothing was written.
        """

        def transaction() -> T:
            try:
                with self._engine.begin() as connection:
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
