"""The processes of a gateway: one table, for all who start, watch or ask them.

``landbridge up`` starts and watches them on a laptop, systemd on a site
(:mod:`.units`), compose in the demo; ``landbridge NAME`` runs one of them alone. None
is a child of another: each can be killed, started and upgraded by itself. A new one is
a new row here, with its reason.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.config.paths import hub_socket, jobs_socket
from hub.config.settings import CHECKOUT, Settings
from hub.roles import CULLER
from hub.services import (
    enabled_services,
    hub_environment_of,
    page_environment_of,
    service_socket,
)
from hub.subdomains import any_origin
from services.common.service import Service
from services.jobs.clients import ClientTokens
from services.jobs.settings import Site

# -P: a process runs in the state directory, and what lies there is no code of ours.
_PYTHON = (sys.executable, "-P", "-m")
_CLI = (*_PYTHON, "hub.cli")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process.

    Attributes:
        name: of ``landbridge NAME``, of its log and of its unit.
        title: for people, as the subject of a sentence.
        why: what it does, for whoever reviews the table.
        command: its argv.
        socket: where it listens; ``None`` if it serves nothing.
        health: the path at which it says there how it is.
        needs: those that have to serve before it is started.
        environment: what it is told besides what all are told; no secrets.
        secrets: variables of ours that hold secrets and are for it alone.
        start_seconds: it has for coming to serve.
        patience_seconds: it has for ending on SIGTERM.
    """

    name: str
    title: str
    why: str
    command: tuple[str, ...]
    socket: Path | None = None
    health: str = ""
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    start_seconds: float = 60.0
    patience_seconds: float = 15.0


#: The name of the process that is not of Python: ``landbridge up`` owns it itself.
EDGE = "edge"

_SECRETS = ("LANDBRIDGE_PASSWORD", "LANDBRIDGE_ADMIN_TOKEN")


def process_specs(settings: Settings) -> tuple[ProcessSpec, ...]:
    """Return every process of this site, in the order in which they are started."""
    specs = [jobs(settings), edge(), hub(settings)]
    specs += [service(settings, one) for one in enabled_services(settings)]
    if settings.culling.enabled:
        specs.append(culler(settings))
    return tuple(specs)


def process_spec(settings: Settings, name: str) -> ProcessSpec | None:
    """Return the process called ``name``; ``None`` if this site has none."""
    specs = {spec.name: spec for spec in process_specs(settings)}
    return specs.get(name)


def jobs(settings: Settings) -> ProcessSpec:
    """Return the jobs service."""
    return ProcessSpec(
        "jobs",
        "The jobs service",
        "Submits, watches and ends all batch jobs; alone has the power to become a "
        "user, and the keys of the jobs' authorities.",
        (*_CLI, "jobs"),
        socket=jobs_socket(settings),
        health="/health",
    )


def edge() -> ProcessSpec:
    """Return HAProxy, and what keeps it running."""
    return ProcessSpec(
        EDGE,
        "The edge",
        "HAProxy: every byte of browsers, servers and jobs goes through it. Its "
        "certificate for jobs is the jobs service's to make.",
        (*_CLI, EDGE),
        needs=("jobs",),
    )


def hub(settings: Settings) -> ProcessSpec:
    """Return JupyterHub with the site's or our own configuration file."""
    config = settings.folder / "jupyterhub_config.py"
    if not config.is_file():
        config = CHECKOUT / "config" / "jupyterhub_config.py"
    command = (*_PYTHON, "hub.app")
    return ProcessSpec(
        "hub",
        "The hub",
        "Signs people in and starts their servers, as a client of the jobs service. "
        "It waits for that and for the edge by itself.",
        (*command, f"--config={config}") if config.is_file() else command,
        socket=hub_socket(settings),
        health=f"{settings.hub.base_url}hub/health",
        secrets=_SECRETS,
        start_seconds=120.0,
        patience_seconds=60.0,
    )


def service(settings: Settings, declared: Service[Any]) -> ProcessSpec:
    """Return a service of the registry."""
    name, socket = declared.name, service_socket(settings, declared.name)
    environment = {
        **hub_environment_of(settings, name),
        **page_environment_of(settings, name),
        "LANDBRIDGE_SOCKET": str(socket),
        "LANDBRIDGE_ORIGIN": settings.origin,
    }
    if declared.jobs is not None:
        environment["LANDBRIDGE_JOBS_SOCKET"] = str(jobs_socket(settings))
        tokens = ClientTokens(settings.state / "secrets")
        environment["LANDBRIDGE_JOBS_TOKEN_FILE"] = str(tokens.file_of(name))
    if settings.hub.subdomains:
        # Panels are shown in JupyterLab, too, at each user's own host.
        environment["LANDBRIDGE_PANEL_ORIGINS"] = any_origin(settings)
    return ProcessSpec(
        name,
        declared.title,
        declared.why,
        (*_PYTHON, declared.module),
        socket=socket,
        health=f"{settings.hub.base_url}services/{name}/health",
        environment=environment,
    )


def culler(settings: Settings) -> ProcessSpec:
    """Return what stops idle servers."""
    culling = settings.culling
    command = [*_PYTHON, "hub.run.culler"]
    command.append(f"--timeout={int(culling.idle_after.total_seconds())}")
    command.append(f"--cull-every={int(culling.check_every.total_seconds())}")
    if culling.oldest:
        command.append(f"--max-age={int(culling.oldest.total_seconds())}")
    return ProcessSpec(
        "culler",
        "The culler",
        "Stops servers that nobody uses, through the hub.",
        tuple(command),
        needs=("hub",),
        environment=hub_environment_of(settings, CULLER.service),
    )


def environment_of(
    spec: ProcessSpec,
    settings: Settings,
    site: Site,
    environment: Mapping[str, str],
    *,
    password: str = "",
) -> dict[str, str]:
    """Return a process's whole environment: ours, with all choices made.

    Args:
        spec: the process.
        settings: the site's.
        site: what ``auto`` came to.
        environment: ours; secrets in it go to whom they are for alone.
        password: the demo password.
    """
    child = dict(environment)
    child["LANDBRIDGE_STATE"] = str(settings.state)
    child["LANDBRIDGE_PORT"] = str(settings.hub.port)
    child["LANDBRIDGE_SCHEDULER"] = site.scheduler
    if password:
        child["LANDBRIDGE_PASSWORD"] = password
    if settings.path:
        child["LANDBRIDGE_CONFIG"] = str(settings.path)
    binaries = str(Path(sys.executable).parent)
    child["PATH"] = os.pathsep.join([binaries, child.get("PATH", os.defpath)])
    child["PYTHONUNBUFFERED"] = "1"
    for name in _SECRETS:
        if name not in spec.secrets:
            child.pop(name, None)
    return child | dict(spec.environment)
