"""Asking the processes of a running gateway at their sockets.

These are in a directory that only the gateway's account (and root) may enter, so who
can read the operator's token for the hub can also connect, and nobody else. What
answers there serves, be it in another container, where pids mean nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub.config.paths import hub_socket, jobs_socket
from hub.config.secrets import operator_token_file
from hub.config.settings import Settings
from hub.edge import edge_directory
from services.edge.config import runtime_path
from services.edge.errors import RuntimeFault
from services.edge.runtime import RuntimeSocket

_TIMEOUT_SECONDS = 20.0
_SERVICE_SECONDS = 5.0


class HubUnreachable(Exception):
    """The hub does not answer, or not to us; the text says which."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = _TIMEOUT_SECONDS) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask_hub(
    settings: Settings, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    """Return the JSON answer of the hub's API (``path`` like ``"info"``). Blocks.

    Raises:
        HubUnreachable: it does not run, is too slow or refuses the token.
    """
    connection = _UnixConnection(str(hub_socket(settings)))
    try:
        token = operator_token_file(settings).read_text(encoding="ascii").strip()
        headers = {"Authorization": f"token {token}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = "application/json"
        url = f"{settings.hub.base_url}hub/api/{path}"
        connection.request(method, url, payload, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise HubUnreachable(f"the hub answered {answer.status} to {path}")
        return json.loads(text) if text else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HubUnreachable(f"the hub does not answer: {error}") from error
    finally:
        connection.close()


def health_path(settings: Settings, service: str) -> str:
    """Return the path at which a service says how it is."""
    return f"{settings.hub.base_url}services/{service}/health"


def service_answers(socket_path: Path, url_path: str) -> bool:
    """Tell whether a service answers at its own socket, be it ill. Blocks."""
    connection = _UnixConnection(str(socket_path), _SERVICE_SECONDS)
    try:
        connection.request("GET", url_path)
        return bool(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def scheduler_reached(settings: Settings) -> bool | None:
    """Return whether the jobs service's last question was answered. Blocks.

    Returns:
        ``None`` where the service does not answer itself.
    """
    connection = _UnixConnection(str(jobs_socket(settings)), _SERVICE_SECONDS)
    try:
        connection.request("GET", "/health")
        facts = json.loads(connection.getresponse().read())
        return bool(facts["scheduler_answers"])
    except (OSError, http.client.HTTPException, ValueError, LookupError):
        return None
    finally:
        connection.close()


def haproxy_version(settings: Settings) -> str:
    """Return the release of the HAProxy that serves; empty if none does. Blocks.

    Raises:
        PermissionError: somebody else has made the directory for deep sockets.
    """
    runtime = RuntimeSocket(str(runtime_path(edge_directory(settings))))
    try:
        return asyncio.run(runtime.info()).get("Version", "")
    except RuntimeFault:
        return ""


def all_users(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the hub's users who have a server now, page by page."""
    offset, page = 0, 100
    while True:
        path = f"users?state=active&offset={offset}&limit={page}"
        users = ask_hub(settings, "GET", path)
        yield from users
        if len(users) < page:
            return
        offset += page
