"""Submitting: write down the intent, submit, write down the identity."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any  # the result of a task that is only kept

from spawners.common.errors import GatewayError

from ..errors import InvalidSpec, SchedulerUnavailable
from ..explain.failure import Failure
from ..explain.states import explain_refusal
from ..models import BatchJob, JobSpec, Launch
from ..scheduler import Scheduler
from .errors import AlreadyLive
from .launches import Alongside, Launches
from .ledger import Ledger
from .reconciler.reconciler import Reconciler
from .record import JobRecord, Phase, utc_now
from .settings import WatchSettings

log = logging.getLogger(__name__)

_INTERNAL = Failure(
    "Could not be submitted",
    "Something went wrong inside Landbridge before the job was submitted.",
    "Tell your site's operators; the gateway's log has the details.",
)


class Submission:
    """Submits jobs, each exactly once, whatever fails on the way."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        reconciler: Reconciler,
        settings: WatchSettings,
        launches: Launches | None,
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._reconciler = reconciler
        self._settings = settings
        self._launches = launches
        self._few = asyncio.Semaphore(settings.submissions)
        # Intents that are being written down, by owner.
        self._reserved: dict[str, JobRecord] = {}
        self._writing: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[JobRecord]] = set()
        self._looking: set[asyncio.Task[Any] | None] = set()

    async def submit(
        self,
        spec: JobSpec,
        user: str,
        owner: str,
        facts: Mapping[str, str],
        launch: Launch | None,
    ) -> JobRecord:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.submit`."""
        if not 0 < len(owner) <= 300 or not owner.isprintable():
            raise InvalidSpec("owner", "must be 1 to 300 printable characters.")
        current = self._ledger.current(owner)
        live = self._reserved.get(owner) or (current and current.live and current)
        if live:
            raise AlreadyLive(live)
        alongside = None
        if launch is not None:
            if self._launches is None:
                raise InvalidSpec("launch", "nobody here hands it to the job.")
            prepared = self._launches.prepare(spec.name, launch)
            alongside = prepared.write
            spec = replace(
                spec, environment={**spec.environment, **prepared.environment}
            )
        now = utc_now()
        record = JobRecord(
            name=spec.name,
            owner=owner,
            generation=current.generation + 1 if current else 1,
            user=user,
            phase=Phase.INTENT,
            resources=spec.resources,
            created=now,
            updated=now,
            facts=MappingProxyType(dict(facts)),
            output=spec.output,
        )
        self._reserved[owner] = record
        self._writing[spec.name] = asyncio.Event()
        # A caller that goes away must not leave a submission half written down.
        task = asyncio.create_task(self._run(record, spec, alongside))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    @property
    def tasks(self) -> frozenset[asyncio.Task[JobRecord]]:
        """The submissions that are under way."""
        return frozenset(self._tasks)

    def writing(self, prefix: str) -> list[str]:
        """Return the names whose intents are being written, of such owners."""
        return [
            record.name
            for owner, record in self._reserved.items()
            if owner.startswith(prefix)
        ]

    async def written(self, name: str) -> None:
        """Return once the intent of this name is written, or will not be."""
        if (writing := self._writing.get(name)) is not None:
            await writing.wait()

    async def close(self, timeout_seconds: float) -> None:
        """Let submissions under way write down their identity, then stop waiting."""
        asking = self._tasks - self._looking
        if asking:
            await asyncio.wait(asking, timeout=timeout_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[JobRecord]) -> None:
        self._tasks.discard(task)
        self._looking.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller, if it is still there

    async def _run(
        self, record: JobRecord, spec: JobSpec, alongside: Alongside | None
    ) -> JobRecord:
        self._reconciler.submission_began(record.name)
        try:
            await self._write(record, alongside)
            async with self._few:
                record = await self._submit(record, spec)
        finally:
            self._reconciler.submission_over(record.name)
        await self._ledger.flush()
        return await self._resolve(record) if record.phase is Phase.INTENT else record

    async def _write(self, record: JobRecord, alongside: Alongside | None) -> None:
        try:
            await self._ledger.insert(record, alongside=alongside)
        finally:
            del self._reserved[record.owner]
            self._writing.pop(record.name).set()

    async def _submit(self, record: JobRecord, spec: JobSpec) -> JobRecord:
        """Check and submit; an intent still, if nobody knows what became of it."""
        try:
            await self._scheduler.check(spec.resources, user=record.user)
        except GatewayError as error:
            self._refuse(record, error)
            raise
        except Exception:
            self._close(record, _INTERNAL)
            raise
        newest = self._ledger.get(record.name) or record
        if newest.cancel_wanted is not None:
            return self._close(record, _INTERNAL)
        job = await self._ask(record, spec)
        if job is None:
            return self._ledger.note(record.name, lambda record: record.answer_lost())
        log.info("Submitted job %s (%s) for %s", record.name, job.id, record.user)
        return self._ledger.note(record.name, lambda record: record.adopted(job))

    async def _ask(self, record: JobRecord, spec: JobSpec) -> BatchJob | None:
        """Submit; ``None`` if nobody knows what became of it."""
        try:
            return await self._scheduler.submit(spec, user=record.user)
        except SchedulerUnavailable as error:
            log.warning("No answer for job %s: %s", record.name, error)
            return None
        except GatewayError as error:
            self._refuse(record, error)
            raise
        except Exception:
            log.exception("No usable answer for job %s", record.name)
            return None

    async def _resolve(self, record: JobRecord) -> JobRecord:
        """Wait until the job was found by its name or given up."""
        self._looking.add(asyncio.current_task())
        record = await self._ledger.wait(
            record.name, lambda record: record.phase is not Phase.INTENT
        )
        if record.phase is Phase.REFUSED and record.failure is not None:
            raise SchedulerUnavailable(
                f"{record.failure.title}. {record.failure.detail}",
                hint=record.failure.hint,
            )
        return record

    def _refuse(self, record: JobRecord, error: GatewayError) -> None:
        log.info("Job %s of %s was refused: %s", record.name, record.user, error)
        self._close(record, explain_refusal(error))

    def _close(self, record: JobRecord, failure: Failure) -> JobRecord:
        """Close a record whose job was certainly never taken."""
        now = utc_now()
        return self._ledger.note(
            record.name, lambda record: record.refused(failure, now)
        )
