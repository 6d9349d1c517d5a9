"""``python -m services.storage``: the service, as the hub starts it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from services.common.app import Place, run_service
from services.common.auth import hub_auth
from services.common.people import People
from services.common.work import Tasks
from spawners.common.database import database_url
from spawners.common.settings import load

from .api.pages import ContentPage, LinkPage, StartPage
from .api.preview import PreviewPage
from .connect import Connector
from .db import tables
from .db.rows import Rows, SealedRows, open_database
from .drivers.identity import identity_tokens
from .service import Storage
from .settings import NAME, StorageSettings
from .site.drivers import DriverDeps
from .spec import ERRORS, SPEC
from .work.transfers import kinds
from .work.upkeep import Upkeep

PAGES: list[Any] = [
    ("", StartPage, {}),
    ("link/([A-Za-z0-9_-]{20,64})", LinkPage, {}),
    ("content", ContentPage, {}),
    ("preview", PreviewPage, {}),
]


async def open_storage(
    place: Place, stack: AsyncExitStack
) -> tuple[Storage, list[Any], Any]:
    """Open all that the service needs; see :data:`services.common.app.Open`."""
    settings = StorageSettings()
    if place.config is not None:
        settings = load(place.config, StorageSettings, section=NAME)
    database = await open_database(database_url(place.config, place.state, NAME))
    stack.push_async_callback(database.close)
    auth = hub_auth()
    people = People(auth.api_url, auth.api_token)
    stack.push_async_callback(people.close)
    store_url = os.environ.get("LANDBRIDGE_STORE_URL", "")
    origin = "://".join(urlsplit(store_url)[:2])
    storage = Storage(
        settings,
        Rows(database),
        people,
        place.base_url,
        os.environ.get("LANDBRIDGE_PANEL_ORIGINS") or origin,
        place.pages,
        place.hub,
    )
    folder = place.config.parent if place.config else place.state
    connector = Connector(
        storage,
        place.state / "store",
        folder,
        DriverDeps(
            place.state / "storage-vault-key",
            SealedRows(database),
            identity_tokens(people),
        ),
        external_url=store_url,
    )
    stack.push_async_callback(connector.close)
    storage.tasks = Tasks(database, tables.tasks, kinds(storage), errors=ERRORS)
    stack.push_async_callback(storage.tasks.close)
    upkeep = Upkeep(storage)
    stack.push_async_callback(upkeep.close)
    stack.push_async_callback(storage.meter.close)
    connector.start()
    storage.meter.start()
    upkeep.start()
    await storage.tasks.start()
    return storage, PAGES, storage.health


def main() -> None:
    """Run the service."""
    run_service(SPEC, open_storage)


if __name__ == "__main__":
    main()
