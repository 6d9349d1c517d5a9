"""``python -m services.storage``: the service, as the hub starts it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Any

from services.common.app import Place, run_service
from services.common.store import database_url
from services.common.work import Tasks
from spawners.settings import load

from . import tables
from .connect import Connector
from .pages import StartPage
from .service import Storage
from .settings import NAME, StorageSettings
from .spec import ERRORS, SPEC
from .store import Rows, open_database


async def open_storage(
    place: Place, stack: AsyncExitStack
) -> tuple[Storage, list[Any], Any]:
    """Open all that the service needs; see :data:`services.common.app.Open`."""
    settings = StorageSettings()
    if place.config is not None:
        settings = load(place.config, StorageSettings, section=NAME)
    database = await open_database(database_url(place.config, place.state, NAME))
    stack.push_async_callback(database.close)
    storage = Storage(settings, Rows(database), place.base_url)
    storage.tasks = Tasks(database, tables.tasks, {}, errors=ERRORS)
    stack.push_async_callback(storage.tasks.close)
    folder = place.config.parent if place.config else place.state
    connector = Connector(
        storage,
        place.state / "store",
        folder,
        external_url=os.environ.get("LANDBRIDGE_STORE_URL", ""),
    )
    connector.start()
    stack.push_async_callback(connector.close)
    return storage, [("", StartPage, {})], storage.health


def main() -> None:
    """Run the service."""
    run_service(SPEC, open_storage)


if __name__ == "__main__":
    main()
