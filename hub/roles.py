"""What each service may do on the hub, and why: one table.

A service gets exactly these scopes. What has pages of its own says it in its own folder
(:mod:`hub.registry`); else a new one is a new row here, with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.common.service import S, Service

from .registry import SERVICES


@dataclass(frozen=True, slots=True)
class Role:
    """One service's rights.

    Attributes:
        service: the service's name, also in the role's name.
        scopes: JupyterHub's scopes, the fewest that do.
        why: the reason, for whoever reviews the table.
    """

    service: str
    scopes: tuple[str, ...]
    why: str

    def to_hub(self) -> dict[str, object]:
        """Return the role as an entry of ``JupyterHub.load_roles``."""
        return {
            "name": f"landbridge-{self.service}",
            "description": self.why,
            "scopes": list(self.scopes),
            "services": [self.service],
        }


CULLER = Role(
    "idle-culler",
    (
        "list:users",
        "read:users:activity",
        "read:servers",
        "delete:servers",
    ),
    "Finds servers without activity and stops them; starts nothing, enters nothing.",
)
OPERATOR = Role(
    "operator",
    ("shutdown", "read:hub", "list:users", "read:servers", "delete:servers"),
    "The landbridge command on the hub's machine: status, and an orderly stop.",
)
METRICS = Role(
    "metrics",
    ("read:metrics",),
    "Prometheus: reads the numbers of the hub; services know its token, too.",
)
ROLES = (CULLER, OPERATOR, METRICS)


def service_role(service: Service[S], section: S) -> Role:
    """Return the role of a service of the registry with these settings."""
    rights = service.hub_rights(section)
    return Role(service.name, rights.scopes, rights.why)


def custom_scopes() -> dict[str, dict[str, object]]:
    """Return what users' own tokens may be cut down to, as JupyterHub takes it.

    A token with no say has all of them.
    """
    return {
        name: dict(scope)
        for service in SERVICES
        for name, scope in service.scopes.items()
    }


def user_role(services: Iterable[Service[Any]]) -> dict[str, object]:
    """Return JupyterHub's ``user`` role: oneself, and these services for users."""
    return {
        "name": "user",
        "scopes": ["self", *(s for one in services for s in one.user_scopes)],
    }


def admin_role(service: str) -> dict[str, object]:
    """Return the entry that gives ``service`` JupyterHub's own ``admin`` role."""
    return {"name": "admin", "services": [service]}
