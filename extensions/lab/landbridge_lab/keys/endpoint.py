"""Short-lived S3 keys for everything that runs beside this notebook server.

A loopback address speaks the container-credentials protocol of AWS's SDKs, so that
``boto3.client("s3")`` and its kin work in kernels and terminals without arguments,
and get new keys by themselves. The keys come from the gateway's storage service, by
this server's own hub token; nothing is written to the home directory.

::

    GET /credentials   {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
                       ?bucket=B[&prefix=P][&mode=read]: keys for only that
                       ?renew=1: for all that its user may by now
                       ?use=B[&prefix=P]: as without, or, where those leave out
                       some of that, for what may be used of it
    GET /storage       {"endpoint", "region", "bucket"}: where S3 is, from here
    GET /buckets       the storage service's own answer
    GET /kernels/ID/…  the same, with the keys of one kernel, which end with it

Every request needs, as ``Authorization``, the text of a file that only its user can
read. Errors are a line of plain text, which the SDKs show.

Programs that do not know the protocol run :mod:`landbridge_lab.credential_process`.
"""

from __future__ import annotations

import atexit
import hmac
import json
import logging
import os
import re
import secrets
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..gateway.storage import Place, ServiceFailed, StorageService
from ..kernel_parts import kernel_keys
from .rings import KeyRings
from .variables import URL, Local, kernel_variables

log = logging.getLogger(__name__)

_PROCESS = Path(__file__).parents[1] / "credential_process.py"

_OF_A_KERNEL = re.compile(r"/kernels/([0-9A-Za-z_-]{1,100})(/.*)")
_FIRST_PATIENCE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
_LAST_SECONDS = 3.0


class CredentialEndpoint:
    """The loopback address. It serves from its own threads until closed.

    Args:
        service: where keys come from.
        directory: the token's file goes here; only this user may enter it.

    Attributes:
        url: of the keys of the server itself.
        rings: whose keys are which.
        token_file: its text is what a request must carry.
    """

    def __init__(self, service: StorageService, directory: Path) -> None:
        self.service = service
        self.rings = KeyRings(lambda: self.service)
        self._token = f"Bearer {secrets.token_urlsafe(32)}"
        self.token_file = directory / "storage-token"
        descriptor = os.open(
            self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(self._token)
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *rest: _Handler(self, *rest)
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="credentials", daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/credentials"

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self.rings.wait(_LAST_SECONDS)  # a server ends its kernels before itself
        self._thread.join(5)
        self.token_file.unlink(missing_ok=True)

    def url_of(self, kernel: str) -> str:
        """Return the URL of a kernel's own keys."""
        return self.url.replace("/credentials", f"/kernels/{kernel}/credentials")

    def knows(self, authorization: str) -> bool:
        """Whether a request comes from this user."""
        return hmac.compare_digest(authorization.encode(), self._token.encode())

    def answer(self, target: str) -> tuple[int, str, str]:
        """Return HTTP's status, the content type and the text for a path."""
        url = urlsplit(target)
        try:
            document = self._find(url.path, parse_qs(url.query))
        except ServiceFailed as error:
            return error.status, "text/plain", f"{error}\n"
        if document is None:
            return HTTPStatus.NOT_FOUND, "text/plain", "There is nothing here.\n"
        return HTTPStatus.OK, "application/json", json.dumps(document)

    def _find(self, path: str, query: Mapping[str, list[str]]) -> object | None:
        kernel, name = "", path
        if (match := _OF_A_KERNEL.fullmatch(path)) is not None:
            kernel, name = match.groups()
        ring = self.rings.of(kernel)
        if name == "/credentials":
            wanted = {key: values[0] for key, values in query.items()}
            return ring.get(wanted).to_json()
        if name == "/storage":
            return self.service.place().to_json()
        if name == "/buckets":
            return self.service.buckets()
        return None


class _Handler(BaseHTTPRequestHandler):
    """One connection of a program on this machine."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version = "landbridge"
    sys_version = ""

    def __init__(self, endpoint: CredentialEndpoint, *rest: Any) -> None:
        self._endpoint = endpoint
        super().__init__(*rest)

    def do_GET(self) -> None:
        """Answer keys, or say in plain text why not."""
        answer: tuple[int, str, str] = (
            HTTPStatus.UNAUTHORIZED,
            "text/plain",
            "This address serves one user only: send the text of the file in "
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE as Authorization.\n",
        )
        if self._endpoint.knows(self.headers.get("Authorization", "")):
            answer = self._endpoint.answer(self.path)
        status, kind, text = answer
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a program may ask often, and answers are secrets."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The endpoint that runs, where S3 is, and the variables that say so."""

    endpoint: CredentialEndpoint
    directory: Path
    place: Place
    variables: Mapping[str, str]

    def close(self) -> None:
        """End it and remove its files."""
        self.endpoint.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def offer(service: StorageService, own: Mapping[str, str], home: Path) -> Offer:
    """Start an endpoint, if the storage service is there.

    Args:
        service: where keys come from.
        own: the variables that are set already; those stay.
        home: the user's home.

    Raises:
        ServiceFailed: the service is not there, or not yet.
    """
    place = service.place()
    # In a job, inside the agent's directory: that goes even if the server is killed.
    key = own.get("JUPYTERHUB_SSL_KEYFILE")
    parent = Path(key).parent if key else None
    directory = Path(tempfile.mkdtemp(prefix="landbridge-", dir=parent))
    endpoint = CredentialEndpoint(service, directory)
    local = Local(
        url=endpoint.url,
        token_file=str(endpoint.token_file),
        rclone_file=str(_write_rclone_file(endpoint, directory)),
    )
    variables = kernel_variables(place, local, own, home)
    return Offer(endpoint, directory, place, variables)


def _write_rclone_file(endpoint: CredentialEndpoint, directory: Path) -> Path:
    program = shlex.join([sys.executable, "-I", str(_PROCESS)])
    token_file = shlex.quote(str(endpoint.token_file))
    script = directory / "storage-keys.sh"
    # By its variable, each kernel's rclone has the kernel's own keys.
    place = f'"${{{URL}:-{endpoint.url}}}"'
    script.write_text(f"exec {program} {place} {token_file}\n", "utf-8")
    # Go's SDK reads only the first of several quoted words: there are none here.
    path = directory / "rclone-profile"
    path.write_text(f"[default]\ncredential_process = /bin/sh {script}\n", "utf-8")
    return path


# -- in the notebook server ---------------------------------------------------------

_offer: Offer | None = None
_root = ""


def environment() -> dict[str, str]:
    """Return the variables by which kernels on this machine reach storage.

    Empty while there is no storage service, and without what the user has set.
    """
    return dict(_offer.variables) if _offer is not None else {}


def begin_kernel(
    kernel: str, environment: Mapping[str, str], notebook: str
) -> dict[str, str]:
    """Return the variables of a kernel on this machine, which has keys of its own.

    Args:
        kernel: its id.
        environment: what it would be started with.
        notebook: the path of its notebook; ``""`` if it has none.
    """
    if _offer is None:
        return dict(environment)
    endpoint = _offer.endpoint
    endpoint.rings.begin(kernel, _as_shown(notebook))
    its_own = {endpoint.url: endpoint.url_of(kernel)}
    return {name: its_own.get(value, value) for name, value in environment.items()}


def _as_shown(notebook: str) -> str:
    """Return a notebook's path as JupyterLab shows it."""
    return notebook.removeprefix(f"{_root}/") if _root else notebook


def end_kernel(kernel: str) -> None:
    """End the keys of a kernel that has ended."""
    if _offer is not None:
        _offer.endpoint.rings.end(kernel)


def start(root: str = "") -> None:
    """Give this process's children the variables, now or once the service is there.

    The first attempt is short and made at once, so that the first kernel has them.

    Args:
        root: the directory that the server shows; notebooks are named from there.
    """
    global _root
    _root = root
    service = StorageService.of(os.environ)
    if service is None or os.environ.get(URL):
        return
    if not _attempt(service, _FIRST_PATIENCE_SECONDS):
        threading.Thread(
            target=_keep_trying, args=(service,), name="storage", daemon=True
        ).start()


def _attempt(service: StorageService, patience: float) -> bool:
    """Return whether there is nothing left to try."""
    global _offer  # a process has one environment
    try:
        offered = offer(service.with_patience(patience), os.environ, Path.home())
    except ServiceFailed as error:
        log.warning("Storage is not offered to kernels: %s", error)
        return error.final
    except OSError as error:
        log.warning("Storage cannot be offered to kernels: %s", error)
        return True
    offered.endpoint.service = service
    atexit.register(offered.close)
    _offer = offered
    kernels = kernel_keys()
    if kernels is not None:
        kernels.offer(kernels.KeyOffer(**_for_jobs(offered, Path.home())))
    os.environ.update(offered.variables)
    log.info("Kernels get keys for %s", offered.place.endpoint)
    return True


def _for_jobs(offered: Offer, home: Path) -> dict[str, Any]:
    """Return the same for kernels in jobs, which find us by their tunnel."""
    local = Local(url="{url}", token_file="{token}", rclone_file="{rclone}")  # noqa: S106
    place = offered.place

    def elsewhere(own: Mapping[str, str]) -> dict[str, str]:
        if not place.elsewhere:
            return {}
        return kernel_variables(
            replace(place, endpoint=place.elsewhere), local, own, home
        )

    endpoint = offered.endpoint

    def answer(target: str, kernel: str, notebook: str) -> tuple[int, str, str]:
        # Each time: a kernel of an earlier server has not begun here.
        endpoint.rings.begin(kernel, _as_shown(notebook))
        return endpoint.answer(f"/kernels/{kernel}{target}")

    return {
        "here": lambda own: kernel_variables(place, local, own, home),
        "elsewhere": elsewhere,
        "ours": offered.variables,
        "process": _PROCESS.read_text("utf-8"),
        "answer": answer,
        "ended": endpoint.rings.end,
    }


def _keep_trying(service: StorageService) -> None:
    pause = 1.0
    while True:
        time.sleep(pause)
        if _attempt(service, service.patience):
            return
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
