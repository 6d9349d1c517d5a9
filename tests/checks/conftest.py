"""What some checks need."""

from __future__ import annotations

from rigs.hub.terminal import short_tmp
