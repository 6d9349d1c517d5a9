"""Where a running gateway listens: who may come there, and what a stranger gets.

A new listening socket fails here until it stands in one of the lists, with its reason.
"""

from __future__ import annotations

import gc
import json
import os
import pwd
import re
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from rigs.checkout import TESTS
from rigs.hub.listening import Listener, listeners, processes_with
from rigs.hub.process import ADMIN_TOKEN, PASSWORD, HubProcess, running_hub, until
from services.storage.site.embedded_account import OWN_ACCOUNT
from spawners.common.sockets import url_of_socket

NOBODY = 65_534
API = "/services/storage/api/v1"
CANARY = "canary-of-a-users-request"
ROUNDS = 50
DAEMONS = {"haproxy.cfg", " mini -disableHttp", "services.storage", "hub.run.culler"}
# SeaweedFS 4.48 makes these nowhere else, so it has a /tmp of its own.
_OF_SEAWEEDFS = re.compile(r"/tmp/seaweedfs-[a-z0-9]+-grpc-\d+\.sock")
# As a stranger: what a plain request gets at a port, and TLS without a certificate.
_STRANGER = """
import http.client, json, socket, ssl, sys
told = {}
for where in sys.argv[1:]:
    host, _, port = where.rpartition(":")
    if not port.isdigit():
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(where)
                told[where] = "connected"
            except OSError as error:
                told[where] = type(error).__name__
        continue
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    for tls in (False, True):
        key = where + (" tls" if tls else "")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls:
            connection = http.client.HTTPSConnection(
                host, int(port), timeout=5, context=context)
        else:
            connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            told[key] = [answer.status, answer.read(4096).decode("latin-1")]
        except (OSError, http.client.HTTPException) as error:
            told[key] = type(error).__name__
        connection.close()
print(json.dumps(told))
"""


@contextmanager
def open_directory(name: str) -> Iterator[Path]:
    """A directory that other accounts may enter, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix=f"lb-{name}-", dir="/var/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="module")
def gateway() -> Iterator[HubProcess]:
    """A gateway of root's with its storage."""
    with open_directory("sockets") as directory, running_hub(directory) as hub:
        until("storage is ready", lambda: storage_ready(hub), seconds=90)
        yield hub


def storage_ready(hub: HubProcess) -> bool:
    return hub.api.get("/services/storage/health").status_code == 200


def store_ports(hub: HubProcess) -> dict[str, int]:
    return json.loads((hub.state / "store" / "ports.json").read_text())


def pid_in(path: Path) -> int:
    return int(json.loads(path.read_text())["pid"])


def pids_of(hub: HubProcess) -> set[int]:
    pids = processes_with([str(hub.state), url_of_socket(hub.state / "run/hub.sock")])
    return pids | {
        pid_in(hub.state / one / "process.json") for one in ("haproxy", "store")
    }


def all_listeners(hub: HubProcess) -> list[Listener]:
    return listeners(pids_of(hub))


def as_stranger(*where: str) -> dict[str, object]:
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", _STRANGER, *where],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.mark.root
def test_every_port_has_its_reason_and_tells_a_stranger_nothing(gateway):
    jobs = json.loads((gateway.state / "run" / "ports.json").read_text())["jobs"]
    store = store_ports(gateway)
    # Objects by TCP, for our HAProxy; a signature is wanted, and only root binds it.
    reasons = {gateway.port: "public", jobs: "jobs", store["s3"]: "s3"}
    # SeaweedFS's parts among themselves: signed tokens, and certificates for gRPC.
    reasons |= {port: name for name, port in store.items() if name != "s3"}
    reasons |= {port + 10_000: f"{name}.grpc" for name, port in store.items()}
    found = [one for one in all_listeners(gateway) if one.port]
    assert {one.port for one in found} - set(reasons) == set(), "a port without reason"
    named = {reasons[one.port]: one for one in found}
    assert {"public", "jobs", "s3", "volume", "s3.grpc"} <= set(named)
    assert {one.host for one in found} == {"127.0.0.1"}
    assert store["s3"] < 1024, "an ordinary account could take the fast way"
    told = as_stranger(*(f"{one.host}:{one.port}" for one in found))
    pages = ("public", "volume", "master")  # the sign-in page; how full the disk is
    for one in found:
        name = reasons[one.port]
        for kind in ("", " tls"):
            answer = told[f"{one.host}:{one.port}{kind}"]
            if isinstance(answer, list) and name not in pages:
                status, body = answer
                assert status in (400, 403, 404, 405), (name, kind, answer)
                assert "<Buckets>" not in body
    assert isinstance(told[f"127.0.0.1:{jobs}"], str), "plain http for jobs"
    owners = {0, store_uid(gateway)}
    assert {one.uid for one in found} <= owners


def store_uid(hub: HubProcess) -> int:
    """As whom the store runs: its own account, where that can reach this checkout."""
    uid = Path(f"/proc/{pid_in(hub.state / 'store' / 'process.json')}").stat().st_uid
    with suppress(KeyError):
        assert uid in (0, pwd.getpwnam(OWN_ACCOUNT).pw_uid)
    return uid


def place_of(one: Listener) -> Path:
    """Where its file is; HAProxy binds another name first, and gives it this one."""
    if _OF_SEAWEEDFS.fullmatch(one.path):
        return Path(f"/proc/{one.pid}/root{one.path}")
    name = re.sub(r"\.sock\.\d+\.tmp$", ".sock", one.path)
    return Path(f"/proc/{one.pid}/cwd").resolve() / name


@pytest.mark.root
def test_every_unix_socket_is_ours_alone(gateway):
    found = [one for one in all_listeners(gateway) if one.path]
    assert {"hub.sock", "storage.sock", "runtime.sock", "filer.sock"} <= {
        place_of(one).name for one in found
    }
    told = as_stranger(*sorted({str(place_of(one)) for one in found}))
    for one in found:
        assert not one.path.startswith("@"), "anybody reaches an abstract socket"
        path = place_of(one)
        where, holds = path.stat(), path.parent.stat()
        assert stat.S_IMODE(where.st_mode) & 0o077 == 0, one
        assert told[str(path)] == "PermissionError", one
        assert holds.st_uid in (0, store_uid(gateway)), one
        assert stat.S_IMODE(holds.st_mode) == 0o700, one


@pytest.mark.root
def test_nothing_that_the_hub_started_has_its_secrets_in_its_environment(gateway):
    """HAProxy, the store, the service and the culler; the hub itself was told them."""
    assert gateway.process is not None
    secrets = (gateway.state / "secrets").glob("*")
    canaries = [ADMIN_TOKEN.encode(), PASSWORD.encode()]
    canaries += [path.read_bytes().strip() for path in secrets]
    looked_at = set()
    for pid in pids_of(gateway) - {gateway.process.pid}:
        shown = Path(f"/proc/{pid}/environ").read_bytes()
        name = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        looked_at |= {one for one in DAEMONS if one in name}
        for canary in canaries:
            assert canary not in shown, name
            assert canary.decode() not in name
    assert looked_at == DAEMONS


@contextmanager
def racing(directory: Path, ports: list[int]) -> Iterator[Path]:
    """Two strangers who want these ports; yields the file of what they got."""
    kept = directory / "kept"
    kept.touch()
    kept.chmod(0o666)
    program = directory / "racer.py"
    program.write_bytes((TESTS / "rigs/hub/racer.py").read_bytes())
    command = ["/usr/bin/python3", "-I", program, kept, *map(str, ports)]
    racers = []
    try:
        for uid in (NOBODY, NOBODY - 1):
            racers.append(
                subprocess.Popen(
                    command,
                    user=uid,
                    group=uid,
                    extra_groups=[],
                    cwd="/",
                    stdout=subprocess.PIPE,
                )
            )
            assert racers[-1].stdout is not None
            assert racers[-1].stdout.readline() == b"races\n"
        yield kept
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


class Asking(threading.Thread):
    """A user's programs and browser, which ask all the time; each word is a canary."""

    def __init__(self, hub: HubProcess, jobs: int) -> None:
        super().__init__()
        self._client = httpx.Client(
            headers={
                "Authorization": f"token {CANARY}",
                "Cookie": f"service-storage={CANARY}",
            },
            trust_env=False,
            timeout=5,
            verify=False,
        )
        self._urls = (
            f"http://127.0.0.1:{hub.port}{API}/me",
            f"http://127.0.0.1:{hub.port}/hub/home",
            f"http://127.0.0.1:{hub.port}/s3/ada/{CANARY}?X-Amz-Signature={CANARY}"
            "&X-Amz-Algorithm=AWS4-HMAC-SHA256",
            f"https://127.0.0.1:{jobs}{API}/me",
            f"https://127.0.0.1:{jobs}/hub/api/user",
        )
        self._over = threading.Event()
        self.answers: list[int] = []
        self.foreign: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            for url in self._urls:
                with suppress(httpx.TransportError):
                    answer = self._client.post(url, content=CANARY)
                    self.answers.append(answer.status_code)
                    if "squatter" in answer.text:
                        self.foreign.append(url)

    def finish(self) -> None:
        self._over.set()
        self.join(30)
        self._client.close()
        gc.collect()  # what is left open is told of here, and not in another test


# Python's ssl leaves its socket open if the peer resets a connection before the
# handshake (SSLSocket._create, recv(1)): HAProxy was killed with one in its backlog.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.root
def test_nobody_wins_a_port_over_fifty_restarts(gateway):
    """HAProxy is killed each time, and now and then store and service with it."""
    jobs = json.loads((gateway.state / "run" / "ports.json").read_text())["jobs"]
    store = store_ports(gateway)
    ports = [gateway.port, jobs, *store.values()]
    ports += [port + 10_000 for port in store.values()]
    edge_file = gateway.state / "haproxy" / "process.json"
    asking = Asking(gateway, jobs)
    with open_directory("racers") as place, racing(place, ports) as kept:
        asking.start()
        try:
            for turn in range(ROUNDS):
                edge = pid_in(edge_file)
                if turn % 12 == 0:
                    kill_storage(gateway)
                os.kill(edge, signal.SIGKILL)
                another = partial(lambda old: pid_in(edge_file) != old, edge)
                until("HAProxy is back", another, every=0.01)
            until("storage is back", lambda: storage_ready(gateway), seconds=90)
            before = len(asking.answers)
            until("all is answered", lambda: len(asking.answers) > before + 10)
        finally:
            asking.finish()
        rows = [json.loads(line) for line in kept.read_text().splitlines()]
    won = {row["port"] for row in rows if row.get("got")}
    # The edge's are held, the store's S3 is root's; the store's others may be lost to
    # a stranger for a while, and it goes to new ones.
    assert won.isdisjoint({gateway.port, jobs, store["s3"]})
    heard = [row["data"] for row in rows if "data" in row]
    assert not any(CANARY in data or "HTTP/" in data for data in heard), heard
    # A beginning of TLS by a part of the store, which then asks for its certificate.
    assert all(data.startswith("\x16\x03") for data in heard), heard
    assert asking.foreign == []
    assert asking.answers


def kill_storage(hub: HubProcess) -> None:
    """Kill the store and the service, which is started again."""
    with suppress(ProcessLookupError):
        os.kill(pid_in(hub.state / "store" / "process.json"), signal.SIGKILL)
    hub.kill_sibling("storage")
    hub.start_sibling("storage")
