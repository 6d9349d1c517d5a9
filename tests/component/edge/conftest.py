"""A real HAProxy, origins behind it, and certificates."""

from __future__ import annotations

from rigs.edge.edge import (
    directory,
    free_port,
    kill,
    make_authority,
    make_edge,
    make_origin,
    make_service,
)
