"""What each service may do on the hub, and why: one table.

A service gets exactly these scopes. A new one is a new row here, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
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
STORAGE = Role(
    "storage",
    ("read:users:name", "read:users:groups", "read:groups"),
    "Tells whether a person or group that something is shared with is there, which "
    "groups somebody is in when a public link or long work of hers goes on, and who "
    "has left a group, or has no account any more, and so loses keys.",
)
STORAGE_BY_IDENTITY = Role(
    STORAGE.service,
    (*STORAGE.scopes, "admin:auth_state"),
    f"{STORAGE.why} Shows the identity provider's tokens of users to the store.",
)
ROLES = (CULLER, OPERATOR, STORAGE)

# What users' own tokens may be cut down to. A token with no say has all of them.
CUSTOM_SCOPES: Mapping[str, Mapping[str, object]] = {
    "custom:storage:read": {"description": "See and download your stored objects"},
    "custom:storage:write": {
        "description": "Upload, change and delete your stored objects",
        "subscopes": ["custom:storage:read"],
    },
    "custom:storage:share": {
        "description": "Share your stored objects and make public links"
    },
}
# What a notebook server may do with storage in its user's name.
SERVER_STORAGE_SCOPES = (
    "access:services!service=storage",
    "custom:storage:write",
    "custom:storage:share",
)


def user_role(*, storage: bool) -> dict[str, object]:
    """Return JupyterHub's ``user`` role: oneself, and the services for users."""
    scopes = ["self", *(SERVER_STORAGE_SCOPES if storage else ())]
    return {"name": "user", "scopes": scopes}


def admin_role(service: str) -> dict[str, object]:
    """Return the entry that gives ``service`` JupyterHub's own ``admin`` role."""
    return {"name": "admin", "services": [service]}
