"""``landbridge jobs``: the jobs service in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

from hub.config.paths import jobs_socket, prepare_state
from hub.config.secrets import check_known
from hub.config.settings import Settings
from hub.config.site import check_accounts, detect, jobs_config
from hub.registry import SERVICES
from services.jobs.clients import ClientTokens, table
from services.jobs.process import run


def run_jobs(settings: Settings) -> int:
    """Run the service in the foreground until it is told to end; the jobs go on.

    Raises:
        ConfigError, GatewayError, SocketTaken: it cannot begin.
    """
    site = detect(settings)
    check_accounts(settings, site)
    prepare_state(settings)
    run(jobs_config(settings, site), jobs_socket(settings))
    return 0


def rotate(settings: Settings, client: str, say: Callable[[str], None]) -> int:
    """Give a client another token; the last one is good no more, at once.

    Raises:
        ConfigError: there is no such client.
    """
    clients = table(SERVICES)
    check_known(settings, "client", client, sorted(row.name for row in clients))
    prepare_state(settings)
    file = ClientTokens(settings.state / "secrets", clients).rotate(client)
    say(f"{client} has another token: {file}")
    return 0
