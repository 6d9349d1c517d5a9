"""Kernels as batch jobs: the provisioner ``landbridge-batch``.

A kernelspec asks for it by name; what its job gets is a profile of the site, and
whatever the profile lets its user choose::

    "metadata": {"kernel_provisioner": {"provisioner_name": "landbridge-batch",
                 "config": {"profile": "gpu", "gpus": 2}}}

Works with any kernel and any of jupyter_client's managers, synchronous or not; see
docs/explanation/kernels.md. A manager may offer more by attributes of its own:

* ``kernel_choices(kernel_id)``: a mapping of options that replaces the kernelspec's,
  or ``None``; asked at each new job.
* ``kernel_owner``: the owner's name in the record; kernels of an owner that has a
  name may be adopted by a later process of the same name.
* ``may_start_job``: False where nobody asked for a new job in an ended one's place.
* ``kernel_settings``: a :class:`~spawners.kernels.settings.KernelSettings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from spawners.batch.explain.failure import Failure
from spawners.batch.models import new_job_name
from spawners.common.settings import ConfigError
from spawners.node.kernel.names import CHANNELS, Json
from spawners.profiles.profiles import Resolved

from . import credentials as kernel_storage
from . import start as kernel_start
from .context import KernelContext, context_for
from .environment import kernel_argv, kernel_environment
from .errors import KernelJobEnded, KernelJobError, KernelNotStarted
from .facts import KernelFacts
from .job import KernelJob
from .previous import PreviousJob, PreviousKernel, previous_kernels
from .settings import load_kernel_settings
from .status import KernelStatus, Missed
from .tunnel import begin, on_near_loop, private_directory

__all__ = ["BatchKernelProvisioner", "KernelJobError", "KernelStatus"]

_OVER = Failure("The kernel's job is over", "None is submitted in its place unasked.")
_POLL_SECONDS = 0.05
_EXIT_SECONDS = 5.0
_OWN_ARGUMENTS = frozenset({"kernel_id", "kernel_spec", "parent", "config", "log"})


class BatchKernelProvisioner(KernelProvisionerBase):
    """Runs one kernel in a batch job of its user.

    The job ends when the manager cleans up for good, when a start fails, or when
    nothing is attached to it for the lease's time: never because a kernel died.
    """

    def __init__(self, **kwargs: Any) -> None:
        own = {key: kwargs.pop(key) for key in list(kwargs) if key in _OWN_ARGUMENTS}
        super().__init__(**own)
        # What a kernelspec claims: anybody writes one. Checked when it is used.
        self._asked: Mapping[str, object] = kwargs
        self._job: KernelJob | None = None
        self._waited = True
        self._directory = ""
        self._extra: tuple[str, ...] = ()
        self._arguments: Mapping[str, object] = {}
        self._cwd: str | None = None
        self._listeners: list[Callable[[], None]] = []
        self._finalizer: weakref.finalize[Any, Any] | None = None

    # -- what managers ask ------------------------------------------------------

    @property
    def has_process(self) -> bool:
        """True from a start until its end was waited for."""
        return self._job is not None and not self._waited

    async def poll(self) -> int | None:
        """Return how the kernel ended; ``None`` while it lives, or may live."""
        if self._job is None:
            return 0
        code = self._job.exit_code if self._job.run else None
        if code is not None and (self._job.ending or self._job.ended):
            self._end_restarts()
        return code

    def _end_restarts(self) -> None:
        """Let the manager's restarter call a kernel dead whose job is over.

        Restarting would take again, unasked, what a time limit just ended. It asks
        us right before it decides.
        """
        restarter = getattr(self.parent, "_restarter", None)
        if restarter is not None:
            restarter._restarting = True
            restarter._restart_count = restarter.restart_limit

    def _allow_restarts(self) -> None:
        restarter = getattr(self.parent, "_restarter", None)
        if restarter is not None:
            restarter._restarting = False
            restarter._restart_count = 0

    async def wait(self) -> int | None:
        """Return how the kernel ended, once it has."""
        while (code := await self.poll()) is None:  # noqa: ASYNC110 - of another loop
            await asyncio.sleep(_POLL_SECONDS)
        self._waited = True
        return code

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and its children, on its node."""
        job = self._job
        if job is None or not signum or await self.poll() is not None:
            return
        await on_near_loop(job.signal(int(signum)))

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Kill the kernel. Its job stays: only :meth:`cleanup` knows what follows."""
        await self._send_or_log(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """Ask the kernel to end. Its job stays."""
        await self._send_or_log(signal.SIGTERM)

    async def _send_or_log(self, number: int) -> None:
        try:
            await self.send_signal(number)
        except KernelJobError as error:
            self.log.warning("Kernel %s: %s", self.kernel_id, error)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """End the job unless another kernel is to run in it."""
        if not restart and self._job is not None:
            await on_near_loop(self._job.end())
            self._forget()

    def resolve_path(self, path: str) -> str | None:
        """Return a path below the kernel's directory, if it is there to see."""
        found = Path(path).expanduser()
        if not found.is_absolute() and self._cwd:
            found = (Path(self._cwd) / found).resolve()
        return found.as_posix() if found.exists() else None

    # -- starting ---------------------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Fix the kernel's sockets for all its life, and its command."""
        kwargs.pop("transport_encryption", None)  # the tunnel is always encrypted
        self._extra = tuple(kwargs.pop("extra_arguments", ()))
        self._arguments = {
            key: value for key, value in kwargs.items() if isinstance(value, str | int)
        }
        manager = self.parent
        self._directory = private_directory(self._directory)
        if manager is not None:
            self._take_sockets(manager)
            session = kwargs.get("env", {}).get("JPY_SESSION_NAME", "")
            manager.write_connection_file(jupyter_session=session)
            self.connection_info = manager.get_connection_info()
        return await super().pre_launch(cmd=self._command(), **kwargs)

    def _take_sockets(self, manager: Any) -> None:
        manager.cache_ports = False
        manager.transport = "ipc"
        manager.ip = f"{self._directory}/s"
        for number, channel in enumerate(CHANNELS, 1):
            setattr(manager, f"{channel}_port", number)

    def _command(self) -> list[str]:
        spec = self.kernel_spec
        return kernel_argv(spec.argv, self._extra, spec.resource_dir, self._arguments)

    async def launch_kernel(
        self, cmd: list[str], **kwargs: Any
    ) -> KernelConnectionInfo:
        """Start the kernel, in the job that it has, else in a new one.

        A new job waits in its queue as long as it takes.

        Raises:
            KernelNotStarted: it was refused, or ended before the kernel ran.
            KernelJobEnded: its manager says that nobody asked for a new job.
        """
        job, launch = self._job, self._launch(cmd, kwargs)
        if job is not None and job.ending and job.ended is None:
            await on_near_loop(job.settle_end())
        if job is not None and job.usable:
            job.tunnel.link_sockets()
            await on_near_loop(job.restart(launch))
        else:
            if job is not None:
                if not getattr(self.parent, "may_start_job", True):
                    raise KernelJobEnded(job.ended or _OVER)
                await on_near_loop(job.end())
                self._forget()
                # Under its old name, which clients know.
                self._directory = private_directory(self._directory)
                self._allow_restarts()
            await self._start(launch)
        self._waited = False
        return self.connection_info

    def _launch(self, cmd: list[str], kwargs: Mapping[str, Any]) -> Json:
        context = self._context()
        cwd = kwargs.get("cwd")
        self._cwd = str(cwd) if cwd else str(Path.cwd())
        asked = kwargs.get("env") or dict(os.environ)
        env = kernel_environment(
            asked, os.environ, self.kernel_spec.env, context.settings.pass_environment
        )
        env.setdefault("HOME", context.home)
        keys = kernel_storage.prepare(env)
        return {"argv": cmd, "env": env, "cwd": self._cwd, "storage": keys}

    def _context(self) -> KernelContext:
        settings = getattr(self.parent, "kernel_settings", None)
        try:
            return context_for(settings or load_kernel_settings())
        except ConfigError as error:
            raise KernelNotStarted(
                Failure("The kernels' settings cannot be used", str(error))
            ) from error

    async def _start(self, launch: Json) -> None:
        try:
            context = self._context()
            resolved = await self._resolve(context)
        except BaseException:
            with contextlib.suppress(OSError):  # no job, nothing in it
                os.rmdir(self._directory)  # noqa: PTH106
            raise
        environment = {**resolved.environment, **launch["env"]}
        launch = {**launch, "env": environment, "connection": self._keys()}
        manager = self.parent
        facts = KernelFacts(
            str(self.kernel_id),
            str(getattr(manager, "kernel_name", "")),
            self._server(),
            self._directory,
            resolved.options,
        )
        job = KernelJob(
            facts, new_job_name(), resolved.resources, context, self._teller()
        )
        job.launch = launch
        self._hold(job)
        work = kernel_start.start(
            job,
            launch,
            tuple(resolved.prologue.splitlines()),
        )
        try:
            await on_near_loop(work)
        except BaseException as error:
            self._forget()
            if not isinstance(error, KernelJobError):
                begin(job.end())  # the interrupted start may still be on its way
            raise

    def _server(self) -> str:
        return str(getattr(self.parent, "kernel_owner", ""))

    def _keys(self) -> dict[str, str]:
        """Return what the kernel's messages are signed with."""
        info = self.connection_info
        key = info.get("key", b"")
        scheme = info.get("signature_scheme", "hmac-sha256")
        return {
            "key": key.decode() if isinstance(key, bytes) else str(key),
            "signature_scheme": str(scheme),
        }

    async def _resolve(self, context: KernelContext) -> Resolved:
        choices = getattr(self.parent, "kernel_choices", None)
        chosen = choices(self.kernel_id) if choices is not None else None
        options = self._asked if chosen is None else chosen
        return await on_near_loop(context.resolve(options))

    def _hold(self, job: KernelJob) -> None:
        self._job = job
        # A manager that is dropped, or a program that just ends, leaves no job.
        self._finalizer = weakref.finalize(self, _end_and_wait, job, os.getpid())

    def _forget(self) -> None:
        self._job, self._waited = None, True
        if self._finalizer is not None:
            self._finalizer.detach()
            self._finalizer = None

    # -- beyond what managers ask: for a server that knows us ----------------------

    @property
    def status(self) -> KernelStatus | None:
        """Where the kernel is; ``None`` before a start and after the clean-up."""
        return None if self._job is None else self._job.status()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change of :attr:`status`, from our thread."""
        self._listeners.append(listener)

    def _teller(self) -> Callable[[], None]:
        # The job must not keep us: that nobody else does any more is its end.
        reference = weakref.WeakMethod(self._tell)

        def tell() -> None:
            if (method := reference()) is not None:
                method()

        return tell

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    async def cancel(self) -> None:
        """End the job now, queued or not, for good."""
        await self.cleanup(restart=False)

    async def keep(self, seconds: float) -> None:
        """Let the job live without its owner until ``seconds`` from now, 0 for not.

        Raises:
            KernelUnreachable: its node does not answer.
        """
        if self._job is not None:
            await on_near_loop(self._job.keep(seconds))

    async def gpu_use(self) -> list[dict[str, int]] | None:
        """Return the use of the job's GPUs, ``None`` where its node cannot tell.

        Raises KernelUnreachable where that node does not answer.
        """
        return None if self._job is None else await on_near_loop(self._job.gpu_use())

    async def missed(self) -> Missed:
        """Return what was published to nobody, once. Raises KernelUnreachable."""
        return Missed() if self._job is None else await on_near_loop(self._job.missed())

    async def detach(self) -> None:
        """Let go of the kernel; its record and its job stay, for the lease's time."""
        if self._job is not None:
            await on_near_loop(self._job.detach())
            self._forget()

    async def get_provisioner_info(self) -> dict[str, Any]:
        """Return what identifies the kernel: JSON, and nothing secret."""
        job = self._job
        return {
            "kernel_id": self.kernel_id,
            "job": None
            if job is None or job.record is None or job.record.job is None
            else job.record.job.id,
            "name": None if job is None else job.name,
        }

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Find the kernel ``provisioner_info["kernel_id"]`` again, by its record.

        Returns once it is attached. The manager's sockets, key and connection file
        are then the kernel's.

        Raises:
            KernelJobError: it is gone, and why.
        """
        self.kernel_id = provisioner_info["kernel_id"]
        context = self._context()
        for left in previous_kernels(context.state, self._server()):
            if left.facts.kernel_id == str(self.kernel_id):
                await self._adopt_previous(context, left)
                return
        facts, record = await on_near_loop(
            kernel_start.find(context, str(self.kernel_id))
        )
        self._directory = private_directory(facts.near)
        facts = replace(facts, near=self._directory)
        job = KernelJob(facts, record.name, record.resources, context, self._teller())
        await self._become(job, kernel_start.adopt(job, record))

    async def _adopt_previous(
        self, context: KernelContext, left: PreviousKernel
    ) -> None:
        self._directory = private_directory(left.facts.near)
        facts = replace(left.facts, near=self._directory)
        job = PreviousJob(left, facts, context, self._teller())
        await self._become(job, job.adopt())

    async def _become(
        self, job: KernelJob, adopting: Coroutine[Any, Any, None]
    ) -> None:
        self._hold(job)
        try:
            await on_near_loop(adopting)
        except BaseException:
            self._forget()
            raise
        self._waited = False
        self._load_connection(job)

    def _load_connection(self, job: KernelJob) -> None:
        manager = self.parent
        if manager is None:
            return
        self._take_sockets(manager)
        manager.session.key = job.connection["key"].encode()
        manager.session.signature_scheme = job.connection["signature_scheme"]
        self.connection_info = manager.get_connection_info()

    @property
    def launched(self) -> Mapping[str, Any]:
        """The kernel's variables and directory, as its launcher has them."""
        return {} if self._job is None else self._job.launch

    @property
    def kept_until(self) -> datetime | None:
        """Until when its user keeps it; ``None`` if not, or no longer."""
        until = None if self._job is None else self._job.kept_until
        return until if until is not None and until > datetime.now(UTC) else None


def _end_and_wait(job: KernelJob, owner: int) -> None:
    # A forked child has copies of us; the kernel is its parent's.
    if job.over or os.getpid() != owner:
        return
    try:
        begin(job.end()).result(_EXIT_SECONDS)
    except (TimeoutError, RuntimeError):
        return  # its lease ends it
