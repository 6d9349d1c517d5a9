"""What each service may do on the hub, and why: one table.

A service gets exactly these scopes. A new one is a new row here, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass


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
ROLES = (CULLER, OPERATOR)


def admin_role(service: str) -> dict[str, object]:
    """Return the entry that gives ``service`` JupyterHub's own ``admin`` role."""
    return {"name": "admin", "services": [service]}
