"""Jobs: what notebooks, kernels, replicas and clusters use to run batch jobs.

::

    store = await JobStore.open(url)
    jobs = Jobs(scheduler, store)
    await jobs.start()
    record = await jobs.submit(spec, user="alice", owner="server:alice/")
    record = await jobs.wait(record.name, lambda r: r.address or not r.live)
    await jobs.cancel(record.name)

What it promises, whatever crashes, hangs or lies in between:

* An owner has at most one live job. A second :meth:`Jobs.submit` raises
  :class:`~spawners.batch.jobs.errors.AlreadyLive` with the first one's record; attach
  to it through :meth:`Jobs.current`.
* A submission whose answer was lost is found by its name or given up, and never
  repeated; what arrives later is cancelled.
* A cancel is a wish that outlives this process and is repeated until an end was read.
* A record ends only on evidence. While the scheduler does not answer, records keep
  their last good status with ``status_is_current`` False.
* Records and events are in the store before anybody relies on them; when it cannot be
  written to, nothing is submitted and running jobs go on.

The caller opens and closes store and scheduler. Nothing here knows Jupyter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any  # the result of a task that never ends

from spawners.common.backoff import growing
from spawners.common.errors import DatabaseUnavailable

from ..errors import InvalidSpec, LimitReached
from ..explain.failure import Failure
from ..explain.vocabulary import JOB, Vocabulary
from ..models import JobSpec, Launch, Resources
from ..scheduler import ClusterSnapshot, Scheduler, UserLimits
from .errors import StaleReport, UnknownJob
from .launches import Launches
from .ledger import Ledger
from .metered import CallMeter
from .readings import Readings
from .reconciler.reconciler import Reconciler
from .reconciler.steps import Report
from .record import (
    Address,
    IllegalTransition,
    JobEvent,
    JobRecord,
    Line,
    Retain,
    Transition,
    utc_now,
)
from .settings import Policy, supervise
from .store import JobStore
from .submission import About, Submission
from .watcher import JobWatcher

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0
_PRUNE_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Counters:
    """Numbers for metrics.

    Attributes:
        live: records whose job is or may be there.
        calls: scheduler calls by method since the start.
        calls_per_minute: in the last 60 s.
        cancels_overdue: cancel wishes older than their alarm.
        unsaved: records that the store is behind on.
        scheduler_healthy: False from a failed reading to the next good one.
    """

    live: int
    calls: Mapping[str, int]
    calls_per_minute: int
    cancels_overdue: int
    unsaved: int
    scheduler_healthy: bool


class Jobs:
    """All batch jobs of this process. See the module for what it promises.

    Args:
        scheduler: runs them.
        store: keeps their records.
        policy: how often and how long is looked.
        launches: keeps what jobs start until they ask; without it, nothing can be
            submitted with a launch.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        store: JobStore,
        policy: Policy | None = None,
        *,
        launches: Launches | None = None,
    ) -> None:
        policy = policy or Policy()
        self._policy = policy
        self._meter = CallMeter()
        self._scheduler = self._meter.on(scheduler)
        self._ledger = Ledger(store)
        self._reconciler = Reconciler(
            self._scheduler, self._ledger, policy, self._read_soon
        )
        self._readings = Readings(self._ledger, self._reconciler, policy)
        self._watcher = JobWatcher(
            self._scheduler,
            policy,
            wanted=self._readings.wanted,
            urgency=self._readings.urgency,
            apply=self._readings.apply,
        )
        self._submission = Submission(
            self._scheduler, self._ledger, self._reconciler, policy, launches
        )
        self._launches = launches
        self._polled: set[str] = set()
        self._ledger.listeners.append(self._changed)
        self._cancels: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[Any]] = []
        self._closed = False

    async def start(self) -> None:
        """Take up every record that has not ended, and begin to watch.

        Raises:
            DatabaseUnavailable: the records cannot be read.
        """
        await self._ledger.load()
        for run in (
            self._watcher.run,
            self._watcher.run_snapshots,
            self._reconciler.run,
            self._reconciler.run_extra,
            self._ledger.run,
            self._prune,
        ):
            self._loops.append(asyncio.create_task(supervise(run)))
        self._watcher.nudge()
        # So that the first page has something to show.
        _ = self._watcher.snapshot

    async def close(self) -> None:
        """Stop watching and write down what is known; the jobs go on."""
        self._closed = True
        await self._submission.close(timeout_seconds=10)
        await _end([*self._loops, *self._cancels])
        await self._reconciler.close()
        await self._watcher.close()
        await self._ledger.flush()
        await self._ledger.settle()

    async def abandon(self) -> None:
        """Drop everything at once and write nothing down, as ``kill -9`` does.

        For tests of a crash: loops and tasks are gone when this returns, calls that
        were under way are cancelled, and later ones change nothing in the store. The
        jobs go on, and whoever opens the store next takes them up.
        """
        self._closed = True
        self._ledger.abandon()
        await _end([*self._loops, *self._cancels, *self._submission.tasks])
        await self._reconciler.close()
        await self._watcher.close()
        await self._ledger.settle()

    async def submit(
        self,
        spec: JobSpec,
        *,
        user: str,
        owner: str,
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> JobRecord:
        """Submit one job as ``user`` and return its record, identity included.

        If its end was wanted meanwhile, the record may have ended already. A caller
        that is cancelled leaves the submission to be finished: cancel the job.

        Args:
            spec: with a fresh :func:`~spawners.batch.models.new_job_name`; no array.
            user: account to run as.
            owner: the adapter's key: whose live job there can be only one of.
            facts: public facts to keep with the record.
            launch: what the job's agent starts, which the job fetches once it runs.
                The agent's environment is added to the spec's; the spec's script runs
                it (:func:`~spawners.batch.rendezvous.launch.agent_command`).
            vocabulary: how people call what runs in the job.
            retain: what is kept of it once it is over.

        Raises:
            AlreadyLive: the owner has a live job; nothing was done.
            DatabaseUnavailable: the intent could not be written; nothing was done.
            SubmitRejected: also ``InvalidSpec``, ``NotPermitted``,
                ``AuthenticationBroken``; phase is ``REFUSED`` and tells why.
            SchedulerUnavailable: it did not answer the check, or never took the job.
        """
        about = About(user, facts or {}, vocabulary, retain)
        return await self._submission.submit(spec, owner, about, launch)

    async def submit_set(
        self,
        spec: JobSpec,
        *,
        user: str,
        owners: Sequence[str],
        facts: Mapping[str, str] | None = None,
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> list[JobRecord]:
        """Submit as many equal jobs as there are owners, at once; return their records.

        They are written down together, submitted by one command and adopted together;
        from then on each record is one like any other. Its name is
        :func:`~spawners.batch.models.task_name` of the spec's and its place among
        ``owners``, its output's path the spec's with the job's own id for ``%j``.

        What became of each is in its record: after a lost answer some may be
        ``REFUSED``, as never taken, beside others that run.

        Args:
            spec: what each of them runs, with a fresh name for the set.
            user: account to run as.
            owners: the adapter's keys, 1 to 1,000, all different.
            facts: public facts to keep with each record.
            launch: what each job's agent starts; see :meth:`submit`.
            vocabulary: how people call what runs in each.
            retain: what is kept of each once it is over.

        Raises:
            AlreadyLive: one of the owners has a live job; nothing was done.
            DatabaseUnavailable: the intents could not be written; nothing was done.
            SubmitRejected: also ``InvalidSpec``, ``NotPermitted``,
                ``AuthenticationBroken``; each record is ``REFUSED`` and tells why.
            SchedulerUnavailable: it did not answer the check, or took none of them.
        """
        about = About(user, facts or {}, vocabulary, retain)
        return await self._submission.submit_set(spec, owners, about, launch)

    async def give_launch(self, name: str, launch: Launch) -> bool:
        """Hand in what a job starts that is there already; may be called again.

        For a job whose submission brought none, of an earlier version, or one whose
        launch is of no use any more. The newest counts, until the job is ready.

        Returns whether the job waits for it.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: nothing was changed.
        """
        await self._ledger.recall(name)
        return self._launches is not None and await self._launches.give(name, launch)

    async def cancel(self, name: str) -> None:
        """Write down that the job has to end, and ask for it once.

        Returning means "asked for"; that is repeated until an end was read. A job
        that ended needs nothing; one that is being submitted, even one whose intent
        is just being written down, ends as soon as it is there. A scheduler that does
        not answer is no error here. A caller that goes away does not undo it.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: the request is not written down yet. That is tried
                again as long as this process lives; whoever wants to be sure of it
                asks again.
        """
        await self._submission.written(name)
        await self._ledger.recall(name)
        await self._cancel([name])

    async def cancel_many(self, names: Collection[str]) -> int:
        """Do :meth:`cancel` for many, by one command a user; return for how many.

        Names that nobody knows, jobs that ended and jobs whose end is asked for
        already count for nothing.

        Raises:
            DatabaseUnavailable: the requests are not written down yet; see
                :meth:`cancel`.
        """
        ending = []
        for name in dict.fromkeys(names):
            await self._submission.written(name)
            with contextlib.suppress(UnknownJob):
                record = await self._ledger.recall(name)
                if record.can_be_cancelled and record.cancel_wanted is None:
                    ending.append(name)
        await self._cancel(ending)
        return len(ending)

    async def cancel_owned(self, prefix: str) -> int:
        """Have every job ended whose owner begins with ``prefix``; return how many.

        Jobs whose end is asked for already are not counted.

        Raises:
            InvalidSpec: the prefix is empty, or ends inside a name.
            DatabaseUnavailable: the requests are not written down yet; see
                :meth:`cancel`.
        """
        if not prefix.endswith(("/", ":")):
            raise InvalidSpec("owner", "must be a whole prefix, ending in / or :.")
        names = self._submission.writing(prefix)
        open_records = self._ledger.open_records()
        names += [r.name for r in open_records if r.owner.startswith(prefix)]
        return await self.cancel_many(names)

    async def give_up(self, name: str, failure: Failure) -> None:
        """Write down why a job is of no use any more, and have it ended.

        For what only the adapter sees: a server that never came up on its node. The
        failure stays with the record when its end is read.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: it could not be written; nothing was done.
        """
        await self._ledger.recall(name)
        await self._ledger.promise(
            name,
            lambda record: (
                record.failed(failure) if record.live else Transition(record)
            ),
        )
        await self.cancel(name)

    async def release(self, name: str) -> None:
        """Have nothing kept of a job once it is over, as with ``Retain.NONE``.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: nothing was changed.
        """
        await self._ledger.recall(name)
        await self._ledger.promise(name, lambda record: record.released())

    def get(self, name: str) -> JobRecord | None:
        """Return a record that has not ended, or its owner's newest."""
        return self._ledger.get(name)

    def current(self, owner: str) -> JobRecord | None:
        """Return the owner's newest record, live or not."""
        return self._ledger.current(owner)

    def records(
        self, *, user: str | None = None, live_only: bool = True
    ) -> list[JobRecord]:
        """Return the records of one user or of all, the oldest first."""
        return [
            record
            for record in self._ledger.records()
            if (user is None or record.user == user) and (record.live or not live_only)
        ]

    async def wait(self, name: str, until: Callable[[JobRecord], object]) -> JobRecord:
        """Return the record as soon as ``until`` holds; looked at on every change.

        The caller sets the deadline, and lets ``until`` hold for an ended record.

        Raises:
            UnknownJob: there is no such record.
        """
        return await self._ledger.wait(name, until)

    async def note(
        self, name: str, kind: str, message: str, **data: str | float | None
    ) -> JobEvent:
        """Append a line to a job's story and return it.

        Raises:
            UnknownJob: there is no such record.
        """
        await self._ledger.recall(name)
        return await self._note(name, Line(kind, message, data))

    async def note_once(self, name: str, line: Line) -> JobEvent:
        """Append a line to a job's story, once for each ``line.key``; return it.

        Once also after a restart. The caller lets the same key not in twice at a time.

        Raises:
            UnknownJob: there is no such record.
            DatabaseUnavailable: nothing was appended.
        """
        await self._ledger.recall(name)
        before = await self._ledger.store.event_by(name, line.key)
        return before or await self._note(name, line)

    async def _note(self, name: str, line: Line) -> JobEvent:
        said = (line.kind, line.message, line.data, line.key)
        self._ledger.note(name, lambda record: record.noted(*said))
        event = self._ledger.last_event(name)
        await self._ledger.flush()
        return event

    async def events(
        self, owner: str, after: int = 0, generation: int | None = None
    ) -> list[JobEvent]:
        """Return a start's events with ``seq > after``; the newest start's by default.

        Raises:
            DatabaseUnavailable: they cannot be read now.
        """
        record = self._ledger.current(owner)
        if generation is None or (record and record.generation == generation):
            name = record.name if record else None
        else:
            name = await self._ledger.store.name_of(owner, generation)
        if name is None:
            return []
        await self._ledger.flush()
        return await self._ledger.store.events(name, after)

    async def changed(self, owner: str, after: int) -> None:
        """Return when the newest start has an event past ``after``, or a newer began.

        The caller sets the deadline.
        """
        await self._ledger.wait_event(owner, after)

    async def report_ready(self, name: str, address: Address) -> None:
        """Take in that a job's server answers at ``address``, which was checked.

        That it is the job who says so was proved before, by the rendezvous; here it is
        decided whether it still matters. The same report again is no error.

        Raises:
            StaleReport: the job was superseded, stopped or ended, and its end is
                asked for; or it reported another address before, which stays.
            UnknownJob: there is no such record.
            DatabaseUnavailable: nothing was changed.
        """
        record = await self._ledger.recall(name)
        if record.may_report(self._ledger.current(record.owner)):
            if record.address == address:
                return
            try:
                record = await self._ledger.promise(
                    name, lambda record: record.ready(address)
                )
            except IllegalTransition as error:
                record = error.record
            if record.wanted and record.address == address:
                log.info("Job %s of %s is ready on %s", name, record.user, address.host)
                self._watcher.nudge()
                return
        if record.wanted and record.address is not None:
            raise StaleReport(f"Job {name} has reported another address before.")
        await self._cancel([name])
        self.heard_of(name)
        raise StaleReport(f"Job {name} is not wanted any more.")

    async def report_ended(
        self,
        name: str,
        exit_code: int | None,
        signal: int | None,
        log_tail: str = "",
    ) -> None:
        """Take in that a job's own process ended, as it says.

        The record ends when the scheduler confirms it, which is asked at once.

        Raises:
            UnknownJob: there is no such record.
        """
        record = await self._ledger.recall(name)
        if not record.can_be_cancelled:
            return
        self._reconciler.reported(name, Report(exit_code, signal, log_tail))
        self._readings.changes_soon(name)
        self._ledger.note(name, lambda record: record.process_ended(exit_code, signal))
        await self._ledger.flush()
        self.heard_of(name)

    def heard_of(self, name: str) -> None:
        """Read soon: the job itself was heard of, so it is there and has changed.

        A job whose record was closed without it is found and has to end.
        """
        record = self._ledger.get(name)
        if record is not None and record.is_given_up:
            self._reconciler.search_anew(name)
        self._reconciler.heard_of(name)
        self._watcher.nudge()

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """The last good snapshot of the cluster, never waited for.

        Reading it has a new one made in the background if it is old.
        """
        return self._watcher.snapshot

    async def fresh_snapshot(
        self, max_age: timedelta = timedelta(minutes=5)
    ) -> ClusterSnapshot | None:
        """Return a snapshot of at most that age; the caller sets the deadline."""
        return await self._watcher.fresh_snapshot(max_age.total_seconds())

    async def check(self, resources: Resources, *, user: str, count: int = 1) -> None:
        """Refuse what the scheduler would take and then never start.

        Args:
            resources: of one job.
            user: account to run as.
            count: how many of these are to be there at once.

        Raises:
            SubmitRejected: naming the field and saying what is allowed.
            LimitReached: the user may never have so many.
        """
        await self._scheduler.check(resources, user=user)
        if count == 1:
            return
        most = (await self.limits(user)).max_submit
        if most is not None and count > most:
            raise LimitReached(
                f"{count} jobs are more than you may have at a time.",
                hint=f"Ask for at most {most}.",
                field="count",
            )

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess when ``spec`` would start if submitted now. Never a promise."""
        return await self._scheduler.estimate(spec, user=user)

    async def limits(self, user: str) -> UserLimits:
        """Return what the scheduler allows a user, a few minutes old at most.

        Raises:
            GatewayError: it was never read, and cannot be read now.
        """
        return await self._watcher.limits(user)

    def listen(self, changed: Callable[[str], None]) -> None:
        """Have ``changed`` called with a record's name after each change of it.

        Also when an event of it was stored, and when the record is held no more:
        :meth:`get` does not know it then. For the jobs service, which tells others.
        """
        self._ledger.listeners.append(changed)

    def last_event(self, name: str) -> int:
        """Return the number of the last event of a record that can be read; or 0."""
        return self._ledger.saved_seq(name)

    @property
    def counters(self) -> Counters:
        """Numbers for metrics, as of now."""
        return Counters(
            live=len(self.records()),
            calls=dict(self._meter.calls),
            calls_per_minute=self._meter.per_minute,
            cancels_overdue=self._reconciler.overdue,
            unsaved=self._ledger.unsaved,
            scheduler_healthy=self._watcher.healthy,
        )

    async def _cancel(self, names: Sequence[str]) -> None:
        """Write down that jobs have to end and ask for it once, whoever waits."""
        await asyncio.shield(self._kept(self._request_end(names)))

    async def _request_end(self, names: Sequence[str]) -> None:
        try:
            await self._promise_end(names)
        except DatabaseUnavailable:
            if not self._closed:
                self._kept(self._request_end_again(names))
            raise

    async def _request_end_again(self, names: Sequence[str]) -> None:
        for seconds in growing(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS):
            await asyncio.sleep(seconds)
            try:
                await self._promise_end(names)
            except DatabaseUnavailable as error:
                log.warning("Cannot note the end of %s jobs: %s", len(names), error)
            else:
                return

    async def _promise_end(self, names: Sequence[str]) -> None:
        now = utc_now()

        def request(record: JobRecord) -> Transition:
            if not record.can_be_cancelled:
                return Transition(record)
            return record.cancel_requested(now)

        held = [name for name in names if self._ledger.get(name) is not None]
        asked = {name: self._reconciler.memory(name).asked for name in held}
        for record in await self._ledger.promise_all(held, request):
            if record.cancel_wanted == now:
                log.info("Stopping job %s of %s", record.name, record.user)
        await self._reconciler.ask_end(asked)
        for name in held:
            self._reconciler.heard_of(name)

    def _kept(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have work finished even if nobody waits for it."""
        task = asyncio.create_task(work)
        self._cancels.add(task)
        task.add_done_callback(self._dropped)
        return task

    def _dropped(self, task: asyncio.Task[None]) -> None:
        self._cancels.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller, if it is still there

    def _changed(self, name: str) -> None:
        """Have a job read soon that was not polled before."""
        record = self._ledger.get(name)
        if record is None or not record.needs_polling:
            self._polled.discard(name)
        elif name not in self._polled:
            self._polled.add(name)
            self._watcher.nudge()

    def _read_soon(self) -> None:
        self._watcher.nudge()

    async def _prune(self) -> None:
        """Delete what is old, for ever."""
        while True:
            try:
                before = utc_now() - self._policy.keep
                while count := await self._ledger.store.prune(before):
                    log.debug("Pruned %s old records", count)
            except DatabaseUnavailable as error:
                log.warning("Cannot prune old records: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
