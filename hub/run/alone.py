"""``landbridge NAME``: one process of the table in the foreground, by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hub.config.paths import check_certificate, pki_directory, prepare_state
from hub.config.secrets import (
    check_known,
    ensure_password,
    rotate_service_token,
    token_names,
)
from hub.config.settings import Settings
from hub.config.site import check_accounts, detect
from hub.edge import make_edge
from services.common.listening import run_until_stopped
from services.edge.errors import ProxyFault
from services.edge.process import Edge, WrittenEdge
from services.jobs.settings import Site
from spawners.batch.rendezvous.certificates import edge_files
from spawners.common.errors import GatewayError
from spawners.common.settings import ConfigError

from .processes import EDGE, environment_of, process_spec

_CERTIFICATES_SECONDS = 60.0
_STEP_SECONDS = 0.2


def run_process(settings: Settings, name: str, environment: Mapping[str, str]) -> int:
    """Become the process called ``name``, as the table says; does not return.

    Raises:
        ConfigError: this site has no such process, or it cannot begin.
    """
    spec = process_spec(settings, name)
    where = settings.path or Path("gateway.toml")
    if spec is None:
        raise ConfigError(where, [f"{name} is not enabled here."])
    site = detect(settings)
    check_accounts(settings, site)
    prepare_state(settings)
    password = settings.password or ensure_password(settings)
    child = environment_of(spec, settings, site, environment, password=password)
    os.chdir(settings.state)
    os.execve(spec.command[0], list(spec.command), child)  # noqa: S606 -- our own


def run_edge(settings: Settings) -> int:
    """Keep HAProxy running until SIGTERM or SIGINT, which end it as well.

    SIGHUP, or a kill, ends us alone; the next start goes on with HAProxy, so that its
    owner can be upgraded while connections stay.

    Raises:
        ConfigError, GatewayError: it cannot begin; in words.
    """
    site = detect(settings)
    check_certificate(settings)
    prepare_state(settings)
    run_until_stopped(EDGE, partial(_serve_edge, settings, site))
    return 0


async def _serve_edge(settings: Settings, site: Site, stop: asyncio.Event) -> None:
    await _wait_for_certificates(settings, stop)
    if stop.is_set():
        return
    edge: Edge | WrittenEdge = make_edge(settings, site)
    try:
        await edge.start()
    except ProxyFault as error:
        raise GatewayError(f"The edge cannot be started: {error}") from None
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, let_go.set)
    waits = [asyncio.create_task(event.wait()) for event in (stop, let_go)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    if stop.is_set():
        await edge.stop()
    else:
        await edge.close()


async def _wait_for_certificates(settings: Settings, stop: asyncio.Event) -> None:
    """Wait until the jobs service has made what the edge proves itself with.

    Raises:
        GatewayError: it did not, in time.
    """
    files = edge_files(pki_directory(settings))
    deadline = time.monotonic() + _CERTIFICATES_SECONDS
    while (missing := files.missing) and not stop.is_set():
        if time.monotonic() > deadline:
            raise GatewayError(
                f"{missing[0]} is not there.",
                hint="The jobs service makes it: start landbridge jobs.",
            )
        await asyncio.sleep(_STEP_SECONDS)


def rotate(settings: Settings, name: str, say: Callable[[str], None]) -> int:
    """Give a service another token of the hub's.

    Raises:
        ConfigError: there is no such service.
    """
    check_known(settings, "service", name, token_names(settings))
    prepare_state(settings)
    file = rotate_service_token(settings, name)
    say(f"{name} has another token: {file}")
    say("Start the hub and then the service again: with that the old one is dead.")
    return 0
