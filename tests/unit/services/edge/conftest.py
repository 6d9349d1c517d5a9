"""A short directory, which sockets need."""

from __future__ import annotations

from rigs.edge.edge import directory
