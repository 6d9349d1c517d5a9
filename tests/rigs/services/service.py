"""The storage service as a process of its own, at a hub that is only a few answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from rigs.hub.process import CHECKOUT, until
from rigs.services.person import PREFIX, Document, Person
from services.common.testing.hub import HubStub
from services.common.testing.rig import toml_of

SCOPES = [
    "access:services!service=storage",
    "custom:storage:read",
    "custom:storage:write",
    "custom:storage:share",
]


class Door(threading.Thread):
    """Stands for the edge: a port that leads to the service's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = asyncio.Event()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self._serve, sock=self._listener):
            await self._closed.wait()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        self._serving.add(task)  # the loop itself would let it be collected
        try:
            back, onward = await asyncio.open_unix_connection(self._path)
            try:
                await asyncio.gather(_pump(reader, onward), _pump(back, writer))
            finally:
                onward.close()
        except OSError:
            pass  # the service is away: the client finds a closed connection
        finally:
            writer.close()
            self._serving.discard(task)

    def close(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._closed.set)
        self.join(5)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


class ServiceProcess:
    """One service process; the settings are the section ``[storage]``."""

    def __init__(self, directory: Path, settings: Mapping[str, object]) -> None:
        self.state = directory / "state"
        self._run = Path(tempfile.mkdtemp(prefix="lbsv-"))  # a socket's path is short
        self.hub = HubStub(self._run / "hub.sock", scopes=SCOPES)
        self._door = Door(self._run / "storage.sock")
        self._door.start()
        self.port = self._door.port
        self.log = directory / "service.log"
        self._config = directory / "gateway.toml"
        lines = [f"{name} = {toml_of(value)}" for name, value in settings.items()]
        self._config.write_text("[storage]\n" + "\n".join(lines) + "\n")
        (self.state / "db").mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self._document: Document | None = None
        self._people: list[Person] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until the store is there."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LANDBRIDGE")},
            "JUPYTERHUB_API_TOKEN": self.hub.service_token,
            "JUPYTERHUB_API_URL": self.hub.url,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "service-storage",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(SCOPES[:1]),
            "JUPYTERHUB_SERVICE_NAME": "storage",
            "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
            "LANDBRIDGE_SOCKET": str(self._run / "storage.sock"),
            "LANDBRIDGE_STATE": str(self.state),
            "LANDBRIDGE_CONFIG": str(self._config),
            "LANDBRIDGE_ORIGIN": self.origin,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.storage"],
                cwd=CHECKOUT,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until("the service is ready", lambda: self._status() == 200, seconds=120)
        if self._document is None:
            path = f"{self.origin}{PREFIX}api/v1/openapi.json"
            self._document = Document(httpx.get(path, trust_env=False).json())

    def _status(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.words()
        url = f"{self.origin}{PREFIX}health"
        return httpx.get(url, trust_env=False).status_code

    def words(self) -> str:
        """The end of the service's log."""
        return self.log.read_text(errors="replace")[-6000:]

    def person(self, name: str, scopes: list[str] | None = None) -> Person:
        """Somebody with a token."""
        assert self._document is not None
        token = self.hub.token(name, scopes)
        self._people.append(Person(name, self.port, self._document, token))
        return self._people[-1]

    def kill(self) -> None:
        """``kill -9``: no clean-up of any kind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        for person in self._people:
            person.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self._end_store()
        self._door.close()
        self.hub.close()
        shutil.rmtree(self._run)

    def _end_store(self) -> None:
        """An embedded store outlives its service."""
        told = self.state / "store" / "process.json"
        if not told.exists():
            return
        pid = int(json.loads(told.read_text())["pid"])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        until("the store has ended", lambda: not Path(f"/proc/{pid}").exists())


@contextmanager
def running_service(
    directory: Path, settings: Mapping[str, object]
) -> Iterator[ServiceProcess]:
    """A service that runs, and is cleaned away."""
    rig = ServiceProcess(directory, settings)
    try:
        rig.start()
        yield rig
    finally:
        rig.close()


def write_key(directory: Path, access_key: str, secret_key: str) -> str:
    """Write the broker's key as the settings want it; return the file's name."""
    path = directory / "broker-key"
    path.touch(0o600)
    path.write_text(f"{access_key}\n{secret_key}\n")
    return str(path)
