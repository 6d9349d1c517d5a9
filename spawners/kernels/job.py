"""A kernel's job, from its submission to its end, as seen from the near side.

What is true of the job is in its record, which the jobs service keeps; here is the end
of the tunnel, and what its launcher tells. For the tunnels' loop only (:mod:`.tunnel`).
What other threads read of it are single attributes that are replaced, never changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import operator
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any  # what is sent as JSON

from spawners.batch.explain.ends import explain_end
from spawners.batch.explain.failure import Failure
from spawners.batch.explain.states import explain_state
from spawners.batch.explain.vocabulary import KERNEL
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.record import NOT_READ, JobRecord, Stage
from spawners.batch.jobs.wire import Credential
from spawners.batch.models import BatchJob, JobStatus, Resources
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError
from spawners.node.kernel.names import Json

from . import credentials as kernel_storage
from .context import KernelContext, remove_log
from .errors import KernelNotStarted
from .facts import KernelFacts, owner_key
from .status import KernelStatus, Missed, cannot_start, explain_death, read_gpu_use
from .tunnel import Tunnel

log = logging.getLogger(__name__)

_BYE_SECONDS = 3.0
_CANCEL_SECONDS = 3.0
_LAST_READING_SECONDS = 10.0
_RECONNECT_FIRST, _RECONNECT_LONGEST = 0.2, 10.0
_SIGKILL = 9
KEPT = "kept"

_FORGOTTEN = Failure(
    "The kernel's job is over", "Nothing more is known of it.", "Start it again."
)
_PHASES = {
    Stage.SUBMITTING: "intent",
    Stage.QUEUED: "queued",
    Stage.STARTING: "starting",
    Stage.READY: "starting",  # until its owner is attached
}


class KernelJob:
    """One job and the kernel in it.

    Args:
        facts: of the kernel.
        name: the job's.
        resources: what it asks for.
        context: the process's.
        changed: called on the tunnels' loop after each change worth telling.
    """

    def __init__(
        self,
        facts: KernelFacts,
        name: str,
        resources: Resources,
        context: KernelContext,
        changed: Callable[[], None],
    ) -> None:
        self.facts = facts
        self.name = name
        self.resources = resources
        self.context = context
        self.record: JobRecord | None = None
        self.output = ""
        self.tunnel = Tunnel(facts.near, self._on_event, self._on_lost)
        self.launch: Json = {}
        self.connection: Mapping[str, str] = {}
        self.known: Json = {}  # of the launch, where its launcher does not tell it
        self.kept_until: datetime | None = None
        self.run = 0
        self.host = ""
        self.notes: tuple[str, ...] = ()
        self.exits: Mapping[int, int] = {}
        self.exit_facts: Json = {}
        self.ended: Failure | None = None
        self.ending: Json = {}
        self.warned: datetime | None = None
        self._has_missed = False
        self.over = False  # we ended it or let it go
        self._changed = changed
        self._bye = asyncio.Event()
        self.end_known = asyncio.Event()
        self.moved = asyncio.Event()  # another one after each change of the record
        self._credential: Credential | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._claim: int | None = None

    # -- what others read -------------------------------------------------------

    @property
    def owner(self) -> str:
        """The batch core's key for this job."""
        return owner_key(self.context.user, self.facts.kernel_id, self.name)

    @property
    def exit_code(self) -> int | None:
        """How the kernel's present run ended; ``None`` while it may live."""
        code = self.exits.get(self.run)
        if code is None and (self.ended is not None or self.over):
            return -_SIGKILL
        return code

    @property
    def usable(self) -> bool:
        """Whether a kernel can be started anew in this job."""
        return self.tunnel.attached and not (self.ending or self.ended or self.over)

    @property
    def identity(self) -> BatchJob | None:
        """The job's identity, once there is one."""
        return None if self.record is None else self.record.job

    @property
    def reading(self) -> JobStatus:
        """The scheduler's last trusted word."""
        return NOT_READ if self.record is None else self.record.status

    def status(self) -> KernelStatus:
        """Return where the kernel is now."""
        failure, code = self.ended, self.exits.get(self.run)
        if failure is None and code is not None:
            failure = self._death(code)
        words = (
            failure.title if failure else explain_state(self.reading, self.resources)
        )
        return KernelStatus(
            phase=self._phase(),
            words=words,
            job=self.identity,
            resources=self.resources,
            reading=self.reading,
            host=self.host,
            warned=self.warned,
            notes=self.notes,
            exit_code=code,
            out_of_memory=bool(self.exit_facts.get("oom")),
            failure=failure,
        )

    def _phase(self) -> str:
        if self.ended is not None or self.over:
            return "ended"
        if self.run:
            return "running" if self.tunnel.attached else "lost"
        if self.record is None:
            return "intent"
        return _PHASES.get(self.record.stage, "ended")

    def _death(self, code: int) -> Failure:
        if "failed" in self.exit_facts:
            return cannot_start(str(self.exit_facts["failed"])[:1000], self.host)
        return explain_death(
            code,
            self.resources,
            host=self.host,
            tail=str(self.exit_facts.get("tail", "")),
            out_of_memory=bool(self.exit_facts.get("oom")),
        )

    # -- keeping ----------------------------------------------------------------

    def claim(self) -> bool:
        """Take the kernel for this process; False while another one has it."""
        if self._claim is None:
            self._claim = self.context.claims.claim(
                self.facts.kernel_id,
                server=self.facts.server,
                kernel_name=self.facts.kernel_name,
            )
        return self._claim is not None

    def spawn(self, work: Any) -> None:
        """Keep a task until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def follow(self, record: JobRecord) -> None:
        """Hear of the job from now on."""
        self._on_record(record)
        self.spawn(self._follow(record))

    async def _follow(self, record: JobRecord) -> None:
        jobs = await self.context.jobs()
        pauses = growing(1.0, 30.0)
        while record.live and not self.over:
            try:
                record = await jobs.wait(self.name, partial(operator.ne, record))
            except UnknownJob:
                self._end_is_known(_FORGOTTEN)
                return
            except GatewayError as error:
                log.warning("Kernel job %s cannot be watched: %s", self.name, error)
                await asyncio.sleep(next(pauses))
            else:
                pauses = growing(1.0, 30.0)
                self._on_record(record)

    # -- what happens -----------------------------------------------------------

    def _on_record(self, record: JobRecord) -> None:
        self.record = record
        self.moved, moved = asyncio.Event(), self.moved
        moved.set()
        if not record.live and not self.over:
            self._end_is_known(
                record.failure
                or explain_end(
                    record.status, self.resources, "", asked=True, vocabulary=KERNEL
                )
            )
        self._changed()

    def _end_is_known(self, failure: Failure) -> None:
        """Positive evidence: the job is over, and why."""
        if self.ended is not None or self.over:
            return
        self.ended = failure
        log.info("Kernel job %s ended: %s", self.name, failure.title)
        self.end_known.set()
        self.tunnel.forget_job()
        kernel_storage.ended(self.facts.kernel_id)
        self.spawn(self._release())
        self._changed()

    async def _release(self) -> None:
        """Have the record forgotten: whoever uses the kernel knows what it says."""
        try:
            await (await self.context.jobs()).release(self.name)
        except UnknownJob:
            return
        except GatewayError as error:
            log.warning("The record of job %s stays: %s", self.name, error)

    def _on_event(self, message: Json) -> None:
        event = message.get("event")
        if event == "exit":
            self._note_exit(message)
        elif event == "ending":
            self.ending = message
        elif event == "bye":
            self._bye.set()
        elif event == "time-limit":
            self.warned = datetime.now(UTC)
        elif event == "keys" and not self.over:
            self.spawn(
                kernel_storage.answer(
                    message, self.facts.kernel_id, self._notebook(), self.tunnel
                )
            )
            return
        self._changed()

    def _notebook(self) -> str:
        return str(self.launch.get("env", {}).get("JPY_SESSION_NAME", ""))

    def _note_exit(self, facts: Json) -> None:
        run, code = facts.get("run"), facts.get("rc")
        if isinstance(run, int) and isinstance(code, int):
            self.exit_facts = facts
            self.exits = {**self.exits, run: code}

    def _note_run(self, facts: Json) -> None:
        self._note_exit(facts)
        self.notes = tuple(str(note)[:500] for note in facts.get("notes") or ())
        self.run = int(facts["run"])

    def _on_lost(self) -> None:
        if self.over or self.ended is not None:
            return
        self._bye.set()
        self.spawn(self._reconnect())
        self._changed()

    async def _reconnect(self) -> None:
        pauses = growing(_RECONNECT_FIRST, _RECONNECT_LONGEST, 1.5)
        while not (self.over or self.ended or self.tunnel.attached):
            try:
                await self.attach()
            except (OSError, TimeoutError, GatewayError) as error:
                log.debug("Kernel %s is not reached: %s", self.facts.kernel_id, error)
                await asyncio.sleep(next(pauses))

    # -- what is done -----------------------------------------------------------

    async def attach(self) -> None:
        """Become the kernel's owner.

        Raises:
            OSError, TimeoutError: its launcher is not reached.
            GatewayError: the jobs service does not give what opens it.
        """
        hello = await self.tunnel.attach(*await self._far())
        hello = {**self.known, **hello}
        self._note_run(hello)
        self.launch = {"env": hello.get("env") or {}, "cwd": hello.get("cwd") or ""}
        self.connection = hello.get("connection") or {}
        self.ending = hello if hello.get("ending") else self.ending
        if hello.get("warned") and self.warned is None:
            self.warned = datetime.now(UTC)
        self.host = str(hello.get("host") or self.host)[:255]
        self._has_missed = bool(hello.get("missed"))
        self._agree_on_keeping(float(hello.get("keep") or 0))
        self._changed()

    async def _far(self) -> tuple[str, int, Credential]:
        """Return where its launcher answers, and what opens it."""
        address = None if self.record is None else self.record.address
        if address is None:
            raise OSError("the job has not told where it answers")
        if self._credential is None:
            self._credential = await (await self.context.jobs()).credential(self.name)
        # Jobs of this machine listen for nobody else.
        host = address.address if self.context.settings.is_slurm else "127.0.0.1"
        return host, address.port, self._credential

    def _agree_on_keeping(self, told: float) -> None:
        """Tell the launcher what is wanted, or learn what was wanted before."""
        now = datetime.now(UTC)
        if self.kept_until is None and told > 0:
            self.kept_until = now + timedelta(seconds=told)
        elif self.kept_until is not None:
            left = max(0.0, (self.kept_until - now).total_seconds())
            self.tunnel.tell({"op": "keep", "seconds": left})

    async def restart(self, launch: Json) -> None:
        """Start the kernel anew in the same job.

        Raises:
            KernelUnreachable: its launcher does not answer.
            KernelNotStarted: it cannot be started.
        """
        answer = await self.tunnel.ask({"op": "restart", "launch": launch})
        if "run" in answer:
            self._note_run(answer)
            self.launch = launch
        self._changed()
        if "failed" in answer:
            raise KernelNotStarted(cannot_start(str(answer["failed"]), self.host))

    async def settle_end(self) -> Failure | None:
        """Wait a little for the scheduler's word on a job that is ending."""
        if self.ending and not self.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_READING_SECONDS):
                    await self.end_known.wait()
        return self.ended

    async def keep(self, seconds: float) -> None:
        """Let the job outlive its owner, from now on for so long.

        Raises:
            KernelUnreachable: its launcher does not answer.
            GatewayError: it cannot be written down.
        """
        until = datetime.now(UTC) + timedelta(seconds=max(0.0, seconds))
        self.kept_until = until
        await self._note_keeping(until, kept=seconds > 0)
        await self.tunnel.ask({"op": "keep", "seconds": seconds})

    async def _note_keeping(self, until: datetime, *, kept: bool) -> None:
        """Write it down for whoever finds the job again before it has started."""
        words = "Kept by its user" if kept else "Not kept any more"
        jobs = await self.context.jobs()
        await jobs.note(self.name, KEPT, words, until=until.isoformat())

    async def recall_keeping(self) -> None:
        """Learn until when its user keeps it, from the job's story."""
        jobs = await self.context.jobs()
        for event in await jobs.events(self.owner):
            if event.kind == KEPT:
                with contextlib.suppress(KeyError, ValueError):
                    until = datetime.fromisoformat(str(event.data["until"]))
                    self.kept_until = until

    async def signal(self, number: int) -> None:
        """Send a signal to the kernel and its children."""
        await self.tunnel.ask({"op": "signal", "number": number})

    async def missed(self) -> Missed:
        """Return what was published to nobody, once. Raises KernelUnreachable."""
        if not self._has_missed:
            return Missed()
        self._has_missed = False
        return Missed.read(await self.tunnel.ask({"op": "missed"}))

    async def gpu_use(self) -> list[dict[str, int]] | None:
        """Return the GPUs' use, ``None`` if not known. Raises KernelUnreachable."""
        return read_gpu_use(await self.tunnel.ask({"op": "gpus"}))

    async def end(self) -> None:
        """End the job, whatever state it is in. Asking twice does nothing."""
        if self.over:
            return
        ended = self.ended is not None
        self.over = True
        kernel_storage.ended(self.facts.kernel_id)
        self.end_known.set()
        self.moved.set()
        if self.tunnel.attached:
            self._bye.clear()
            self.tunnel.tell({"op": "end"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BYE_SECONDS):
                    await self._bye.wait()
                    ended = True
        if self.ended is None:
            self.spawn(self._finish(cancels=not ended))
            await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)
        await self._leave()
        self.context.claims.remove(self.facts.kernel_id)
        if ended and self.ended is None:  # there is nothing to look up in it
            remove_log(self.output)
        self._changed()

    async def _finish(self, *, cancels: bool) -> None:
        """Have the job ended, and its record forgotten; the service keeps at it."""
        try:
            if cancels:
                await (await self.context.jobs()).cancel(self.name)
        except UnknownJob:
            return
        except GatewayError as error:
            log.warning("Kernel job %s is not cancelled: %s", self.name, error)
        await self._release()

    async def detach(self) -> None:
        """Let go of the kernel without ending it; its record stays."""
        if self.over:
            return
        self.over = True
        await self._leave()

    async def _leave(self) -> None:
        await self.tunnel.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
