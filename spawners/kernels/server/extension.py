"""What is switched on in a notebook server, and when."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any  # a ServerApp; jupyter_server's hooks pass it untyped

from spawners.common.settings import ConfigError

from ..context import context_for
from ..launch import launcher_program
from ..settings import VARIABLE, load_kernel_settings
from .channels import LandbridgeWebsocketConnection
from .cluster import SiteOffer
from .housekeeping import Chores
from .jobs import KernelJobs
from .manager import LandbridgeMappingKernelManager
from .routes import routes
from .specs import LandbridgeKernelSpecManager

log = logging.getLogger(__name__)


def available() -> bool:
    """Whether this server's environment says that kernels may be jobs."""
    return bool(os.environ.get(VARIABLE))


def link(server_app: Any) -> bool:
    """Choose our classes, before jupyter_server makes its parts of them.

    What a person has configured otherwise stays. Returns whether ours are used.
    """
    if not available():
        return False
    config = server_app.config
    elsewhere = "url" in config.GatewayClient or os.environ.get("JUPYTER_GATEWAY_URL")
    if "kernel_manager_class" in config.ServerApp or elsewhere:
        return False
    try:
        directory = _prepared_directory()
    except (ConfigError, OSError) as error:
        log.error("Kernels as jobs are switched off: %s", error)  # noqa: TRY400
        return False
    server_app.kernel_manager_class = LandbridgeMappingKernelManager
    server_app.kernel_websocket_connection_class = LandbridgeWebsocketConnection
    server_app.kernel_spec_manager_class = LandbridgeKernelSpecManager
    sessions = server_app.config.SessionManager
    if "database_filepath" not in sessions:
        sessions.database_filepath = str(directory / f"sessions-{_owner_name()}.db")
    return True


def _prepared_directory() -> Path:
    settings = load_kernel_settings()
    context_for(settings)  # every fault of the settings shows here
    launcher_program()  # as of this release, whatever is installed over it later
    directory = settings.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _owner_name() -> str:
    name = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
    return "".join(c if c.isalnum() else "-" for c in name) or "default"


def load(server_app: Any) -> list[KernelJobs]:
    """Add the routes, and look for kernels that an earlier server left.

    Returns what "My jobs" lists, nothing if kernels are no jobs here.
    """
    kernels = server_app.kernel_manager
    if not isinstance(kernels, LandbridgeMappingKernelManager):
        return []
    offer = SiteOffer(kernels.context_of_jobs)
    if isinstance(server_app.kernel_spec_manager, LandbridgeKernelSpecManager):
        server_app.kernel_spec_manager.offer = offer
    server_app.web_app.settings["landbridge_offer"] = offer
    server_app.web_app.add_handlers(
        ".*$", routes(server_app.web_app.settings["base_url"], kernels)
    )
    loop = server_app.io_loop
    loop.add_callback(offer.refresh)
    loop.add_callback(kernels.adopt_left)
    chores = Chores(kernels)
    kernels.at_the_end = chores.close
    loop.add_callback(chores.begin)
    return [KernelJobs(kernels, server_app.session_manager)]
