"""A real hub process with its own state directory, for tests and by hand."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from hub.config.settings import load_settings
from hub.run.processes import process_specs
from rigs.checkout import CHECKOUT

ADMIN_TOKEN = "admin-token-of-the-tests"
PASSWORD = "a-long-demo-password"
NO_STORAGE = "[storage]\nenabled = false\n"
"""Settings of a gateway where nobody asks for storage."""


def free_port() -> int:
    """A port that nobody listens on, below those that are drawn at random.

    It is this process's until that ends: between a look and the listening, another
    process's tests would take it, and ask our hub instead of theirs.
    """
    places = Path(tempfile.gettempdir()) / f"landbridge-test-ports-{os.getuid()}"
    places.mkdir(exist_ok=True)
    for port in range(21_000 + os.getpid() % 61 * 128, 29_000, 4):
        mark = os.open(places / str(port), os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(mark)
            continue
        return port  # and the mark stays open
    raise RuntimeError("no port is free")


def until(
    what: str, look: Callable[[], Any], *, seconds: float = 60, every: float = 0.1
) -> Any:
    """Return the first true answer of ``look``; fail naming ``what``."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if answer := look():
                return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for: {what}")
        time.sleep(every)


class HubProcess:
    """``python -m hub.app`` with the settings of ``make up``, and its siblings.

    Attributes:
        siblings: the other processes of the gateway, by their names.
        checkout, python: whose hub it is, and the interpreter that has it installed.
        arguments: more of its command line, as ``--Class.trait=value``.
    """

    def __init__(
        self,
        state: Path,
        *,
        checkout: Path = CHECKOUT,
        python: str = sys.executable,
        arguments: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        self.state = state
        self.checkout, self.python = checkout, python
        self.arguments = arguments
        self.port = free_port()
        self.log = state.parent / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.siblings: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LANDBRIDGE")},
            "LANDBRIDGE_STATE": str(state),
            "LANDBRIDGE_PORT": str(self.port),
            "LANDBRIDGE_PASSWORD": PASSWORD,
            "LANDBRIDGE_ADMIN_TOKEN": ADMIN_TOKEN,
            "LANDBRIDGE_SCHEDULER": "local",
            # Most tests want users, not accounts; those of accounts say "no".
            "LANDBRIDGE_EVERYBODY_IS_ROOT": "yes",
            "LANDBRIDGE_ENVIRONMENT": sys.prefix,
            **environment,
        }
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"token {ADMIN_TOKEN}"},
            trust_env=False,
            timeout=30,
        )

    def ask_as_job(self, verb: str, content: bytes) -> httpx.Response:
        """Call one of the job agent's three, at the port for compute nodes."""
        ports = json.loads((self.state / "run" / "ports.json").read_text())
        return httpx.post(
            f"https://127.0.0.1:{ports['jobs']}/jobs/agent/{verb}",
            content=content,
            verify=False,
            trust_env=False,
            timeout=30,
        )

    def start_missing(self) -> None:
        """Start what does not run of hub and siblings; wait until the hub answers."""
        if self.process is None or self.process.poll() is not None:
            self.start()
            return
        self._start_siblings()
        until("the hub answers", self._answers, seconds=90)

    def _start_siblings(self) -> None:
        for name in self._names():
            if name not in self.siblings or self.siblings[name].poll() is not None:
                self.start_sibling(name)

    def start(self) -> None:
        """Start the hub, its siblings that do not run, and wait until it answers."""
        self._start_siblings()
        config = self.checkout / "config" / "jupyterhub_config.py"
        self.process = self._spawn(
            "-m", "hub.app", f"--config={config}", *self.arguments
        )
        until("the hub answers", self._answers, seconds=90)

    def start_sibling(self, name: str) -> None:
        """Start another process of the gateway, without waiting for it."""
        secrets = ("LANDBRIDGE_PASSWORD", "LANDBRIDGE_ADMIN_TOKEN")
        told = {k: v for k, v in self.environment.items() if k not in secrets}
        self.siblings[name] = self._spawn("-m", "hub.cli", name, environment=told)

    def kill_sibling(self, name: str) -> None:
        """``kill -9`` of another process of the gateway; of the edge, its owner."""
        self.siblings[name].kill()
        self.siblings[name].wait(10)

    def _names(self) -> list[str]:
        """The siblings that this site has; none of a release that had children."""
        if self.python != sys.executable:
            return []
        specs = process_specs(load_settings(self.environment))
        return [spec.name for spec in specs if spec.name != "hub"]

    def _spawn(
        self, *command: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.python, *command],
                cwd=self.checkout,
                env=self.environment if environment is None else environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the hub ended:\n{self.words()}")
        return self.api.get("/hub/api/info").status_code == 200

    def service_pid(self, name: str) -> int:
        """The process of a service."""
        return self.siblings[name].pid

    def words(self) -> str:
        """The end of the hub's log."""
        return self.log.read_text(errors="replace")[-6000:]

    def kill(self) -> None:
        """``kill -9``: no clean-up of any kind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Ask the hub to end, and wait."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def close(self) -> None:
        """Stop hub, servers and HAProxy, whatever state they are in."""
        try:
            if self.process is not None and self.process.poll() is None:
                # A hub that never answered has something else to tell.
                with suppress(httpx.TransportError):
                    for user in self.call("GET", "users"):
                        for name in user["servers"]:
                            self.stop_server(user["name"], name)
            self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.kill()
            self._stop_siblings()
            self.api.close()
            for pid in self._left_behind():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _stop_siblings(self) -> None:
        """End them in good order: jobs' last reports come through edge and jobs."""
        order = sorted(self.siblings, key=["edge", "jobs"].__contains__)
        for name in order:
            self.siblings[name].send_signal(signal.SIGTERM)
        for name in order:
            try:
                self.siblings[name].wait(30)
            except subprocess.TimeoutExpired:
                self.kill_sibling(name)

    def _left_behind(self) -> Iterator[int]:
        """Processes that name our state directory, or something in it."""
        mark = str(self.state).encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                around = (entry / "environ").read_bytes()
                if mark in words or b"=" + mark in around:
                    yield int(entry.name)

    def live_records(self, user: str) -> list[str]:
        """Names of the jobs of a user's servers that live, as the database says."""
        database = self.state / "db" / "jobs.sqlite"
        query = (
            "SELECT name FROM landbridge_jobs WHERE owner LIKE ? "
            "AND phase IN ('intent', 'submitted')"
        )
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return [name for (name,) in db.execute(query, (f"server:{user}/%",))]

    # -- the API -----------------------------------------------------------------

    def call(self, method: str, path: str, body: object = None, **kw: Any) -> Any:
        """Return the JSON of a successful call of ``/hub/api/PATH``."""
        answer = self.api.request(method, f"/hub/api/{path}", json=body, **kw)
        assert answer.status_code < 400, f"{answer.status_code} {answer.text}"
        return json.loads(answer.text) if answer.text.strip() else None

    def add_user(self, name: str) -> None:
        self.call("POST", f"users/{name}")

    def start_server(self, user: str, name: str = "", options: object = None) -> None:
        """Ask for a server, without waiting for it."""
        path = f"users/{user}/servers/{name}" if name else f"users/{user}/server"
        self.call("POST", path, {"user_options": options})

    def stop_server(self, user: str, name: str = "") -> None:
        path = f"users/{user}/servers/{name}" if name else f"users/{user}/server"
        self.api.delete(f"/hub/api/{path}")

    def clear(self, *users: str) -> None:
        """Start the hub if it is not there, and stop all servers of these users."""
        if self.process is None or self.process.poll() is not None:
            self.start()

        def servers() -> list[tuple[str, str]]:
            models = {user: self.call("GET", f"users/{user}") for user in users}
            return [(user, name) for user in users for name in models[user]["servers"]]

        for user, name in servers():
            self.stop_server(user, name)
        until("no server is left", lambda: not servers(), seconds=90)

    def progress(self, user: str, name: str = "", after: int = 0) -> dict[str, Any]:
        """The stored log of a server's newest start; ``{}`` before the first."""
        middle = f"{user}/{name}" if name else user
        answer = self.api.get(
            f"/hub/api/landbridge/servers/{middle}/progress", params={"after": after}
        )
        return answer.json() if answer.status_code == 200 else {}

    def server(self, user: str, name: str = "") -> dict[str, Any]:
        return self.progress(user, name).get("server", {"state": "none"})

    def wait_state(self, user: str, *states: str, name: str = "", seconds: float = 60):
        """Wait until a server is in one of the states; return it."""

        def look() -> Any:
            server = self.server(user, name)
            return server if server["state"] in states else None

        try:
            return until(f"{user}/{name} is {states}", look, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self.progress(user, name)}\n{self.words()}"
            ) from None

    def answers(self, user: str, name: str = "") -> bool:
        """Whether the server answers through the edge."""
        path = f"/user/{user}/{name}/api" if name else f"/user/{user}/api"
        answer = self.api.get(path)
        return answer.status_code == 200 and "version" in answer.text


@contextmanager
def running_hub(
    directory: Path, *arguments: str, **environment: str
) -> Iterator[HubProcess]:
    """A hub that runs, and is cleaned away; as shipped unless it is told otherwise."""
    hub = HubProcess(directory / "state", arguments=arguments, **environment)
    try:
        hub.start()
        yield hub
    finally:
        hub.close()


@contextmanager
def hub_without_storage(directory: Path) -> Iterator[HubProcess]:
    """The same where nobody asks for storage: no service and no store is started."""
    settings = directory / "gateway.toml"
    settings.write_text(NO_STORAGE)
    shutil.copy(CHECKOUT / "config" / "profiles.yaml", directory)
    with running_hub(directory, LANDBRIDGE_CONFIG=str(settings)) as hub:
        yield hub


@contextmanager
def hub_of_its_own(*, storage: bool = False) -> Iterator[HubProcess]:
    """A hub in a directory that every account can enter; for a module's tests."""
    directory = Path(tempfile.mkdtemp(prefix="lbtest-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        start = running_hub if storage else hub_without_storage
        with start(directory) as hub:
            yield hub
    finally:
        shutil.rmtree(directory)


def find_server(hub: HubProcess, user: str) -> int | None:
    """Pid of the single-user server of ``user``, if there is one."""
    home = str(hub.state / "users" / user)
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if (
                b"notebook_server.py" in words
                and str((entry / "cwd").readlink()) == home
            ):
                return int(entry.name)
    return None


def server_process(hub: HubProcess, user: str) -> int:
    """Pid of the single-user server of ``user``."""
    found = find_server(hub, user)
    assert found, f"no server of {user}"
    return found
