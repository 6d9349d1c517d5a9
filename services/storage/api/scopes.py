"""What a token must hold for a call of this service, as scopes of the hub."""

from __future__ import annotations

READ = "custom:storage:read"
WRITE = "custom:storage:write"
SHARE = "custom:storage:share"
