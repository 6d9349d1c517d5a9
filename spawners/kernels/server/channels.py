"""A websocket to a kernel that may still be in the queue.

JupyterLab gives up after about a minute of refused or unanswered handshakes. So it is
answered at once and told ``starting``; what is sent meanwhile is handed on when the
kernel runs. A dead kernel's websocket says so, and joins in if it is started again.
"""

from __future__ import annotations

import asyncio
from typing import Any  # messages

from jupyter_server.services.kernels.connection.channels import (
    ZMQChannelsWebsocketConnection,
)
from tornado import web
from tornado.websocket import WebSocketClosedError

from ..errors import KernelJobError
from ..status import Missed
from .kernel import KernelPhase, LandbridgeServerKernelManager
from .replay import message_id, replay

_MOST_BYTES = 16 * 1024**2
_MOST_MESSAGES = 2000


class LandbridgeWebsocketConnection(ZMQChannelsWebsocketConnection):
    """Answers at once, whatever the kernel's state."""

    _waiting: list[Any] | None = None
    _size = 0
    _closed = False
    _registered = False
    _joining: asyncio.Task[None] | None = None
    _behind: list[tuple[Any, list[Any]]] | None = None
    _told: frozenset[str] = frozenset()

    @property
    def _kernel(self) -> LandbridgeServerKernelManager | None:
        kernel = self.kernel_manager
        if isinstance(kernel, LandbridgeServerKernelManager) and kernel.in_job:
            return kernel
        return None

    async def prepare(self) -> None:
        """Prepare to connect; wait for nothing that a queue may hold up."""
        kernel = self._kernel
        if kernel is None or kernel.phase is KernelPhase.RUNNING:
            await super().prepare()
            return
        await self._register_session()
        self._waiting = []

    async def _register_session(self) -> None:
        # A second time it would close our own socket as a stale one.
        if not self._registered:
            self._registered = True
            await super()._register_session()

    def connect(self) -> Any:
        """Connect to the kernel, now or when it runs."""
        kernel = self._kernel
        if self._waiting is None or kernel is None:
            connected = super().connect()
            if kernel is not None and connected is not None:
                self._joining = asyncio.ensure_future(self._catch_up(kernel, connected))
            return connected
        self.multi_kernel_manager.notify_connect(self.kernel_id)
        self._joining = asyncio.ensure_future(self._join(kernel))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def _join(self, kernel: LandbridgeServerKernelManager) -> None:
        try:
            while kernel.phase is not KernelPhase.RUNNING:
                self._say(
                    "dead" if kernel.phase is KernelPhase.GONE else kernel.phase.value
                )
                if kernel.phase is KernelPhase.GONE:
                    return
                await kernel.phase_changed()
            await super().prepare()
            self.multi_kernel_manager.notify_disconnect(self.kernel_id)
            connected = super().connect()
            if connected is not None:
                await self._catch_up(kernel, connected)
        except (web.HTTPError, TimeoutError, WebSocketClosedError) as error:
            self.log.warning("Kernel %s is not joined: %s", self.kernel_id, error)
            self.websocket_handler.close()
            return
        waiting, self._waiting = self._waiting or [], None
        for message in waiting:
            super().handle_incoming_message(message)

    async def _catch_up(
        self, kernel: LandbridgeServerKernelManager, connected: Any
    ) -> None:
        """Hand on what was published to no server, then what came since."""
        self._behind = []
        missed = Missed()
        try:
            await asyncio.wait({connected})  # cancelling us is not to cancel it
            if kernel.batch is not None:
                missed = await kernel.batch.missed()
        except KernelJobError as error:
            self.log.info("What was missed of a kernel stays so: %s", error)
        finally:
            behind, self._behind = self._behind, None
        if missed.messages:
            # The newest of them may come to us by ourselves as well, also later.
            self._told = replay(self, missed, behind)
        for stream, message in behind:
            try:
                self.handle_outgoing_message(stream, message)
            except ValueError as error:
                self.log.info("A message cannot be read: %s", error)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:
        """Hand a kernel's message on, or keep it until older ones are handed on."""
        if self._behind is not None:
            self._behind.append((stream, outgoing_msg))
        elif not self._told or message_id(outgoing_msg) not in self._told:
            super().handle_outgoing_message(stream, outgoing_msg)

    def _say(self, state: str) -> None:
        if not self._closed:
            self._send_status_message(state)

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Hand a message on, or keep it until there is a kernel."""
        if self._waiting is None:
            super().handle_incoming_message(incoming_msg)
            return
        self._size += len(incoming_msg)
        if self._size > _MOST_BYTES or len(self._waiting) >= _MOST_MESSAGES:
            self.log.warning("Too much is sent to a kernel that is not there yet")
            self.websocket_handler.close(1009, "The kernel has not started yet.")
            return
        self._waiting.append(incoming_msg)

    def disconnect(self) -> None:  # type: ignore[override] # as in its base
        """Forget the browser."""
        self._closed = True
        if self._joining is not None:
            self._joining.cancel()
        if self._waiting is None or self.channels:
            super().disconnect()
            return
        self.multi_kernel_manager.notify_disconnect(self.kernel_id)
        if self._open_sessions.get(self.session_key) is self.websocket_handler:
            self._open_sessions.pop(self.session_key)
        if not self._close_future.done():
            self._close_future.set_result(None)
