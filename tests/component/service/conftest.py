"""The service's process on a store of the site, by each way of getting keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rigs.services.service import ServiceProcess, running_service, write_key
from rigs.stores.sites import StoreFacts

Serve = Callable[..., ServiceProcess]


def at_localhost(endpoint: str) -> str:
    """The store by another host name than the service's, as `direct` needs it."""
    return endpoint.replace("127.0.0.1", "localhost")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a service on a store: ``serve(facts, credentials="sts", ...)``."""
    with ExitStack() as stack:

        def start(
            facts: StoreFacts, *, broker: bool = True, **more: Any
        ) -> ServiceProcess:
            settings = {
                "endpoint": at_localhost(facts.endpoint),
                "route": "direct",
                **more,
            }
            if broker:
                key = facts.key
                settings["key_file"] = write_key(
                    tmp_path, key.access_key, key.secret_key
                )
            return stack.enter_context(running_service(tmp_path, settings))

        yield start
