"""A gateway's storage service, as far as a notebook server asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hub-token-of-the-tests"

Json = Mapping[str, Any]


def refusal(code: str, message: str, hint: str = "") -> Json:
    """The one shape of every service's errors."""
    return {"error": {"code": code, "message": message, "hint": hint, "id": "x"}}


def made_up_keys(number: int, life: float = 3600) -> Json:
    """Keys as the service answers them."""
    return {
        "id": f"ada--{number}",
        "access_key": f"ACCESS{number}",
        "secret_key": f"secret{number}",
        "session_token": f"token{number}",
        "expires": (datetime.now(UTC) + timedelta(seconds=life)).isoformat(),
        "grants": [],
        "left_out": [],
    }


class StorageStub:
    """Serves ``/services/storage/api/v1/`` on loopback until closed.

    Attributes:
        issue: gives the answer of ``POST credentials`` for what was sent.
        me: the answer of ``GET me``.
        buckets, objects: the answers of ``GET`` of these.
        trouble: status and JSON of every answer; ``None`` for none.
        rights: its word for all that its user may.
        ended: names of keys that are no longer good.
        may_end: an end of keys waits for it.
        asked: the bodies of every ``POST credentials``.
    """

    def __init__(self, endpoint: str = "http://127.0.0.1:9/") -> None:
        self.me: dict[str, Any] = {
            "user": "ada",
            "bucket": "ada",
            "endpoint": endpoint,
            "region": "us-east-1",
        }
        self.buckets: Json = {"buckets": [{"name": "ada", "prefix": ""}]}
        self.objects: Json = {"objects": [], "prefixes": [], "token": None}
        self.rights = "at-first"
        self.ended: set[str] = set()
        self.may_end = threading.Event()
        self.may_end.set()
        self.trouble: tuple[int, Json] | None = None
        self.asked: list[Json] = []
        self.issue: Callable[[Json], Json] = lambda body: made_up_keys(len(self.asked))
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *rest: _Handler(self, *rest)
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What the hub sets in a notebook server."""
        port = self._server.server_port
        return {
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{port}/hub/api",
            "JUPYTERHUB_API_TOKEN": TOKEN,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, method: str, path: str, token: str, body: Json) -> tuple[int, Any]:
        if self.trouble is not None:
            return self.trouble
        if token != f"Bearer {TOKEN}":
            return 401, refusal("not-signed-in", "Nobody is signed in.")
        if (method, path) == ("POST", "credentials"):
            self.asked.append(body)
            return 200, {"rights": self.rights, **self.issue(body)}
        if path.startswith("credentials/"):
            name = path.removeprefix("credentials/")
            if name in self.ended:
                return 404, refusal("not-found", "You have no such keys.")
            if method == "DELETE":
                assert self.may_end.wait(20)
                self.ended.add(name)
                return 200, {}
            return 200, {"rights": self.rights}
        told = {"me": self.me, "buckets": self.buckets, "objects": self.objects}
        found = told.get(path.partition("?")[0])
        return (
            (404, refusal("not-found", "Nothing.")) if found is None else (200, found)
        )


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, stub: StorageStub, *rest: Any) -> None:
        self._stub = stub
        super().__init__(*rest)

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        status, found = self._stub.answer(
            self.command,
            self.path.removeprefix("/services/storage/api/v1/"),
            self.headers.get("Authorization", ""),
            body,
        )
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
