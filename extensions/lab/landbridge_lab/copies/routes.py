"""``landbridge/storage/copies``: what the browser asks about copies.

``GET copies`` answers ``{"copies": [...]}``, newest first; ``POST copies`` with
``{"kind", "bucket", "names", "target", "overwrite"}`` begins one; ``GET copies/ID``;
``POST copies/ID/cancel`` and ``/resume``. See :class:`.copies.Copy` for the fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any  # JSON, and handlers' arguments

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from ..gateway.storage import StorageService
from .copies import Copies
from .files import FileRefused
from .work import Copy

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MOST_NAMES = 1000
_LONGEST_NAME = 4096


class _Handler(APIHandler):
    """What the handlers share."""

    auth_resource = "contents"

    def initialize(self, copies: Callable[[], Copies]) -> None:
        """Keep what makes the copies, at their first use."""
        self.copies = copies

    def answer(self, value: object, status: int = 200) -> None:
        """Answer JSON."""
        self.set_status(status)
        self.finish(json.dumps(value))

    def refuse(self, status: int, message: str, field: str = "") -> None:
        """Answer an error in the storage service's shape."""
        error = {"code": "bad-copy", "message": message, "hint": "", "field": field}
        self.answer({"error": error}, status)

    def find(self, copy_id: str) -> Copy | None:
        """Return a copy, or answer 404."""
        copy = self.copies().get(copy_id)
        if copy is None:
            self.refuse(404, "There is no such copy.")
        return copy


class CopiesHandler(_Handler):
    """All copies."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List them."""
        self.answer({"copies": [copy.to_json() for copy in self.copies().list()]})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Begin one."""
        body = self.get_json_body() or {}
        field = _problem(body)
        if field:
            self.refuse(400, f"{field} is missing, or is not what it should be.", field)
            return
        try:
            copy = self.copies().begin(
                kind=body["kind"],
                bucket=body["bucket"],
                names=body["names"],
                target=body["target"],
                overwrite=body.get("overwrite", False),
            )
        except FileRefused as error:
            self.refuse(400, f"This path cannot be used: {error}.")
            return
        self.answer(copy.to_json(), 202)


def _problem(body: Any) -> str:
    """Return the field that is wrong; ``""`` if none is."""
    if not isinstance(body, dict):
        return "body"
    names = body.get("names")
    good = {
        "kind": body.get("kind") in ("to-home", "from-home"),
        "bucket": isinstance(body.get("bucket"), str)
        and bool(_BUCKET.fullmatch(body["bucket"])),
        "names": isinstance(names, list)
        and 0 < len(names) <= _MOST_NAMES
        and all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names),
        "target": isinstance(body.get("target"), str)
        and len(body["target"]) <= _LONGEST_NAME,
        "overwrite": isinstance(body.get("overwrite", False), bool),
    }
    return next((field for field, is_good in good.items() if not is_good), "")


class CopyHandler(_Handler):
    """One copy."""

    # A page that looks at it keeps no server alive.
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, copy_id: str) -> None:
        """Tell how far it is."""
        if copy := self.find(copy_id):
            self.answer(copy.to_json())


class ActHandler(_Handler):
    """What may be done with a copy."""

    @web.authenticated
    @authorized
    async def post(self, copy_id: str, act: str) -> None:
        """Call it off, or go on with it."""
        if copy := self.find(copy_id):
            copies = self.copies()
            (copies.cancel if act == "cancel" else copies.resume)(copy)
            self.answer((copies.get(copy_id) or copy).to_json())


def routes(
    settings: dict[str, Any], root: str, environment: Mapping[str, str]
) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return the handlers to add; none where there is no gateway.

    Args:
        settings: the notebook server's.
        root: its root directory.
        environment: says where the storage service is.
    """
    service = StorageService.of(environment)
    if service is None:
        return []

    def active() -> None:
        # A server that copies is not idle, though nobody asks it anything.
        times = settings.setdefault("last_activity_times", {})
        times["landbridge-copies"] = datetime.now(UTC)

    @cache
    def copies() -> Copies:
        journal = Path(jupyter_data_dir()) / "landbridge" / "copies"
        return Copies(service, Path(root), journal, active=active)

    place = url_path_join(settings["base_url"], "landbridge", "storage", "copies")
    shared = {"copies": copies}
    return [
        (place, CopiesHandler, shared),
        (f"{place}/([0-9a-f]{{16}})", CopyHandler, shared),
        (f"{place}/([0-9a-f]{{16}})/(cancel|resume)", ActHandler, shared),
    ]
