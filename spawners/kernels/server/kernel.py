"""One kernel of the notebook server, in a job of its own or beside the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any  # jupyter_client's keyword arguments

from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets import Type

from spawners.batch.explain.failure import Failure
from spawners.batch.models import Resources

from ..errors import KernelJobEnded, KernelJobError
from ..facts import KernelFacts
from ..provisioner import BatchKernelProvisioner
from ..settings import KernelSettings
from ..status import KernelStatus
from .choices import Options
from .specs import is_job

_unasked: ContextVar[bool] = ContextVar("unasked", default=False)


class KernelPhase(StrEnum):
    """Where a kernel is for its clients."""

    STARTING = "starting"
    RUNNING = "running"
    DEAD = "dead"
    GONE = "gone"


class Restarter(AsyncIOLoopKernelRestarter):
    """Restarts a kernel that died, but takes no new job for it."""

    async def poll(self) -> None:  # type: ignore[override] # as in its base
        """Look whether the kernel lives."""
        if self.kernel_manager.shutting_down:
            return
        with _nobody_asked():
            try:
                await super().poll()
            except KernelJobError as error:
                self.log.info("Kernel is not restarted by itself: %s", error)


@contextlib.contextmanager
def _nobody_asked() -> Iterator[None]:
    token = _unasked.set(True)
    try:
        yield
    finally:
        _unasked.reset(token)


class LandbridgeServerKernelManager(ServerKernelManager):
    """A kernel that may be a batch job.

    Attributes:
        phase: for clients; see :class:`KernelPhase`.
        failure: why it is dead, in words.
        pinned_until: until then it is neither ended as idle nor with the server.
        idle_warning: that it will be ended soon, in words.
        adopted: whether an earlier server started it.
        current: False for such a kernel until the jobs service has told of it.
        lost_job_id, last_resources: of a job that is over.
    """

    restarter_class = Type(
        default_value=Restarter,
        klass=AsyncIOLoopKernelRestarter,
        help="What restarts kernels that died.",
        config=True,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.phase = KernelPhase.STARTING
        self.failure: Failure | None = None
        self.pinned_until: datetime | None = None
        self.idle_warning: str | None = None
        self.adopted = False
        self.current = True
        self.lost_job_id = ""
        self.last_resources: Resources | None = None
        self._why_is_known = False
        self._chosen: Options | None = None
        self._asked_choice = False
        self._phase_changed = asyncio.Event()

    # -- what the provisioner asks of its manager ------------------------------------

    @property
    def kernel_settings(self) -> KernelSettings:
        """The settings of all kernels of this server."""
        settings: KernelSettings = self._all.kernel_settings
        return settings

    @property
    def _all(self) -> Any:
        """The server's kernels; `manager` imports this module."""
        return self.parent

    @property
    def kernel_owner(self) -> str:
        """Whose kernels these are: this server's, whichever job it runs in."""
        return str(self._all.kernel_owner)

    @property
    def may_start_job(self) -> bool:
        """Whether a new job may be submitted: not without a user's word."""
        return not _unasked.get()

    def kernel_choices(self, kernel_id: str) -> Options | None:
        """Return what was chosen for this kernel, at each start of a job."""
        if not self._asked_choice:
            self._chosen = self._all.choices.take(kernel_id)
            self._asked_choice = True
        return self._chosen

    # -- what others ask ------------------------------------------------------

    @property
    def in_job(self) -> bool:
        """Whether this kernel runs, or would run, as a job."""
        if self.provisioner is not None:
            return isinstance(self.provisioner, BatchKernelProvisioner)
        try:
            return self.adopted or is_job(self.kernel_spec)
        except NoSuchKernel:
            return False

    @property
    def batch(self) -> BatchKernelProvisioner | None:
        """The provisioner, if this kernel is a job."""
        found = self.provisioner
        return found if isinstance(found, BatchKernelProvisioner) else None

    @property
    def status(self) -> KernelStatus | None:
        """Where its job is."""
        return None if self.batch is None else self.batch.status

    @property
    def kept(self) -> bool:
        """Whether it outlives the server."""
        return self.pinned_until is not None and self.pinned_until > datetime.now(UTC)

    async def phase_changed(self) -> None:
        """Wait until :attr:`phase` changes."""
        await self._phase_changed.wait()

    def set_phase(self, phase: KernelPhase, failure: Failure | None = None) -> None:
        """Note a new phase, and tell clients that wait for one."""
        if phase is self.phase and failure == self.failure:
            return
        self.phase, self.failure = phase, failure
        if phase in (KernelPhase.STARTING, KernelPhase.DEAD):
            self.execution_state = phase.value
        self.reason = _in_a_line(failure)
        changed, self._phase_changed = self._phase_changed, asyncio.Event()
        changed.set()

    # -- start and end ----------------------------------------------

    async def _async_pre_start_kernel(
        self, *, transport_encryption: str | None = None, **kw: Any
    ) -> tuple[list[str], dict[str, Any]]:
        if self.provisioner is None and is_job(self.kernel_spec):
            self._make_provisioner(kw.get("kernel_id"))
        if self.batch is not None:
            transport_encryption = None  # its tunnel is always encrypted
        return await super()._async_pre_start_kernel(
            transport_encryption=transport_encryption, **kw
        )

    def _make_provisioner(self, kernel_id: str | None) -> None:
        factory = KernelProvisionerFactory.instance(parent=self.parent)
        self.kernel_id = self.kernel_id or kernel_id
        self.provisioner = factory.create_provisioner_instance(
            str(self.kernel_id), self.kernel_spec, parent=self
        )
        if self.batch is not None:
            self.batch.on_change(self._soon(self._look))

    def _soon(self, call: Callable[[], None]) -> Callable[[], None]:
        """Return what may be called from the tunnels' thread."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the server's loop has ended
                loop.call_soon_threadsafe(call)

        return tell

    def _look(self) -> None:
        """Notice the end of the job, which nobody here asked for."""
        status = self.status
        if (
            status is not None
            and status.phase == "ended"
            and status.failure is not None
            and not self.shutting_down
        ):
            if self.phase is KernelPhase.RUNNING:
                self.die(status.failure)
            elif self.phase is KernelPhase.DEAD and not self._why_is_known:
                # The kernel was killed first: its job's end says why.
                self.set_phase(KernelPhase.DEAD, status.failure)

    def die(self, failure: Failure | None, *, why_is_known: bool = False) -> None:
        """Be dead, listed and explained; only a user's restart changes that.

        Args:
            failure: why, as far as is known.
            why_is_known: the job's own end has nothing to add.
        """
        self._why_is_known = why_is_known
        status = self.status
        if status is not None:
            self.last_resources = status.resources
            self.lost_job_id = "" if status.job is None else status.job.id
        self.stop_restarter()
        self.set_phase(KernelPhase.DEAD, failure)
        self.tell_clients("dead")

    async def end_job(self, failure: Failure) -> None:
        """End the job for a reason of ours; the kernel stays listed with it."""
        self.die(failure, why_is_known=True)
        if self.batch is not None:
            try:
                await self.batch.cancel()
            except KernelJobError as error:
                self.log.info("Kernel %s: %s", self.kernel_id, error)

    def tell_clients(self, event: str) -> None:
        """Tell websockets ``"dead"`` or ``"restart"``, as the restarter would."""
        if self._restarter is not None:
            self._restarter._fire_callbacks(event)

    async def start_again(self) -> None:
        """Start the kernel in a new job, under its old id.

        Raises:
            KernelJobError: it was refused, or ended before the kernel ran.
        """
        self.stop_restarter()
        self.shutting_down = False
        await self._async_cleanup_resources(restart=True)
        if self._restarter is not None:
            self._restarter._restarting = False
            self._restarter._restart_count = 0
        await self.start_kernel(**(self._launch_args or {}))

    async def adopt(self, facts: KernelFacts) -> None:
        """Become the owner of a kernel that an earlier server left.

        Raises:
            KernelJobError: it is gone, and why.
            NoSuchKernel: its kernelspec is no longer there.
        """
        self.kernel_id = facts.kernel_id
        self._attempted_start = True  # else it could not be restarted
        self._chosen, self._asked_choice = facts.asked, True
        self._make_provisioner(facts.kernel_id)
        if self.batch is None:
            raise KernelJobEnded(Failure("This kernel is no job any more"))
        await self.batch.load_provisioner_info({"kernel_id": facts.kernel_id})
        launched = self.batch.launched
        arguments: Any = {"env": dict(launched.get("env") or {})}
        if launched.get("cwd"):
            arguments["cwd"] = launched["cwd"]
        self._launch_args = arguments
        self.pinned_until = self.batch.kept_until
        self.write_connection_file()
        await self._async_post_start_kernel()

    async def keep(self, seconds: float) -> None:
        """Let the kernel outlive the server until ``seconds`` from now; 0 for not.

        Raises:
            KernelUnreachable: its node does not answer now.
        """
        self.pinned_until = None
        if seconds > 0:
            self.pinned_until = datetime.now(UTC) + timedelta(seconds=seconds)
        self.idle_warning = None
        if self.batch is not None:
            await self.batch.keep(seconds)


def _in_a_line(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return " ".join(part for part in (failure.title, failure.detail) if part)
