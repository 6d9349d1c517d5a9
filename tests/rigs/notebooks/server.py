"""A real notebook server with kernels as jobs, and a client like those of others."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from rigs.kernels.own import OwnJobs
from spawners.batch.jobs.record import JobRecord

PROFILES = {
    "cpu": {
        "title": "CPU",
        "default": True,
        "resources": {"cpus": 1, "memory": "256 MB", "time_limit": "1h"},
    },
    "gpu": {
        "title": "1 GPU",
        "resources": {"cpus": 1, "memory": "256 MB", "gpus": 1, "time_limit": "2h"},
    },
    "all": {
        "title": "All GPUs",
        "resources": {"cpus": 1, "memory": "256 MB", "gpus": 2, "time_limit": "2h"},
    },
    "custom": {
        "title": "Custom",
        "resources": {"cpus": 1, "memory": "256 MB", "time_limit": "1h"},
        "choices": {
            "cpus": {"min": 1, "max": 4},
            "memory": {"min": "64M", "max": "8G"},
            "gpus": {"min": 0, "max": 2},
            "time_limit": {"min": "1min", "max": "2h"},
            "partition": "any",
        },
    },
}
LOCAL = {"scheduler": "local", "local": {"gpus": 2, "gpu_model": "a100", "cpus": 8}}
READY_SECONDS = 60
# As our own servers do: a grammar that nobody asks for takes a second and a half.
PROGRAM = """
from spawners.node.notebook_server import put_off_grammar
put_off_grammar()
from jupyter_server.serverapp import main
main()
"""
# Lab and its company would only make each start slower.
EXTENSIONS = {
    "landbridge_lab": True,
    "jupyterlab": False,
    "jupyter_lsp": False,
    "jupyter_server_terminals": False,
    "notebook_shim": False,
}


def until(fact: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Return the first true answer of ``fact``."""
    deadline = time.monotonic() + seconds
    while not (answer := fact()):
        assert time.monotonic() < deadline, f"gave up after {seconds} s: {what}"
        time.sleep(0.05)
    return answer


def until_gone(pid: int, seconds: float = 40) -> None:
    """Wait until a process is no more."""

    def gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    until(gone, seconds, f"the end of process {pid}")


class Channel:
    """A kernel's websocket, in the protocol that every client knows."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.socket = socket
        self.session = session
        self.states: list[str] = []

    def send(
        self, kind: str, content: Mapping[str, Any], channel: str = "shell"
    ) -> str:
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "username": "x",
            "session": self.session,
            "msg_type": kind,
            "version": "5.3",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}}
        self.socket.send(
            json.dumps({**message, "content": content, "channel": channel})
        )
        return identity

    def hear(self, seconds: float = 60) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        if message["msg_type"] == "status":
            self.states.append(message["content"]["execution_state"])
        return message

    def hear_state(self, state: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while state not in self.states:
            self.hear(deadline - time.monotonic())

    def run(self, code: str, seconds: float = 90) -> str:
        """Execute ``code`` and return what it printed, or the error."""
        return self.result(self.execute(code), seconds)

    def execute(self, code: str) -> str:
        content = {"code": code, "silent": False, "store_history": True}
        return self.send(
            "execute_request",
            {**content, "user_expressions": {}, "allow_stdin": False},
        )

    def result(self, identity: str, seconds: float = 90) -> str:
        printed, deadline = [], time.monotonic() + seconds
        replied = idle = False
        while not (replied and idle):
            message = self.hear(max(0.01, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != identity:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed.append(content["text"])
                case "error":
                    printed.append(f"{content['ename']}: {content['evalue']}")
                case "execute_reply":
                    replied = True
                case "status":
                    idle = content["execution_state"] == "idle"
        return "".join(printed).strip()


@contextmanager
def open_channel(
    url: str, kernel: str, token: str, *, session: str = "", seconds: float = 30
) -> Iterator[Channel]:
    """A client of a kernel, by the websocket of the notebook server at ``url``."""
    session = session or uuid.uuid4().hex
    address = url.replace("http", "ws", 1)
    with connect(
        f"{address}api/kernels/{kernel}/channels?session_id={session}",
        additional_headers={"Authorization": f"token {token}"},
        open_timeout=seconds,
        max_size=None,
    ) as socket:
        yield Channel(socket, session)


class NotebookServer:
    """A jupyter_server process, its settings, and its REST API.

    Attributes:
        path: the directory of all that is its own.
        api: an httpx client with the server's token.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.prefix = prefix
        self.extra = dict(environment or {})
        for name in ("share/kernels", "runtime", "ipython", "home", "config", "bin"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self.config = path / "kernels.json"
        self.settings = {
            "state": str(path / "state"),
            "lease": "60s",
            "profiles": PROFILES,
            **settings,
        }
        self.config.write_text(json.dumps(self.settings))
        (path / "config/jupyter_server_config.json").write_text(
            json.dumps({"ServerApp": {"jpserver_extensions": EXTENSIONS}})
        )
        self.token = secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None
        self.api = httpx.Client()
        self.log = path / "server.log"

    @property
    def variables(self) -> dict[str, str]:
        path = self.path
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "LANDBRIDGE", "PYTEST"))
        }
        return {
            **kept,
            "HOME": str(path / "home"),
            "LANDBRIDGE_KERNEL_CONFIG": str(self.config),
            "JUPYTER_PATH": str(path / "share"),
            "JUPYTER_RUNTIME_DIR": str(path / "runtime"),
            "JUPYTER_CONFIG_DIR": str(path / "config"),
            "JUPYTER_TOKEN": self.token,
            "IPYTHONDIR": str(path / "ipython"),
            "JUPYTERHUB_USER": "ada",
            "SECRET_OF_THE_SERVER": "never-in-a-kernel",
            **self.extra,
        }

    def start(self) -> NotebookServer:
        """Start the process and wait until it answers."""
        for left in (self.path / "runtime").glob("jpserver-*.json"):
            left.unlink()
        program = [sys.executable, "-c", PROGRAM]
        options = [
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            f"--ServerApp.root_dir={self.path / 'home'}",
            "--ServerApp.log_level=INFO",
            "--KernelRestarter.time_to_dead=0.5",
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *program, *options],
                env=self.variables,
                cwd=self.path / "home",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        process = self.process

        def told() -> dict[str, Any] | None:
            assert process.poll() is None, self.log.read_text()[-4000:]
            for path in (self.path / "runtime").glob("jpserver-*.json"):
                try:
                    return dict(json.loads(path.read_text()))
                except ValueError:
                    return None
            return None

        facts = until(told, READY_SECONDS, "the notebook server")
        self.url = f"http://127.0.0.1:{facts['port']}/"
        self.api = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"token {self.token}"},
            timeout=30,
        )
        until(self._answers, READY_SECONDS, "an answer")
        return self

    def _answers(self) -> bool:
        try:
            return self.api.get("api/status").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)
        self.api.close()

    # -- kernels --------------------------------------------------------------------

    def start_kernel(self, name: str = "python3.lb.cpu", **more: str) -> str:
        answer = self.api.post("api/kernels", json={"name": name, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def view(self, kernel: str) -> dict[str, Any]:
        answer = self.api.get(f"landbridge/kernels/{kernel}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_state(
        self, kernel: str, *states: str, seconds: float = 90
    ) -> dict[str, Any]:
        """Wait until our route tells one of ``states``; return what it tells."""

        def reached() -> dict[str, Any] | None:
            view = self.view(kernel)
            return view if view["state"] in states else None

        try:
            return dict(until(reached, seconds, f"{kernel} {states}"))
        except AssertionError as error:
            text = self.log.read_text()[-3000:]
            raise AssertionError(f"{error}: {self.view(kernel)}\n{text}") from None

    def model(self, kernel: str) -> dict[str, Any]:
        return dict(self.api.get(f"api/kernels/{kernel}").json())

    @contextmanager
    def channel(self, kernel: str, session: str = "") -> Iterator[Channel]:
        with open_channel(self.url, kernel, self.token, session=session) as channel:
            yield channel

    def run(self, kernel: str, code: str, seconds: float = 90) -> str:
        with self.channel(kernel) as channel:
            return channel.run(code, seconds)

    @property
    def own(self) -> OwnJobs:
        """The jobs service that was started for its kernels."""
        return OwnJobs(Path(self.settings["state"]))

    @property
    def records(self) -> list[str]:
        """The ids of the kernels whose jobs are there and wanted."""
        return self.own.kernels

    def clear(self) -> None:
        """End every kernel."""
        for model in self.api.get("api/kernels").json():
            self.api.delete(f"api/kernels/{model['id']}")
        until(lambda: not self.records, 10, "an empty list of records")

    def close(self) -> None:
        """End the server and every job that is left of it."""
        self.stop()
        for record in self.own.records:
            self.end_job(record)
        self.own.end()

    def end_job(self, record: JobRecord) -> None:
        """End a job that no server has; a test may give other means."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"LANDBRIDGE_JOB={record.name}".encode() in environ:
                os.kill(int(entry.name), signal.SIGTERM)
