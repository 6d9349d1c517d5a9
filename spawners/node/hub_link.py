"""The agent's way to the hub: TLS to a pinned certificate, proof, patience.

Travels in the job with ``agent.py``: standard library of Python 3.6 or newer only.
"""

import http.client
import json
import random
import secrets
import socket
import ssl
import time
from typing import Any, Callable, Dict, Optional, Tuple
from urllib.parse import urlsplit

from spawners.node.output import say
from spawners.node.proof import JobMustEnd, munge_credential

HUB_NAME = "hub.landbridge.internal"
HTTP_TIMEOUT = 45.0  # longer than the hub waits for the scheduler's word

Json = Dict[str, Any]


class Connection(http.client.HTTPSConnection):
    """Connects to an address and expects the hub's own name behind it."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=HTTP_TIMEOUT, context=context)
        self.tls = context

    def connect(self) -> None:
        """Connect straight to the hub, whatever proxies the environment names."""
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self.tls.wrap_socket(plain, server_hostname=HUB_NAME)


class Hub:
    """The hub, which may be away for a while at any time."""

    def __init__(self, url: str, authority: bytes, job: str, patience: float) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname or ""
        self.port = parts.port or 443
        self.path = parts.path.rstrip("/")
        self.job = job
        self.patience = patience
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if hasattr(ssl, "TLSVersion"):
            self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        # As PEM: old Pythons on a new OpenSSL trip over the end of DER.
        self.tls.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(authority))

    def call(
        self,
        what: str,
        body: Callable[[], Json],
        wait: Callable[[float], Any],
        patience: Optional[float] = None,
    ) -> Json:
        """POST ``body()`` until the hub answers; ``wait`` sleeps, or raises."""
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause, told = 0.25, False
        while True:
            status, answer = self._post(what, body())
            if status == 200:
                return answer
            message = str(answer.get("message"))
            if answer.get("action") == "end":
                code = 0 if status == 410 else 1
                raise JobMustEnd("The hub refused this job: " + message, code)
            left = deadline - time.monotonic()
            if left <= 0:
                raise JobMustEnd(
                    "The hub at %s:%d cannot be reached from this node, so this job "
                    "ends. Last answer: %s" % (self.address, self.port, message)
                )
            if not told:
                told = True
                say("Waiting for the hub: " + message)
            wait(min(pause * (0.5 + random.random()), left + 0.05))  # noqa: S311
            pause = min(pause * 2, 10.0)

    def _post(self, what: str, body: Json) -> Tuple[int, Json]:
        connection = Connection(self.address, self.port, self.tls)
        try:
            connection.request(
                "POST",
                self.path + "/" + what,
                json.dumps(dict(body, job=self.job)),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            text = response.read(4 * 1024 * 1024)
        except (OSError, http.client.HTTPException) as error:
            return 599, {"message": str(error) or type(error).__name__}
        finally:
            connection.close()
        try:
            answer = json.loads(text.decode("utf-8"))
        except ValueError:
            answer = None
        ours = isinstance(answer, dict) and (
            response.status == 200 or answer.get("action") in ("end", "retry")
        )
        if not ours:  # of something between us and the hub: it is not there yet
            return 599, {"message": "HTTP status %d" % response.status}
        return response.status, answer


def fetch(hub: Hub, facts: Dict[str, str], wait: Callable[[float], Any]) -> Json:
    """Prove the job and return what it is to start."""
    nonce = secrets.token_urlsafe(24)

    def body() -> Json:
        if facts.get("LANDBRIDGE_PROOF") == "token":
            proof = facts.get("LANDBRIDGE_TOKEN", "")
        else:  # good for one use only: a fresh one for each attempt
            text = "landbridge/1 fetch %s %s" % (hub.job, nonce)
            socket_path = facts.get("LANDBRIDGE_MUNGE_SOCKET", "")
            uid = facts.get("LANDBRIDGE_MUNGE_UID", "")
            proof = munge_credential(text, socket_path, uid)
        return {"nonce": nonce, "proof": proof}

    return hub.call("fetch", body, wait)
