"""The services of the gateway, in JupyterHub's terms: what each is, and may do.

They are siblings of the hub and not its children: each is started as the table of
processes says (:mod:`hub.run.processes`), and proves itself to the hub by a token of
its own, which lies in a file for both to read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.common.navigation import Entry, Navigation
from services.common.service import Service
from spawners.common.sockets import service_url, url_of_socket

from .config.paths import hub_socket, short_socket
from .config.secrets import ensure_service_token, service_token_file
from .config.settings import Settings
from .registry import SERVICES
from .roles import CULLER, METRICS, OPERATOR, Role, admin_role, service_role, user_role
from .subdomains import service_url as public_url


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service.

    Attributes:
        name: as JupyterHub and its address know it.
        role: its rights; ``None`` if they come from elsewhere.
        api_token: by which the hub knows it.
        socket: where it listens; ``None`` if it serves nothing.
        browser_scopes: what a browser's session with it may do, besides using it.
    """

    name: str
    role: Role | None
    api_token: str = field(repr=False)
    socket: Path | None = None
    browser_scopes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """What JupyterHub knows it by: a name that only our proxy understands."""
        return service_url(self.name) if self.socket else ""

    def to_hub(self) -> dict[str, object]:
        """Return the entry of ``JupyterHub.services``."""
        entry: dict[str, object] = {
            "name": self.name,
            "display": bool(self.url),
            "api_token": self.api_token,
        }
        if self.url:
            entry["url"] = self.url
        if self.browser_scopes:
            entry["oauth_client_allowed_scopes"] = list(self.browser_scopes)
            # It is part of the gateway: nobody is asked whether to trust it.
            entry["oauth_no_confirm"] = True
        return entry


def service_socket(settings: Settings, name: str) -> Path:
    """Return the Unix socket of a service of the registry."""
    return short_socket(settings.state / "run", f"{name}.sock")


def enabled_services(settings: Settings) -> list[Service[Any]]:
    """Return the services of the registry that this site has."""
    return [one for one in SERVICES if settings.services[one.name].enabled]


def service_sockets(settings: Settings) -> dict[str, str]:
    """Return where each service listens that people reach through the edge."""
    return {
        service.name: str(service_socket(settings, service.name))
        for service in enabled_services(settings)
    }


def service_specs(settings: Settings, operator_token: str) -> tuple[ServiceSpec, ...]:
    """Return every service of this site, with its role; makes tokens if needed.

    Raises:
        NotOurs: the file of a token is somebody else's, or open to others.
    """
    specs = [ServiceSpec(OPERATOR.service, OPERATOR, operator_token)]
    token = ensure_service_token(settings, METRICS.service)
    specs.append(ServiceSpec(METRICS.service, METRICS, token))
    if settings.admin_token:
        specs.append(ServiceSpec("admin-token", None, settings.admin_token))
    if settings.culling.enabled:
        token = ensure_service_token(settings, CULLER.service)
        specs.append(ServiceSpec(CULLER.service, CULLER, token))
    specs += [
        ServiceSpec(
            service.name,
            service_role(service, settings.services[service.name]),
            ensure_service_token(settings, service.name),
            socket=service_socket(settings, service.name),
            browser_scopes=service.user_scopes,
        )
        for service in enabled_services(settings)
    ]
    return tuple(specs)


def roles(
    settings: Settings, specs: tuple[ServiceSpec, ...]
) -> list[dict[str, object]]:
    """Return ``JupyterHub.load_roles`` for these services."""
    entries = [spec.role.to_hub() for spec in specs if spec.role]
    entries += [admin_role(spec.name) for spec in specs if not spec.role]
    entries.append(user_role(enabled_services(settings)))
    return entries


def navigation(settings: Settings) -> Navigation:
    """Return what every header shows: of the hub's pages and of the services'."""
    entries = tuple(
        Entry(service.name, service.page, _href(settings, service.name))
        for service in enabled_services(settings)
        if service.page
    )
    return Navigation(settings.hub.name, entries)


def _href(settings: Settings, name: str) -> str:
    if settings.hub.subdomains:
        return public_url(settings, name)
    return f"{settings.hub.base_url}services/{name}/"


def hub_environment_of(settings: Settings, name: str) -> dict[str, str]:
    """Return what a service is told of the hub, by the names that JupyterHub gave it.

    No secret is among it: the service reads its token from a file.
    """
    base = settings.hub.base_url
    environment = {
        "JUPYTERHUB_SERVICE_NAME": name,
        "JUPYTERHUB_API_URL": f"{url_of_socket(hub_socket(settings))}{base}hub/api",
        "JUPYTERHUB_BASE_URL": base,
        "JUPYTERHUB_CLIENT_ID": f"service-{name}",
        "JUPYTERHUB_HOST": "",
        "LANDBRIDGE_TOKEN_FILE": str(service_token_file(settings, name)),
        "LANDBRIDGE_STATE": str(settings.state),
        "PYTHONUNBUFFERED": "1",
    }
    if settings.path:
        environment["LANDBRIDGE_CONFIG"] = str(settings.path)
    return environment


def page_environment_of(settings: Settings, name: str) -> dict[str, str]:
    """Return what a service with pages is told besides, for signing people in."""
    prefix = f"{settings.hub.base_url}services/{name}/"
    access = json.dumps(["access:services", f"access:services!service={name}"])
    environment = {
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": service_url(name),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": access,
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": access,
    }
    environment |= navigation(settings).to_environment()
    public = public_url(settings, name)
    if settings.hub.subdomains:
        environment["JUPYTERHUB_HOST"] = settings.origin
        environment["JUPYTERHUB_OAUTH_CALLBACK_URL"] = f"{public}oauth_callback"
    if settings.hub.subdomains or settings.hub.public_url:
        environment["JUPYTERHUB_PUBLIC_URL"] = public
        environment["JUPYTERHUB_PUBLIC_HUB_URL"] = f"{settings.url}hub/"
    return environment
