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
from urllib.parse import SplitResult, urlsplit

from spawners.node.output import say
from spawners.node.proof import JobMustEnd, munge_credential

HUB_NAME = "hub.landbridge.internal"
HTTP_TIMEOUT = 45.0  # longer than the hub waits for the scheduler's word
CONNECT_TIMEOUT = 10.0
NO_ANSWER = 599  # no HTTP status, or of something between us and the hub

Json = Dict[str, Any]


class Connection(http.client.HTTPSConnection):
    """Connects to an address and expects the hub's own name behind it."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=HTTP_TIMEOUT, context=context)
        self.tls = context

    def connect(self) -> None:
        """Connect straight to the hub, whatever proxies the environment names."""
        plain = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT)
        plain.settimeout(self.timeout)
        self.sock = self.tls.wrap_socket(plain, server_hostname=HUB_NAME)


class Hub:
    """The hub, which may be away for a while at any time.

    ``urls`` are its addresses, with spaces between: a machine with several networks may
    not know by which of them a node reaches it. The one that answered comes first.
    """

    def __init__(self, urls: str, authority: bytes, job: str, patience: float) -> None:
        self.places = [urlsplit(url) for url in urls.split()]
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
            status, answer = self._post(what, body)
            if status == 200:
                return answer
            message = str(answer.get("message"))
            if answer.get("action") == "end":
                code = 0 if status == 410 else 1
                raise JobMustEnd("The hub refused this job: " + message, code)
            left = deadline - time.monotonic()
            if left <= 0:
                raise JobMustEnd(
                    "The hub at %s cannot be reached from this node, so this job "
                    "ends. Last answer: %s"
                    % (" or ".join(place.netloc for place in self.places), message)
                )
            if not told:
                told = True
                say("Waiting for the hub: " + message)
            wait(min(pause * (0.5 + random.random()), left + 0.05))  # noqa: S311
            pause = min(pause * 2, 10.0)

    def _post(self, what: str, body: Callable[[], Json]) -> Tuple[int, Json]:
        trouble: Json = {"message": "no address was given"}
        for place in list(self.places):
            # A proof that was sent may be spent, answered or not: a new one each time.
            status, answer = self._post_to(place, what, body())
            if status != NO_ANSWER:
                self.places.remove(place)
                self.places.insert(0, place)
                return status, answer
            trouble = answer
        return NO_ANSWER, trouble

    def _post_to(self, place: SplitResult, what: str, body: Json) -> Tuple[int, Json]:
        connection = Connection(place.hostname or "", place.port or 443, self.tls)
        try:
            connection.request(
                "POST",
                place.path.rstrip("/") + "/" + what,
                json.dumps(dict(body, job=self.job)),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            text = response.read(4 * 1024 * 1024)
        except (OSError, http.client.HTTPException) as error:
            return NO_ANSWER, {"message": str(error) or type(error).__name__}
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
            return NO_ANSWER, {"message": "HTTP status %d" % response.status}
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
