"""The gateway's services with pages and settings of their own: one line for each.

What the hub has to know of one it reads from that one object
(:class:`services.common.service.Service`).
"""

from __future__ import annotations

from typing import Any

from services.common.service import Service
from services.storage import registration as storage

SERVICES: tuple[Service[Any], ...] = (storage.SERVICE,)
