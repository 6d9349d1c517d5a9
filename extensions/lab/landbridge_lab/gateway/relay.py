"""``landbridge/storage/PATH``: the storage service's REST, for this server's pages.

JupyterLab runs under ``/user/NAME/`` and has no session with the storage service. Its
requests come here and go on with the server's own token, JSON both ways: bytes of
objects never pass, these go between the browser and the store by signed URLs. Such a
URL holds for one host name, so the service is told by which the browser came.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any  # handlers' arguments, as Tornado has them

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from .storage import StorageService

_CALLS = (
    "me",
    "key",
    "buckets",
    "objects",
    "tasks",
    "urls",
    "uploads",
    "shares",
    "links",
    "credentials",
    "audit",
)
_PATH = rf"((?:{'|'.join(_CALLS)})(?:/[A-Za-z0-9._-]{{1,128}}){{0,3}})"
_PATIENCE_SECONDS = 120.0  # a large bucket is being measured
_LARGEST = 2**20


class RelayHandler(APIHandler):
    """Hands one request on, and its answer back."""

    auth_resource = "contents"
    # A panel that polls its tasks keeps no server alive.
    _track_activity = False

    def initialize(self, service: StorageService | None) -> None:
        """Keep the service; ``None`` where there is no gateway."""
        self.service = service

    async def _relay(self, path: str) -> None:
        if self.service is None:
            self._refuse(404, "not-found", "This notebook server has no gateway.")
            return
        if len(self.request.body) > _LARGEST:
            self._refuse(413, "too-large", "This is more than may be sent at once.")
            return
        request = HTTPRequest(
            self.service.url + path + _query(self.request.query),
            method=self.request.method or "GET",
            headers={
                "Authorization": f"Bearer {self.service.token}",
                "Accept": "application/json",
                "Host": self.request.host,
                **({"Content-Type": "application/json"} if self.request.body else {}),
            },
            body=self.request.body or None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=_PATIENCE_SECONDS,
            ssl_options=_trust(self.service),
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
            document = json.loads(answer.body or b"{}")
        except (OSError, ValueError) as error:
            self.log.warning("The storage service does not answer: %s", error)
            self._refuse(
                503, "not-ready", "The gateway's storage service does not answer."
            )
            return
        # Tornado's own statuses (599) are none that a browser knows.
        self.set_status(answer.code if answer.code < 599 else 503)
        self.finish(json.dumps(document))

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer in the service's one shape of errors."""
        self.set_status(status)
        error = {"code": code, "message": message, "hint": "", "id": ""}
        self.finish(json.dumps({"error": error}))

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        """Read something."""
        await self._relay(path)

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Change something; keys for programs are not made here: no page needs any."""
        if path.startswith("credentials"):
            self._refuse(404, "not-found", "Pages get no keys for programs.")
            return
        await self._relay(path)

    @web.authenticated
    @authorized
    async def put(self, path: str) -> None:
        """Replace something."""
        await self._relay(path)

    @web.authenticated
    @authorized
    async def delete(self, path: str) -> None:
        """End something."""
        await self._relay(path)


def _query(query: str) -> str:
    """Return ``query`` without what is this server's own business, or ``""``.

    JupyterLab adds the time as a bare number, so that nothing comes from a cache.
    """
    kept = [
        part
        for part in query.split("&")
        if part and not part.isdigit() and not part.startswith(("token=", "_xsrf="))
    ]
    return f"?{'&'.join(kept)}" if kept else ""


def _trust(service: StorageService) -> ssl.SSLContext | None:
    if not service.url.startswith("https:"):
        return None
    return ssl.create_default_context(cafile=service.ca_file or None)


def routes(
    base_url: str, environment: Mapping[str, str]
) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return the handlers to add below ``base_url``."""
    service = StorageService.of(environment)
    path = url_path_join(base_url, "landbridge", "storage", _PATH)
    return [(path, RelayHandler, {"service": service})]
