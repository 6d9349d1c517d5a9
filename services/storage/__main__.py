"""``python -m services.storage``: the service, as the hub starts it."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from services.common.access.people import HubDirectory
from services.common.app import Environment, OpenService, run_service
from services.common.background.tasks import Tasks
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
from .work.upkeep import Housekeeping

PAGES: list[Any] = [
    ("", StartPage, {}),
    ("link/([A-Za-z0-9_-]{20,64})", LinkPage, {}),
    ("content", ContentPage, {}),
    ("preview", PreviewPage, {}),
]


async def open_storage(
    environment: Environment, stack: AsyncExitStack
) -> OpenService[Storage]:
    """Open all that the service needs; see :data:`services.common.app.Open`."""
    settings = StorageSettings()
    if environment.config is not None:
        settings = load(environment.config, StorageSettings, section=NAME)
    database = await open_database(
        database_url(environment.config, environment.state, NAME)
    )
    stack.push_async_callback(database.close)
    auth = environment.auth
    people = HubDirectory(auth.api_url, auth.api_token)
    stack.push_async_callback(people.close)
    store_url = os.environ.get("LANDBRIDGE_ORIGIN", "")
    origin = "://".join(urlsplit(store_url)[:2])
    storage = Storage(
        settings,
        Rows(database),
        people,
        environment.base_url,
        os.environ.get("LANDBRIDGE_PANEL_ORIGINS") or origin,
        environment.pages,
    )
    folder = environment.config.parent if environment.config else environment.state
    connector = Connector(
        storage,
        environment.state / "store",
        folder,
        DriverDeps(
            environment.state / "storage-vault-key",
            SealedRows(database),
            identity_tokens(people),
        ),
        external_url=store_url,
    )
    stack.push_async_callback(connector.close)
    storage.tasks = Tasks(database, tables.tasks, kinds(storage), errors=ERRORS)
    stack.push_async_callback(storage.tasks.close)
    upkeep = Housekeeping(storage)
    stack.push_async_callback(upkeep.close)
    stack.push_async_callback(storage.quota.close)
    connector.start()
    storage.quota.start()
    upkeep.start()
    await storage.tasks.start()
    return OpenService(storage, storage.health, storage.tasks.numbers, PAGES)


def main() -> None:
    """Run the service."""
    run_service(SPEC, open_storage)


if __name__ == "__main__":
    main()
