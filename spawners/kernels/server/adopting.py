"""Kernels that an earlier notebook server left, and what all kernels here share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any  # jupyter_server's own signatures

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server._tz import utcnow
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Instance, Unicode, default

from spawners.batch.explain.failure import Failure

from ..context import KernelContext, context_for
from ..errors import KernelJobError
from ..record import KernelRecord
from ..settings import KernelSettings, load_kernel_settings
from .choices import ChoiceStore
from .kernel import LandbridgeServerKernelManager, Life


class AdoptingKernelManager(AsyncMappingKernelManager):
    """Lists kernels that are left from the first moment on, and re-attaches them.

    Attributes:
        kernel_owner: this server's name, the same in each of its jobs.
        choices: resources that were chosen for kernels to come.
        context_of_jobs: the scheduler, the records, the profiles.
        at_a_start: called when a kernel's job has come to run, or was found again.
    """

    at_a_start: Callable[[], None] | None = None

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
        self._left = self._list_what_is_left()

    def job(self, kernel_id: str) -> LandbridgeServerKernelManager | None:
        """Return a kernel that is a job; ``None`` if it is none, or not there."""
        kernel = self._kernels.get(kernel_id)
        if isinstance(kernel, LandbridgeServerKernelManager) and kernel.in_job:
            return kernel
        return None

    def _watch(self, kernel_id: str, kernel: LandbridgeServerKernelManager) -> None:
        """Do what jupyter_server does once a kernel runs."""
        self._kernel_ports[kernel_id] = kernel.ports
        if getattr(kernel, "_activity_stream", None) is None:
            self.start_watching_activity(kernel_id)
            self.add_restart_callback(
                kernel_id, lambda: self._handle_kernel_died(kernel_id), "dead"
            )
        kernel.live(Life.RUNNING)
        if self.at_a_start is not None:
            self.at_a_start()

    def _do(self, kernel_id: str, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[kernel_id] = task

        def done(_: object) -> None:
            if self._tasks.get(kernel_id) is task:
                del self._tasks[kernel_id]

        task.add_done_callback(done)

    def _list_what_is_left(self) -> list[KernelRecord]:
        """List stored kernels at once: sessions of unlisted ones are deleted."""
        records = self.context_of_jobs.records.all(self.kernel_owner)
        left = [record for record in records if not record.ending]
        for record in left:
            kernel = self.kernel_manager_factory(
                connection_file=self._connection_file(record.kernel_id),
                parent=self,
                log=self.log,
                kernel_name=record.kernel_name,
                kernel_spec_manager=self.kernel_spec_manager,
            )
            kernel.kernel_id, kernel.adopted = record.kernel_id, True
            KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=record.kernel_name).inc()
            kernel.last_activity = utcnow()
            kernel.execution_state = Life.STARTING.value
            self._kernels[record.kernel_id] = kernel
            self._kernel_connections[record.kernel_id] = 0
        return left

    def _connection_file(self, kernel_id: str) -> str:
        return os.path.join(self.connection_dir, f"kernel-{kernel_id}.json")  # noqa: PTH118

    def adopt_left(self) -> None:
        """Re-attach what is left, in the background; called once the loop runs."""
        left, self._left = self._left, []
        for record in left:
            self._do(record.kernel_id, self._adopt(record))

    async def _adopt(self, record: KernelRecord) -> None:
        kernel = self.job(record.kernel_id)
        if kernel is None:
            return
        try:
            await kernel.adopt(record)
        except KernelJobError as error:
            self.log.info("Kernel %s is not had again: %s", record.kernel_id, error)
            kernel.live(Life.DEAD, error.failure)
            return
        except NoSuchKernel:
            why = Failure(
                "The kernel's environment is gone",
                f"There is no kernelspec {record.kernel_name} any more.",
            )
            kernel.live(Life.DEAD, why)
            return
        _resolve(kernel)
        self._watch(record.kernel_id, kernel)
        self.log.info("Kernel %s was found again", record.kernel_id)
        self._ask_whether_busy(kernel)

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


def _resolve(kernel: LandbridgeServerKernelManager) -> None:
    ready = kernel.ready
    if not ready.done():
        ready.set_result(None)


def _known(value: Any) -> Any:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
