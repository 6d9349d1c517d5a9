"""Submitting: write down the intent, submit, write down the identity."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any  # the result of a task that is only kept

from spawners.common.errors import GatewayError

from ..errors import InvalidSpec, SchedulerUnavailable
from ..explain.failure import Failure
from ..explain.states import explain_refusal
from ..models import BatchJob, JobSpec, Launch
from ..scheduler import Scheduler
from .adoption import Adoption, adopt, close_unsubmitted
from .errors import AlreadyLive
from .launches import Alongside, Launches
from .ledger import Ledger, Line
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
        adoption: Adoption,
        settings: WatchSettings,
        submitted: Callable[[], None],
        launches: Launches | None,
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._adoption = adoption
        self._settings = settings
        self._submitted = submitted
        self._launches = launches
        self._reserved: dict[str, JobRecord] = {}
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
        # A caller that goes away must not leave a submission half written down.
        task = asyncio.create_task(self._run(record, spec, alongside))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    @property
    def tasks(self) -> frozenset[asyncio.Task[JobRecord]]:
        """The submissions that are under way."""
        return frozenset(self._tasks)

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
        try:
            await self._ledger.insert(record, alongside=alongside)
        except AlreadyLive as error:
            # It is in the database and was unknown here: a commit whose answer was
            # lost, of a submission that never went further.
            self._adoption.look_for(error.record.name)
            raise
        finally:
            del self._reserved[record.owner]
        try:
            await self._scheduler.check(spec.resources, user=record.user)
        except GatewayError as error:
            await self._refuse(record, error)
            raise
        except Exception:
            await self._close(record, _INTERNAL, twin_possible=False)
            raise
        if self._latest(record).cancel_wanted is not None:
            return await self._close(record, _INTERNAL, twin_possible=False)
        job = await self._ask(record, spec)
        if job is None:
            return await self._resolve(record)
        try:
            return await adopt(self._ledger, record, job)
        finally:
            self._adoption.look_for(record.name)
            self._submitted()

    async def _ask(self, record: JobRecord, spec: JobSpec) -> BatchJob | None:
        """Submit; ``None`` if nobody knows what became of it."""
        try:
            return await self._scheduler.submit(spec, user=record.user)
        except SchedulerUnavailable as error:
            log.warning("No answer for job %s: %s", record.name, error)
            return None
        except GatewayError as error:
            await self._refuse(record, error)
            raise
        except Exception:
            log.exception("No usable answer for job %s", record.name)
            return None

    async def _resolve(self, record: JobRecord) -> JobRecord:
        """Wait until the job was found by its name or given up."""
        await self._ledger.observe(
            record.name,
            Line(
                "warning",
                "The scheduler's answer was lost; looking for the job by its name",
            ),
        )
        self._looking.add(asyncio.current_task())
        self._adoption.look_for(record.name)
        record = await self._ledger.wait(
            record.name, lambda record: record.phase is not Phase.INTENT
        )
        if record.phase is Phase.REFUSED and record.failure is not None:
            raise SchedulerUnavailable(
                f"{record.failure.title}. {record.failure.detail}",
                hint=record.failure.hint,
            )
        return record

    async def _refuse(self, record: JobRecord, error: GatewayError) -> None:
        log.info("Job %s of %s was refused: %s", record.name, record.user, error)
        await self._close(record, explain_refusal(error), twin_possible=False)

    async def _close(
        self, record: JobRecord, failure: Failure, *, twin_possible: bool
    ) -> JobRecord:
        return await close_unsubmitted(
            self._ledger,
            self._latest(record),
            failure,
            self._settings,
            twin_possible=twin_possible,
        )

    def _latest(self, record: JobRecord) -> JobRecord:
        return self._ledger.get(record.name) or record
