"""The ``landbridge`` command as a person starts it."""

from __future__ import annotations

from rigs.hub.terminal import free_port, place, run, short_tmp
