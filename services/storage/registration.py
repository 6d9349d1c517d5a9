"""The storage service as the gateway knows it."""

from __future__ import annotations

from services.common.service import HubRights, Service

from .settings import NAME, PAGE, StorageSettings

READ = "custom:storage:read"
WRITE = "custom:storage:write"
SHARE = "custom:storage:share"

_WHY = (
    "Tells whether a person or group that something is shared with is there, which "
    "groups somebody is in when a public link or long work of hers goes on, and who "
    "has left a group, or has no account any more, and so loses keys."
)


def _hub_rights(settings: StorageSettings) -> HubRights:
    scopes = ("read:users:name", "read:users:groups", "read:groups")
    if settings.kind == "web-identity":
        return HubRights(
            (*scopes, "admin:auth_state"),
            f"{_WHY} Shows the identity provider's tokens of users to the store.",
        )
    return HubRights(scopes, _WHY)


SERVICE = Service(
    name=NAME,
    title="The storage service",
    why="Buckets, shares and short-lived keys; looks after the embedded store, which "
    "outlives it.",
    running="It serves at a socket in the state directory, `run/storage.sock`, and "
    "looks after the\nembedded store, which goes on when it ends.",
    settings=StorageSettings,
    hub_rights=_hub_rights,
    scopes={
        READ: {"description": "See and download your stored objects"},
        WRITE: {
            "description": "Upload, change and delete your stored objects",
            "subscopes": [READ],
        },
        SHARE: {"description": "Share your stored objects and make public links"},
    },
    session_scopes=(WRITE, SHARE),
    page=PAGE,
)
