"""The edge as one process of the gateway: HAProxy, kept running as it is to be now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from spawners.common.daemon import Log
from spawners.common.file_lock import FileLock
from spawners.common.held_ports import HeldPorts, PortTaken
from spawners.common.ownership import own_directory

from .config import (
    CHANGING,
    EdgeConfig,
    render_files,
    signature,
    write_config,
)
from .errors import ProxyFault, StartFailed
from .runtime import RuntimeSocket
from .supervisor import Supervisor

_LOOK_SECONDS = 2.0


class Edge:
    """Owner of HAProxy, of its ports and of its configuration.

    HAProxy outlives us: :meth:`close` and a crash of ours leave it, and the next
    :meth:`start` goes on with it.

    Args:
        config: returns what the configuration is to be now; called again and again,
            for certificates are renewed and ports change.
        command: HAProxy's argv without files.
        look_seconds: between two looks at that.
        log: where the life of the process is told.
    """

    def __init__(
        self,
        config: Callable[[], EdgeConfig],
        command: Sequence[str],
        *,
        look_seconds: float = _LOOK_SECONDS,
        log: Log | None = None,
    ) -> None:
        self._config = config
        self._command = list(command)
        self._look_seconds = look_seconds
        self._log = log or logging.getLogger(__name__)
        self._ports = HeldPorts()
        self._supervisor: Supervisor | None = None
        self._changing: FileLock | None = None
        self._refused = ""
        self._reloading = asyncio.Lock()
        self._look: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the HAProxy that serves now."""
        return self._supervisor.pid if self._supervisor else None

    async def start(self) -> None:
        """Return when HAProxy serves, adopted or new; it is kept running from now on.

        Raises:
            ConfigRefused: the configuration is wrong.
            StartFailed: HAProxy did not come up, or a port is somebody else's.
        """
        config = await asyncio.to_thread(self._config)
        own_directory(config.directory, readable=True)
        self._changing = FileLock(config.directory / CHANGING)
        supervisor = Supervisor(
            self._command,
            config.config_file,
            RuntimeSocket(config.runtime),
            maps=config.maps,
            parts=config.parts,
            changing=self._changing,
            log=self._log,
        )
        try:
            self._hold(config)
            files = await asyncio.to_thread(render_files, config)
            await supervisor.start(files, signature(config, files))
        except BaseException:
            self._let_go()
            raise
        self._supervisor = supervisor
        self._look = asyncio.create_task(
            _again_and_again(self.reload, self._look_seconds, self._log)
        )

    async def reload(self) -> None:
        """Use what has changed of the configuration; no connection is refused.

        Raises:
            ConfigRefused, StartFailed: the HAProxy of before goes on.
        """
        if self._supervisor is None:
            return
        async with self._reloading:  # each takes over from the one before
            config = await asyncio.to_thread(self._config)
            self._hold(config)
            files = await asyncio.to_thread(render_files, config)
            wanted = signature(config, files)
            if wanted in {self._supervisor.signature, self._refused}:
                return
            try:
                await self._supervisor.reload(files, wanted)
            except ProxyFault:
                self._refused = wanted  # not again until something changes
                raise

    async def stop(self) -> None:
        """End HAProxy; what listened there is refused from now on."""
        await self._end_look()
        if self._supervisor is not None:
            await self._supervisor.stop()
        self._let_go()

    async def close(self) -> None:
        """Look after it no longer; HAProxy goes on."""
        await self._end_look()
        if self._supervisor is not None:
            await self._supervisor.close()
        self._let_go()

    def _hold(self, config: EdgeConfig) -> None:
        """Hold what HAProxy listens on, so that nobody comes first when it restarts.

        Raises:
            StartFailed: a port is somebody else's: nothing is served beside him.
        """
        try:
            hold_ports(self._ports, config)
        except PortTaken as error:
            raise StartFailed(self._command, str(error)) from None

    def _let_go(self) -> None:
        self._ports.close()
        if self._changing is not None:
            self._changing.close()
            self._changing = None

    async def _end_look(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
            self._look = None


def hold_ports(ports: HeldPorts, config: EdgeConfig) -> None:
    """Hold every port on which HAProxy is to listen.

    Raises:
        PortTaken: one is somebody else's.
    """
    for address in (config.public, config.redirect, config.jobs):
        if address and "/" not in address:
            ports.hold(address)


class WrittenEdge:
    """The files of a HAProxy that the site runs itself; it reloads it by its own means.

    Args:
        config: see :class:`Edge`.
        look_seconds: between two looks at what it is to be.
        log: where it is told that the files changed.
    """

    def __init__(
        self,
        config: Callable[[], EdgeConfig],
        *,
        look_seconds: float = _LOOK_SECONDS,
        log: Log | None = None,
    ) -> None:
        self._config = config
        self._look_seconds = look_seconds
        self._log = log or logging.getLogger(__name__)
        self._written = ""
        self._look: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Nobody's: the site knows."""
        return None

    async def start(self) -> None:
        """Write the files, and again whenever they are to be others.

        Raises:
            OSError: they cannot be written.
        """
        await self.reload()
        self._look = asyncio.create_task(
            _again_and_again(self.reload, self._look_seconds, self._log)
        )

    async def reload(self) -> None:
        """Write the files if they are to be others than those of before."""
        config = await asyncio.to_thread(self._config)
        wanted = signature(config, await asyncio.to_thread(render_files, config))
        if wanted == self._written:
            return
        path = await asyncio.to_thread(write_config, config)
        if self._written:
            self._log.warning("%s has changed: reload the site's HAProxy", path)
        self._written = wanted

    async def stop(self) -> None:
        """Look after the files no longer."""
        await self.close()

    async def close(self) -> None:
        """Look after the files no longer."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
            self._look = None


async def _again_and_again(
    reload: Callable[[], Awaitable[None]], seconds: float, log: Log
) -> None:
    """Reload what has changed, for ever; what goes wrong is told."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await reload()
        except (OSError, ProxyFault) as error:
            log.error("Looking after HAProxy: %s", error)  # noqa: TRY400
        except Exception:
            log.exception("Looking after HAProxy")
