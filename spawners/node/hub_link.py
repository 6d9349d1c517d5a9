"""The agent's way to the hub: TLS to a pinned certificate, proof, patience.

Travels in the job with ``agent.py``: standard library of Python 3.6 or newer only.
"""

import base64
import json
import os
import random
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
LONGEST_ANSWER = 4 * 1024 * 1024
NO_ANSWER = 599  # no HTTP status, or of something between us and the hub

Json = Dict[str, Any]


class NoHttp(Exception):
    """What came is no whole HTTP answer."""


def exchange(connection: ssl.SSLSocket, request: bytes) -> Tuple[int, bytes]:
    """Send an HTTP/1.0 request; return status and body of the answer.

    A few lines, for ``http.client`` takes longer to be imported than all of this call
    takes, and with 1.0 an answer is what comes until the end.

    Raises:
        OSError: the connection was cut, or nothing comes.
        NoHttp: it is too long, or is not all there.
    """
    connection.sendall(request)
    answer = b""
    while True:
        data = connection.recv(65536)
        if not data:
            break
        answer += data
        if len(answer) > LONGEST_ANSWER:
            raise NoHttp("the answer has no end")
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise NoHttp("what answers does not speak HTTP")
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and value.strip() != str(len(body)):
            raise NoHttp("the answer was cut")
    return int(rest[:3]), body


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
        try:
            status, text = self._exchange(place, what, dict(body, job=self.job))
        except (OSError, NoHttp) as error:
            return NO_ANSWER, {"message": str(error) or type(error).__name__}
        try:
            answer = json.loads(text.decode("utf-8"))
        except ValueError:
            answer = None
        ours = isinstance(answer, dict) and (
            status == 200 or answer.get("action") in ("end", "retry")
        )
        if not ours:  # of something between us and the hub: it is not there yet
            return NO_ANSWER, {"message": "HTTP status %d" % status}
        return status, answer

    def _exchange(self, place: SplitResult, what: str, body: Json) -> Tuple[int, bytes]:
        """Ask straight at a place, whatever proxies the environment names."""
        content = json.dumps(body).encode("ascii")
        head = (
            "POST %s/%s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\n"
            "Content-Length: %d\r\n\r\n"
        ) % (place.path.rstrip("/"), what, place.netloc, len(content))
        where = (place.hostname or "", place.port or 443)
        plain = socket.create_connection(where, CONNECT_TIMEOUT)
        plain.settimeout(HTTP_TIMEOUT)
        with self.tls.wrap_socket(plain, server_hostname=HUB_NAME) as connection:
            return exchange(connection, head.encode("ascii") + content)


def fetch(hub: Hub, facts: Dict[str, str], wait: Callable[[float], Any]) -> Json:
    """Prove the job and return what it is to start."""
    nonce = base64.urlsafe_b64encode(os.urandom(24)).decode("ascii")

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
