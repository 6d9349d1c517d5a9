"""Submitting: write down the intent, submit, write down the identity."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any  # the result of a task that is only kept

from spawners.common.errors import GatewayError

from ..errors import InvalidSpec, SchedulerUnavailable
from ..explain.failure import Failure
from ..explain.states import explain_refusal
from ..explain.vocabulary import Vocabulary
from ..models import BatchJob, JobSpec, Launch, checked_count, task_name
from ..scheduler import Scheduler
from .errors import AlreadyLive
from .launches import Alongside, Launches
from .ledger import Ledger
from .reconciler.reconciler import Reconciler
from .record import JobRecord, Phase, Retain, utc_now
from .settings import Policy

log = logging.getLogger(__name__)

_INTERNAL = Failure(
    "Could not be submitted",
    "Something went wrong inside Landbridge before the job was submitted.",
    "Tell your site's operators; the gateway's log has the details.",
)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be submitted by one call of the scheduler.

    Attributes:
        spec: with what the agents of its jobs need.
        records: the intents; of a set, one for each task in order.
        tasks: how many those are; ``None`` for a single job.
        alongside: writes what the jobs start, with the intents.
    """

    spec: JobSpec
    records: Sequence[JobRecord]
    tasks: int | None = None
    alongside: Alongside | None = None

    @property
    def user(self) -> str:
        """Whom the jobs run as."""
        return self.records[0].user


@dataclass(frozen=True, slots=True)
class About:
    """What is written down of a job beside what it runs.

    Attributes:
        user: account to run as.
        facts: the adapter's public facts.
        vocabulary: how people call what runs in it.
        retain: what is kept of it once it is over.
    """

    user: str
    facts: Mapping[str, str]
    vocabulary: Vocabulary
    retain: Retain


class Submission:
    """Submits jobs, each exactly once, whatever fails on the way."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        reconciler: Reconciler,
        policy: Policy,
        launches: Launches | None,
    ) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._reconciler = reconciler
        self._policy = policy
        self._launches = launches
        self._few = asyncio.Semaphore(policy.submissions)
        # Intents that are being written down, by owner.
        self._reserved: dict[str, JobRecord] = {}
        self._writing: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[list[JobRecord]]] = set()
        self._looking: set[asyncio.Task[Any] | None] = set()

    async def submit(
        self, spec: JobSpec, owner: str, about: About, launch: Launch | None
    ) -> JobRecord:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.submit`."""
        intent = self._intent(spec, spec.name, owner, about)
        order = self._with_launch(_Order(spec, [intent]), launch)
        return (await self._begin(order))[0]

    async def submit_set(
        self, spec: JobSpec, owners: Sequence[str], about: About, launch: Launch | None
    ) -> list[JobRecord]:
        """See :meth:`spawners.batch.jobs.jobs.Jobs.submit_set`."""
        tasks = checked_count(spec, len(owners))
        if len(set(owners)) != tasks:
            raise InvalidSpec("owners", "must all be different.")
        intents = [
            self._intent(spec, task_name(spec.name, index), owner, about)
            for index, owner in enumerate(owners)
        ]
        order = self._with_launch(_Order(spec, intents, tasks), launch)
        return await self._begin(order)

    @property
    def tasks(self) -> frozenset[asyncio.Task[list[JobRecord]]]:
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

    def _intent(self, spec: JobSpec, name: str, owner: str, about: About) -> JobRecord:
        """Return the record of a submission to be; nothing is kept of it yet."""
        if not 0 < len(owner) <= 300 or not owner.isprintable():
            raise InvalidSpec("owner", "must be 1 to 300 printable characters.")
        current = self._ledger.current(owner)
        live = self._reserved.get(owner) or (current and current.live and current)
        if live:
            raise AlreadyLive(live)
        now = utc_now()
        return JobRecord(
            name=name,
            owner=owner,
            generation=current.generation + 1 if current else 1,
            user=about.user,
            phase=Phase.INTENT,
            resources=spec.resources,
            created=now,
            updated=now,
            facts=MappingProxyType(dict(about.facts)),
            output=spec.output,
            vocabulary=about.vocabulary,
            retain=about.retain,
        )

    def _with_launch(self, order: _Order, launch: Launch | None) -> _Order:
        if launch is None:
            return order
        if self._launches is None:
            raise InvalidSpec("launch", "nobody here hands it to the job.")
        spec = order.spec
        prepared = self._launches.prepare(spec.name, launch, tasks=order.tasks)
        environment = {**spec.environment, **prepared.environment}
        return replace(
            order,
            spec=replace(spec, environment=environment),
            alongside=prepared.write,
        )

    async def _begin(self, order: _Order) -> list[JobRecord]:
        for record in order.records:
            self._reserved[record.owner] = record
            self._writing[record.name] = asyncio.Event()
        # A caller that goes away must not leave a submission half written down.
        task = asyncio.create_task(self._run(order))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[list[JobRecord]]) -> None:
        self._tasks.discard(task)
        self._looking.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller, if it is still there

    async def _run(self, order: _Order) -> list[JobRecord]:
        for record in order.records:
            self._reconciler.submission_began(record.name)
        try:
            await self._write(order)
            try:
                async with self._few:
                    records = await self._submit(order)
            finally:
                # Also of a refusal: in the store its owner would still have a job.
                await self._ledger.flush()
        finally:
            for record in order.records:
                self._reconciler.submission_over(record.name)
        if any(record.phase is Phase.INTENT for record in records):
            return await self._resolve(records)
        return records

    async def _write(self, order: _Order) -> None:
        try:
            await self._ledger.insert_all(order.records, alongside=order.alongside)
        finally:
            for record in order.records:
                del self._reserved[record.owner]
                self._writing.pop(record.name).set()

    async def _submit(self, order: _Order) -> list[JobRecord]:
        """Check and submit; intents still, if nobody knows what became of them."""
        try:
            await self._scheduler.check(order.spec.resources, user=order.user)
        except GatewayError as error:
            self._refuse(order, error)
            raise
        except Exception:
            self._close(order, _INTERNAL)
            raise
        newest = [self._ledger.get(r.name) or r for r in order.records]
        if all(record.cancel_wanted is not None for record in newest):
            return self._close(order, _INTERNAL)
        jobs = await self._ask(order)
        if jobs is None:
            return [
                self._ledger.note(r.name, lambda record: record.answer_lost())
                for r in order.records
            ]
        ids = jobs[0].id if order.tasks is None else f"{jobs[0].id} to {jobs[-1].id}"
        log.info("Submitted job %s (%s) for %s", order.spec.name, ids, order.user)
        return [
            self._adopt(record, job)
            for record, job in zip(order.records, jobs, strict=True)
        ]

    def _adopt(self, record: JobRecord, job: BatchJob) -> JobRecord:
        return self._ledger.note(record.name, lambda record: record.adopted(job))

    async def _ask(self, order: _Order) -> Sequence[BatchJob] | None:
        """Submit; ``None`` if nobody knows what became of it."""
        name = order.spec.name
        try:
            jobs = await self._call(order)
        except SchedulerUnavailable as error:
            log.warning("No answer for job %s: %s", name, error)
            return None
        except GatewayError as error:
            self._refuse(order, error)
            raise
        except Exception:
            log.exception("No usable answer for job %s", name)
            return None
        # An answer that is none of a job for each record is lost as well.
        usable = len(jobs) == len(order.records) and None not in jobs
        return jobs if usable else None

    async def _call(self, order: _Order) -> Sequence[BatchJob]:
        spec, user = order.spec, order.user
        if order.tasks is None:
            return [await self._scheduler.submit(spec, user=user)]
        return await self._scheduler.submit_set(spec, order.tasks, user=user)

    async def _resolve(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Wait until the jobs were found by their names or given up."""
        self._looking.add(asyncio.current_task())
        settled = [
            await self._ledger.wait(
                record.name, lambda record: record.phase is not Phase.INTENT
            )
            for record in records
        ]
        failure = settled[0].failure
        if failure and all(record.phase is Phase.REFUSED for record in settled):
            raise SchedulerUnavailable(
                f"{failure.title}. {failure.detail}", hint=failure.hint
            )
        return settled

    def _refuse(self, order: _Order, error: GatewayError) -> None:
        log.info("Job %s of %s was refused: %s", order.spec.name, order.user, error)
        self._close(order, explain_refusal(error))

    def _close(self, order: _Order, failure: Failure) -> list[JobRecord]:
        """Close records whose jobs were certainly never taken."""
        now = utc_now()
        return [
            self._ledger.note(r.name, lambda record: record.refused(failure, now))
            for r in order.records
        ]
