"""A kernel's job, from the intent to its end, as seen from the near side.

For the tunnels' loop only (:mod:`.tunnel`). What other threads read of it are
single attributes that are replaced, never changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any  # what is sent as JSON

from spawners.batch.explain.ends import explain_end
from spawners.batch.explain.failure import Failure
from spawners.batch.explain.states import explain_state
from spawners.batch.explain.vocabulary import KERNEL
from spawners.batch.jobs.record import NOT_READ
from spawners.batch.models import BatchJob, JobState, JobStatus, Resources
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError
from spawners.node.kernel.tunnel import Json

from . import credentials as kernel_storage
from .context import KernelContext, remove_log
from .errors import KernelNotStarted
from .record import KernelRecord, from_now
from .status import KernelStatus, Missed, cannot_start, explain_death, read_gpu_use
from .tunnel import Tunnel

log = logging.getLogger(__name__)

_BYE_SECONDS = 3.0
_READ_SECONDS = 5.0
_LAST_READING_SECONDS = 10.0
_RECONNECT_FIRST, _RECONNECT_LONGEST = 0.2, 10.0
_CANCEL_FIRST, _CANCEL_LONGEST, _CANCEL_TRIES = 2.0, 60.0, 30
_SIGKILL = 9


class KernelJob:
    """One job and the kernel in it.

    Args:
        record: as it is, or is to be, on disk.
        resources: what it asks for.
        context: the process's.
        changed: called on the tunnels' loop after each change worth telling.
    """

    def __init__(
        self,
        record: KernelRecord,
        resources: Resources,
        context: KernelContext,
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self.resources = resources
        self.context = context
        self.tunnel = Tunnel(record.near, self._on_event, self._on_lost)
        self.run = 0
        self.host = ""
        self.notes: tuple[str, ...] = ()
        self.exits: Mapping[int, int] = {}
        self.exit_facts: Json = {}
        self.reading: JobStatus = NOT_READ
        self.ended: Failure | None = None
        self.ending: Json = {}
        self.warned: datetime | None = None
        self._has_missed = False
        self.over = False  # we ended it or let it go
        self._changed = changed
        self._bye = asyncio.Event()
        self.end_known = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._claim: int | None = None

    # -- what others read -------------------------------------------------------

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

    def status(self) -> KernelStatus:
        """Return where the kernel is now."""
        failure, phase = self.ended, "running"
        code = self.exits.get(self.run)
        if self.ended is not None or self.over:
            phase = "ended"
        elif not self.run:
            queued = self.reading.state.queued or self.reading.state is JobState.UNKNOWN
            phase = "queued" if queued else "starting"
            phase = phase if self.record.job is not None else "intent"
        elif not self.tunnel.attached:
            phase = "lost"
        if failure is None and code is not None:
            failure = self._death(code)
        words = (
            failure.title if failure else explain_state(self.reading, self.resources)
        )
        return KernelStatus(
            phase=phase,
            words=words,
            job=self.record.job,
            resources=self.resources,
            reading=self.reading,
            host=self.host,
            warned=self.warned,
            notes=self.notes,
            exit_code=code,
            out_of_memory=bool(self.exit_facts.get("oom")),
            failure=failure,
        )

    def _death(self, code: int) -> Failure:
        return explain_death(
            code,
            self.resources,
            host=self.host,
            tail=str(self.exit_facts.get("tail", "")),
            out_of_memory=bool(self.exit_facts.get("oom")),
        )

    # -- keeping ----------------------------------------------------------------

    def save(self, **changes: Any) -> None:
        """Change the record, on disk first."""
        self.record = replace(self.record, **changes)
        self.context.records.save(self.record)

    def claim(self) -> bool:
        """Take the kernel for this process; False while another one has it."""
        if self._claim is None:
            self._claim = self.context.records.claim(self.record.kernel_id)
        return self._claim is not None

    def spawn(self, work: Any) -> None:
        """Keep a task until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def watch(self, job: BatchJob) -> None:
        """Hear of the job from the scheduler from now on."""
        self.context.watch.add(job, self._on_status)

    # -- what happens -----------------------------------------------------------

    def _on_event(self, message: Json) -> None:
        event = message.get("event")
        if event == "exit":
            self._note_exit(message)
        elif event == "ending":
            self.ending = message
            self._hurry()
        elif event == "bye":
            self._bye.set()
        elif event == "time-limit":
            self.warned = datetime.now(UTC)
        elif event == "keys" and not self.over:
            self.spawn(kernel_storage.answer(message, self.record, self.tunnel))
            return
        self._changed()

    def _note_exit(self, facts: Json) -> None:
        run, code = facts.get("run"), facts.get("rc")
        if isinstance(run, int) and isinstance(code, int):
            self.exit_facts = facts
            self.exits = {**self.exits, run: code}

    def _note_run(self, facts: Json) -> None:
        self._note_exit(facts)
        self.notes = tuple(str(note)[:500] for note in facts.get("notes") or ())
        self.run = int(facts["run"])

    def _hurry(self) -> None:
        if self.record.job is not None:
            self.context.watch.hurry(self.record.job)

    def _settle(self) -> None:
        """Ask seldom once the launcher is heard and a reading tells of the run."""
        known = self.tunnel.attached and self.reading.state.on_nodes
        if known and not self.ending and self.record.job is not None:
            self.context.watch.settle(self.record.job)

    def _on_status(self, status: JobStatus) -> None:
        self.reading = status
        self._settle()
        if status.state.ended and not self.over and self.ended is None:
            self.spawn(self._explain(status))
        self._changed()

    async def _explain(self, status: JobStatus) -> None:
        """Positive evidence: the job is over. Say why."""
        tail = str(self.exit_facts.get("tail", "")) or await self._read_log()
        if self.ended is None:
            self.ended = explain_end(
                status, self.resources, tail, asked=self.over, vocabulary=KERNEL
            )
            log.info("Kernel job %s ended: %s", self.record.name, self.ended.title)
            self.end_known.set()
            self.tunnel.forget_job()
            if self.record.job is not None:
                self.context.watch.remove(self.record.job)
            self.context.records.remove(self.record.kernel_id)
            kernel_storage.ended(self.record.kernel_id)
            self._changed()

    async def _read_log(self) -> str:
        if not self.record.output or self.record.job is None:
            return ""
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(_READ_SECONDS):
                return await self.context.scheduler.read_output(
                    self.record.job, self.record.output
                )
        return ""

    def _on_lost(self) -> None:
        if self.over or self.ended is not None:
            return
        self._bye.set()
        self._hurry()
        self.spawn(self._reconnect())
        self._changed()

    async def _reconnect(self) -> None:
        pauses = growing(_RECONNECT_FIRST, _RECONNECT_LONGEST, 1.5)
        while not (self.over or self.ended or self.tunnel.attached):
            try:
                await self.attach()
            except (OSError, TimeoutError) as error:
                log.debug("Kernel %s is not reached: %s", self.record.kernel_id, error)
                await asyncio.sleep(next(pauses))
                self._hurry()

    # -- what is done -----------------------------------------------------------

    async def attach(self) -> None:
        """Become the kernel's owner.

        Raises:
            OSError, TimeoutError: its launcher is not reached.
        """
        hello = await self.tunnel.attach(
            self.record.far_address,
            self.record.far_port,
            key=self.record.key,
            certificate=self.record.certificate,
        )
        self._note_run(hello)
        self.ending = hello if hello.get("ending") else self.ending
        if hello.get("warned") and self.warned is None:
            self.warned = datetime.now(UTC)
        self.host = str(hello.get("host") or self.host)[:255]
        self._has_missed = bool(hello.get("missed"))
        self.tunnel.tell({"op": "keep", "seconds": self.record.keep_seconds})
        self._settle()
        self._changed()

    async def restart(self, launch: Json) -> None:
        """Start the kernel anew in the same job.

        Raises:
            KernelUnreachable: its launcher does not answer.
            KernelNotStarted: it cannot be started.
        """
        self.save(launch=launch)
        answer = await self.tunnel.ask({"op": "restart", "launch": launch})
        if "failed" in answer:
            raise KernelNotStarted(cannot_start(str(answer["failed"]), self.host))
        self._note_run(answer)
        self._changed()

    async def settle_end(self) -> Failure | None:
        """Wait a little for the scheduler's word on a job that is ending."""
        if self.ending and not self.ended:
            self._hurry()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_READING_SECONDS):
                    await self.end_known.wait()
        return self.ended

    async def keep(self, seconds: float) -> None:
        """Let the job outlive its owner, from now on for so long.

        Raises:
            KernelUnreachable: its launcher does not answer.
        """
        self.save(keep_until=from_now(seconds))
        await self.tunnel.ask({"op": "keep", "seconds": seconds})

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
        self.over = True
        kernel_storage.ended(self.record.kernel_id)
        self.end_known.set()
        job, ended = self.record.job, self.ended is not None
        if self.tunnel.attached:
            self._bye.clear()
            self.tunnel.tell({"op": "end"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BYE_SECONDS):
                    await self._bye.wait()
                    ended = True
        if not ended:
            await self._cancel()
        await self._leave()
        if job is not None:
            self.context.watch.remove(job)
        if ended:
            self.context.records.remove(self.record.kernel_id)
        if ended and self.ended is None:  # there is nothing to look up in it
            remove_log(self.record.output)
        self._changed()

    async def _cancel(self) -> None:
        """Cancel once now; if nobody answers, go on in the background."""
        with contextlib.suppress(OSError):
            self.save(ending=True)
        if not await self._cancelled():
            self.spawn(self._go_on_cancelling())

    async def cancel_late(self, job: BatchJob) -> None:
        """Cancel a job whose submission was answered after its end was wanted."""
        self.record = replace(self.record, job=job)
        await self._cancel()

    async def _cancelled(self) -> bool:
        scheduler, record = self.context.scheduler, self.record
        try:
            jobs: tuple[BatchJob, ...] = (record.job,) if record.job else ()
            jobs = jobs or await scheduler.find(record.name, user=record.user)
            for job in jobs:
                await scheduler.cancel(job)
        except GatewayError as error:
            log.warning("Kernel job %s is not cancelled yet: %s", record.name, error)
            return False
        if record.uncertain and not jobs:
            return False  # it may become a job later
        self.context.records.remove(record.kernel_id)
        return True

    async def _go_on_cancelling(self) -> None:
        for pause in islice(growing(_CANCEL_FIRST, _CANCEL_LONGEST), _CANCEL_TRIES):
            await asyncio.sleep(pause)
            if await self._cancelled():
                return
        log.error("Kernel job %s could not be cancelled", self.record.name)

    async def detach(self) -> None:
        """Let go of the kernel without ending it; its record stays."""
        if self.over:
            return
        self.over = True
        if self.record.job is not None:
            self.context.watch.remove(self.record.job)
        await self._leave()

    async def _leave(self) -> None:
        await self.tunnel.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
