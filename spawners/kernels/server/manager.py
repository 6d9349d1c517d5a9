"""All kernels of the notebook server.

A start of a kernel in a job is answered at once and goes on in the background for as
long as the queue takes; kernels beside the server start as ever. Kernels that an
earlier server of the same name left are listed from the first moment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any  # jupyter_server's own signatures

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server._tz import utcnow
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado import web
from traitlets import Instance, Unicode, default

from spawners.batch.explain.failure import Failure
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError

from ..context import KernelContext, context_for
from ..errors import KernelJobError, KernelUnreachable
from ..facts import KernelFacts
from ..previous import previous_kernels
from ..settings import KernelSettings, load_kernel_settings
from ..start import end_left
from ..tunnel import on_near_loop
from .choices import ChoiceStore
from .kernel import KernelPhase, LandbridgeServerKernelManager
from .specs import is_job

_KERNEL_ID = re.compile(r"\w+(-\w+){4}\Z", re.ASCII)
_LONGEST_ID = 100
_DELETE_SECONDS = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0

_pending: ContextVar[bool] = ContextVar("pending", default=False)


class LandbridgeMappingKernelManager(AsyncMappingKernelManager):
    """Keeps jobs and plain kernels side by side.

    Attributes:
        kernel_owner: this server's name, the same in each of its jobs.
        choices: resources that were chosen for kernels to come.
        context_of_jobs: the scheduler, the records, the profiles.
        at_the_end: awaited before the server's end lets its kernels go.
    """

    at_the_end: Callable[[], Awaitable[None]] | None = None

    kernel_owner = Unicode(help="The server's own name for itself, over all its jobs.")
    choices = Instance(ChoiceStore, ())
    kernel_settings = Instance(KernelSettings)

    @default("kernel_manager_class")
    def _default_kernel_manager_class(self) -> str:
        return f"{__package__}.kernel.LandbridgeServerKernelManager"

    @default("kernel_settings")
    def _default_kernel_settings(self) -> KernelSettings:
        return load_kernel_settings()

    @default("kernel_owner")
    def _default_kernel_owner(self) -> str:
        user = os.environ.get("JUPYTERHUB_USER", "")
        server = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
        return f"server:{user}/{server}"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context_of_jobs: KernelContext = context_for(self.kernel_settings)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._previous: list[KernelFacts] = []
        self._settling: asyncio.Task[None] | None = None
        self._withdrawn: set[str] = set()  # before it was known what there is
        self._list_what_was_left()

    def job(self, kernel_id: str) -> LandbridgeServerKernelManager | None:
        """Return a kernel that is a job; ``None`` if it is none, or not there."""
        kernel = self._kernels.get(kernel_id)
        if isinstance(kernel, LandbridgeServerKernelManager) and kernel.in_job:
            return kernel
        return None

    # -- kernels that an earlier server left ------------------------------------------

    def _list_what_was_left(self) -> None:
        """List the kernels of an earlier server: sessions of unlisted ones are deleted.

        By what it wrote on this disk. Nobody else is asked: the jobs service may be
        away for as long as it likes, and a server that waits for it serves nobody.
        """
        context = self.context_of_jobs
        for left in previous_kernels(context.state, self.kernel_owner):
            self._previous.append(left.facts)
            self._list_left(left.facts.kernel_id, left.facts.kernel_name)
        for kernel_id, name in context.claims.of_server(self.kernel_owner).items():
            if kernel_id not in self._kernels:
                self._list_left(kernel_id, name).current = False

    def _list_left(
        self, kernel_id: str, kernel_name: str
    ) -> LandbridgeServerKernelManager:
        kernel: LandbridgeServerKernelManager = self.kernel_manager_factory(
            connection_file=self._connection_file(kernel_id),
            parent=self,
            log=self.log,
            kernel_name=kernel_name,
            kernel_spec_manager=self.kernel_spec_manager,
        )
        kernel.kernel_id, kernel.adopted = kernel_id, True
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=kernel_name).inc()
        kernel.last_activity = utcnow()
        kernel.execution_state = KernelPhase.STARTING.value
        self._kernels[kernel_id] = kernel
        self._kernel_connections[kernel_id] = 0
        return kernel

    def _connection_file(self, kernel_id: str) -> str:
        return os.path.join(self.connection_dir, f"kernel-{kernel_id}.json")  # noqa: PTH118

    def adopt_left(self) -> None:
        """Re-attach what is left, in the background; called once the loop runs."""
        previous, self._previous = self._previous, []
        for facts in previous:
            self._do(facts.kernel_id, self._adopt(facts))
        self._settling = asyncio.ensure_future(self._settle())

    async def _settle(self) -> None:
        """Adopt the kernels that the jobs service tells of, and forget all others."""
        found = await self._ask_for_kernels()
        for facts in found:
            if facts.kernel_id in self._withdrawn:
                continue
            if facts.kernel_id not in self._kernels:  # it was claimed on another disk
                self._list_left(facts.kernel_id, facts.kernel_name).current = False
            kernel = self.job(facts.kernel_id)
            if kernel is not None and not kernel.current:
                kernel.current = True
                self._do(facts.kernel_id, self._adopt(facts))
        for kernel_id in list(self._kernels):
            kernel = self.job(kernel_id)
            if kernel is not None and not kernel.current:
                self.log.info("Kernel %s is no more", kernel_id)
                self._forget_left(kernel_id, kernel)

    async def _ask_for_kernels(self) -> list[KernelFacts]:
        """Ask the jobs service which kernels an earlier server left, until it tells."""
        context = self.context_of_jobs
        pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                kernels = await on_near_loop(context.kernels(self.kernel_owner))
            except GatewayError as error:
                self.log.warning("Kernels of an earlier server wait: %s", error)
                await asyncio.sleep(next(pauses))
            else:
                return [facts for facts, _ in kernels]

    def _forget_left(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        self._take_off_the_list(kernel_id, kernel)
        self._kernel_connections.pop(kernel_id, None)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=kernel.kernel_name).dec()
        claims = self.context_of_jobs.claims
        if claims.is_abandoned(kernel_id):
            claims.remove(kernel_id)
        kernel.set_phase(KernelPhase.GONE)

    async def _adopt(self, facts: KernelFacts) -> None:
        kernel = self.job(facts.kernel_id)
        if kernel is None:
            return
        try:
            await self._find_again(kernel, facts)
        except KernelJobError as error:
            self.log.info("Kernel %s is not had again: %s", facts.kernel_id, error)
            kernel.set_phase(KernelPhase.DEAD, error.failure)
            return
        except NoSuchKernel:
            why = Failure(
                "The kernel's environment is gone",
                f"There is no kernelspec {facts.kernel_name} any more.",
            )
            kernel.set_phase(KernelPhase.DEAD, why)
            return
        _resolve(kernel)
        self._watch(facts.kernel_id, kernel)
        self.log.info("Kernel %s was found again", facts.kernel_id)
        self._ask_whether_busy(kernel)

    async def _find_again(
        self, kernel: LandbridgeServerKernelManager, facts: KernelFacts
    ) -> None:
        """Re-attach a kernel; wait for the jobs service if that goes meanwhile."""
        pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await kernel.adopt(facts)
            except KernelUnreachable as error:
                self.log.warning("Kernel %s waits: %s", facts.kernel_id, error)
                await asyncio.sleep(next(pauses))
            else:
                return

    def _ask_whether_busy(self, kernel: LandbridgeServerKernelManager) -> None:
        """Call it busy until it answers: it may be in the middle of a cell."""
        kernel.execution_state = "busy"
        # A websocket need not wait for it.
        setattr(kernel, "_kernel_info_future", _known({}))  # noqa: B010
        stream = kernel.connect_shell()

        def answered(message: object) -> None:
            stream.close()
            kernel.execution_state = "idle"

        stream.on_recv(answered)
        kernel.session.send(stream, "kernel_info_request")

    # -- starts ------------------------------------------------------

    @property
    def use_pending_kernels(self) -> bool:  # type: ignore[override] # theirs is a trait
        """Whether the start that is under way is answered before it is done."""
        return _pending.get()

    async def _async_start_kernel(
        self,
        *,
        kernel_id: str | None = None,
        path: Any = None,
        kernel_name: str | None = None,
        **kwargs: Any,
    ) -> str:
        if kernel_id is not None and (
            not _KERNEL_ID.match(str(kernel_id)) or len(kernel_id) > _LONGEST_ID
        ):
            raise web.HTTPError(400, "kernel_id: must be a UUID.")
        pending = _pending.set(self._is_job_named(kernel_name))
        try:
            started: str = await super()._async_start_kernel(
                kernel_id=kernel_id, path=path, kernel_name=kernel_name, **kwargs
            )
        finally:
            _pending.reset(pending)
        return started

    start_kernel = _async_start_kernel  # type: ignore[assignment]

    def _is_job_named(self, kernel_name: str | None) -> bool:
        try:
            specs: Any = self.kernel_spec_manager
            name = kernel_name or self.default_kernel_name
            return is_job(specs.get_kernel_spec(name))
        except NoSuchKernel:
            return False

    async def _add_kernel_when_ready(
        self, kernel_id: str, km: Any, kernel_awaitable: Any
    ) -> None:
        if not (isinstance(km, LandbridgeServerKernelManager) and km.in_job):
            await super()._add_kernel_when_ready(kernel_id, km, kernel_awaitable)
            return
        try:
            await kernel_awaitable
        except KernelJobError as error:
            km.set_phase(KernelPhase.DEAD, error.failure)
        except Exception as error:
            self.log.exception("Kernel %s could not be started", kernel_id)
            km.set_phase(
                KernelPhase.DEAD, Failure("The kernel could not be started", str(error))
            )
        finally:
            self._pending_kernels.pop(kernel_id, None)

    async def _finish_kernel_start(self, kernel_id: str) -> None:
        kernel = self.job(kernel_id)
        if kernel is None:
            await super()._finish_kernel_start(kernel_id)
            return
        try:
            await _awaitable(kernel.ready)
        except Exception as error:  # noqa: BLE001 - told by _add_kernel_when_ready
            self.log.debug("Kernel %s did not start: %s", kernel_id, error)
            return
        self._watch(kernel_id, kernel)

    def _watch(self, kernel_id: str, kernel: LandbridgeServerKernelManager) -> None:
        """Do what jupyter_server does once a kernel runs."""
        self._kernel_ports[kernel_id] = kernel.ports
        if getattr(kernel, "_activity_stream", None) is None:
            self.start_watching_activity(kernel_id)
            self.add_restart_callback(
                kernel_id, lambda: self._handle_kernel_died(kernel_id), "dead"
            )
        kernel.set_phase(KernelPhase.RUNNING)

    def _do(self, kernel_id: str, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[kernel_id] = task

        def done(_: object) -> None:
            if self._tasks.get(kernel_id) is task:
                del self._tasks[kernel_id]

        task.add_done_callback(done)

    # -- the end ------------------------------------------------------

    def _handle_kernel_died(self, kernel_id: str) -> None:
        """Keep a job's kernel listed, so that its end can be read."""
        kernel = self.job(kernel_id)
        if kernel is None:
            super()._handle_kernel_died(kernel_id)
            return
        if kernel.phase is not KernelPhase.DEAD:
            status = kernel.status
            why = None if status is None else status.failure
            kernel.set_phase(KernelPhase.DEAD, why or Failure("The kernel died"))
        self.log.warning("Kernel %s is dead: %s", kernel_id, kernel.reason)

    async def _async_shutdown_kernel(
        self,
        kernel_id: str,
        now: bool | None = False,  # noqa: FBT001, FBT002 - theirs
        restart: bool | None = False,  # noqa: FBT001, FBT002
    ) -> None:
        kernel = self.job(kernel_id)
        if kernel is None:
            await super()._async_shutdown_kernel(kernel_id, now=now, restart=restart)
            return
        if kernel.adopted and kernel.phase is KernelPhase.STARTING:
            await self._end_left(kernel_id)
        lost = kernel.status is not None and kernel.status.phase == "lost"
        if kernel.phase is not KernelPhase.RUNNING or lost:
            await self._withdraw(kernel_id, kernel)
        else:
            try:
                await super()._async_shutdown_kernel(
                    kernel_id, now=now, restart=restart
                )
            except KernelJobError as error:
                self.log.info("Kernel %s is ended hard: %s", kernel_id, error)
                await self._withdraw(kernel_id, kernel)
        kernel.set_phase(KernelPhase.GONE)

    shutdown_kernel = _async_shutdown_kernel  # type: ignore[assignment]

    async def _end_left(self, kernel_id: str) -> None:
        """End the job of a kernel that was not had again yet.

        Raises:
            HTTPError: the jobs service does not answer: nobody knows that it would end.
        """
        try:
            await on_near_loop(end_left(self.context_of_jobs, kernel_id))
        except KernelUnreachable as error:
            raise web.HTTPError(503, str(error)) from error

    async def _withdraw(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        """Take back a start, or forget a dead kernel; whatever job it has ends."""
        if kernel_id not in self:
            return
        self._take_off_the_list(kernel_id, kernel)
        self._kernel_connections.pop(kernel_id, None)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=kernel.kernel_name).dec()
        await self._stop_starting(kernel_id, kernel)
        with contextlib.suppress(KernelJobError):
            await kernel.cleanup_resources(restart=False)

    def _take_off_the_list(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        kernel.shutting_down = True
        kernel.stop_restarter()
        self.stop_watching_activity(kernel_id)
        self.stop_buffering(kernel_id)
        self.remove_kernel(kernel_id)
        if self._settling is None or not self._settling.done():
            self._withdrawn.add(kernel_id)

    async def _stop_starting(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        tasks = [
            task
            for kept in (self._pending_kernels, self._pending_kernel_tasks, self._tasks)
            if (task := kept.pop(kernel_id, None)) is not None
        ]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_DELETE_SECONDS)
        if not kernel.ready.done():
            kernel.ready.cancel()

    def refuse_while_pending(self, kernel_id: str) -> None:
        """Answer 409 where a kernel can neither be interrupted nor restarted yet.

        Raises:
            HTTPError: it waits for its job.
        """
        kernel = self.job(kernel_id)
        if kernel is not None and kernel.phase is KernelPhase.STARTING:
            why = "The kernel waits for its job; it has not started yet."
            if kernel.adopted:
                why = "The kernel is being looked for; it is not known how it is."
            raise web.HTTPError(409, why)

    def interrupt_kernel(self, kernel_id: str) -> Any:
        """Interrupt a kernel.

        Raises:
            HTTPError: it cannot be now.
        """
        self._check_kernel_id(kernel_id)
        self.refuse_while_pending(kernel_id)
        kernel = self.job(kernel_id)
        if kernel is not None and kernel.phase is KernelPhase.DEAD:
            raise web.HTTPError(409, f"The kernel is dead. {kernel.reason}".rstrip())
        return self._interrupt(kernel_id)

    async def _interrupt(self, kernel_id: str) -> None:
        try:
            done: Any = super().interrupt_kernel(kernel_id)
            await done
        except KernelUnreachable as error:
            raise web.HTTPError(409, error.failure.title) from error

    async def _async_restart_kernel(
        self,
        kernel_id: str,
        now: bool | None = False,  # noqa: FBT001, FBT002 - theirs
    ) -> Any:
        """Restart in the same job; in a new one, in the background, if that ended."""
        self._check_kernel_id(kernel_id)
        self.refuse_while_pending(kernel_id)
        kernel = self.job(kernel_id)
        if kernel is None or kernel.phase is not KernelPhase.DEAD:
            return await super()._async_restart_kernel(kernel_id, now=now)
        kernel.set_phase(KernelPhase.STARTING)
        kernel.tell_clients("restart")
        self._do(kernel_id, self._start_again(kernel_id, kernel))
        return None

    restart_kernel = _async_restart_kernel  # type: ignore[assignment]

    async def _start_again(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        try:
            await kernel.start_again()
        except KernelJobError as error:
            kernel.die(error.failure)
        except Exception as error:
            self.log.exception("Kernel %s could not be restarted", kernel_id)
            kernel.die(Failure("The kernel could not be restarted", str(error)))
        else:
            self._watch(kernel_id, kernel)

    async def _async_shutdown_all(
        self,
        now: bool | None = False,  # noqa: FBT001, FBT002 - theirs
    ) -> None:
        """End all kernels but those that their user keeps.

        One that was not had again yet may be kept: it ends by its lease if it is not.
        """
        if self.at_the_end is not None:
            await self.at_the_end()
        if self._settling is not None:
            self._settling.cancel()
        kept = [
            (kernel_id, kernel)
            for kernel_id in list(self._kernels)
            if (kernel := self.job(kernel_id)) is not None
            and (
                kernel.kept or (kernel.adopted and kernel.phase is KernelPhase.STARTING)
            )
            and kernel.phase is not KernelPhase.DEAD
        ]
        for kernel_id, kernel in kept:
            await self._let_go(kernel_id, kernel)
        await super()._async_shutdown_all(now=bool(now))

    shutdown_all = _async_shutdown_all  # type: ignore[assignment]

    async def _let_go(
        self, kernel_id: str, kernel: LandbridgeServerKernelManager
    ) -> None:
        self._take_off_the_list(kernel_id, kernel)
        if kernel.batch is not None:
            await kernel.batch.detach()
        await self._stop_starting(kernel_id, kernel)  # it may wait in the queue
        kernel.cleanup_connection_file()
        self.log.info("Kernel %s goes on without this server", kernel_id)


def _awaitable(ready: Any) -> Any:
    return ready if isinstance(ready, asyncio.Future) else asyncio.wrap_future(ready)


def _resolve(kernel: LandbridgeServerKernelManager) -> None:
    ready = kernel.ready
    if not ready.done():
        ready.set_result(None)


def _known(value: Any) -> Any:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
