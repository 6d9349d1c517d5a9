"""The services that the hub starts: from what each is to JupyterHub's own terms."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spawners.common.sockets import service_url

from .child import PARENT
from .config.paths import short_socket
from .config.settings import Settings
from .roles import (
    CULLER,
    OPERATOR,
    SERVER_STORAGE_SCOPES,
    STORAGE,
    STORAGE_BY_IDENTITY,
    Role,
    admin_role,
    user_role,
)
from .subdomains import any_origin

# -P: a service's directory is the state's, and what lies there is no code of ours.
_PYTHON = (sys.executable, "-P")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service.

    Attributes:
        name: as JupyterHub and its address know it.
        role: its rights; ``None`` if they come from elsewhere.
        command: how the hub starts it; empty if it runs by itself or is no program.
        socket: where it listens; ``None`` if it serves nothing.
        environment: for its process; no secrets.
        api_token: a token made by us; empty: the hub makes one for each run.
        browser_scopes: what a browser's session with it may do, besides using it.
    """

    name: str
    role: Role | None
    command: tuple[str, ...] = ()
    socket: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    api_token: str = field(default="", repr=False)
    browser_scopes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """What JupyterHub knows it by: a name that only our proxy understands."""
        return service_url(self.name) if self.socket else ""

    def to_hub(self) -> dict[str, object]:
        """Return the entry of ``JupyterHub.services``."""
        entry: dict[str, object] = {"name": self.name, "display": bool(self.url)}
        if self.command:
            # A hub that is killed while a service of its starts is missed by it else.
            environment = {PARENT: str(os.getpid()), **self.environment}
            if self.socket:
                environment["LANDBRIDGE_SOCKET"] = str(self.socket)
            entry["command"] = list(self.command)
            entry["environment"] = environment
        if self.url:
            entry["url"] = self.url
        if self.browser_scopes:
            entry["oauth_client_allowed_scopes"] = list(self.browser_scopes)
            # It is part of the gateway: nobody is asked whether to trust it.
            entry["oauth_no_confirm"] = True
        if self.api_token:
            entry["api_token"] = self.api_token
        return entry


def idle_culler(settings: Settings) -> ServiceSpec:
    """Return the service that stops idle servers."""
    culling = settings.culling
    command = [*_PYTHON, "-m", "hub.child", "hub.run.culler"]
    command.append(f"--timeout={int(culling.idle_after.total_seconds())}")
    command.append(f"--cull-every={int(culling.check_every.total_seconds())}")
    if culling.oldest:
        command.append(f"--max-age={int(culling.oldest.total_seconds())}")
    return ServiceSpec(CULLER.service, CULLER, tuple(command))


def storage(settings: Settings) -> ServiceSpec:
    """Return the storage service."""
    environment = {
        "LANDBRIDGE_STATE": str(settings.state),
        "LANDBRIDGE_STORE_URL": settings.origin,
        "PYTHONUNBUFFERED": "1",
    }
    if settings.hub.subdomains:
        # The panel is shown in JupyterLab, too, at each user's own host.
        environment["LANDBRIDGE_PANEL_ORIGINS"] = any_origin(settings)
    if settings.path:
        environment["LANDBRIDGE_CONFIG"] = str(settings.path)
    by_identity = settings.storage.kind == "web-identity"
    return ServiceSpec(
        STORAGE.service,
        STORAGE_BY_IDENTITY if by_identity else STORAGE,
        (*_PYTHON, "-m", "hub.child", "services.storage.__main__"),
        socket=short_socket(settings.state / "run", "storage.sock"),
        environment=environment,
        browser_scopes=SERVER_STORAGE_SCOPES,
    )


def service_specs(settings: Settings, operator_token: str) -> tuple[ServiceSpec, ...]:
    """Return every service of this site, with its role."""
    specs = [ServiceSpec(OPERATOR.service, OPERATOR, api_token=operator_token)]
    if settings.admin_token:
        specs.append(ServiceSpec("admin-token", None, api_token=settings.admin_token))
    if settings.culling.enabled:
        specs.append(idle_culler(settings))
    if settings.storage.enabled:
        specs.append(storage(settings))
    return tuple(specs)


def roles(specs: tuple[ServiceSpec, ...]) -> list[dict[str, object]]:
    """Return ``JupyterHub.load_roles`` for these services."""
    entries = [spec.role.to_hub() for spec in specs if spec.role]
    entries += [admin_role(spec.name) for spec in specs if not spec.role]
    entries.append(
        user_role(storage=any(spec.name == STORAGE.service for spec in specs))
    )
    return entries
