"""What adapters know of the batch core, wherever it runs.

Notebook servers, kernels, model replicas and Dask clusters submit, watch and end their
jobs through :class:`JobsApi` and through nothing else. Two classes satisfy it:
:class:`~spawners.batch.jobs.jobs.Jobs`, which owns the scheduler and the records, and
the client of the jobs service, which asks such a ``Jobs`` over a socket and keeps a
mirror of its records. One suite of tests holds both to the same promises.

Reading (:meth:`JobsApi.get`, :meth:`JobsApi.current`, :meth:`JobsApi.records`,
:attr:`JobsApi.snapshot`) never waits, so that ``poll()`` of a thousand spawners costs
nothing. What is read may be some moments old; a record whose ``status_is_current`` is
False may be older than that, and nobody may conclude from it that a job ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from ..explain.failure import Failure
from ..explain.vocabulary import JOB, Vocabulary
from ..models import JobSpec, Launch, Resources
from ..scheduler import ClusterSnapshot, UserLimits
from .record import JobEvent, JobRecord, Retain


class JobsApi(Protocol):
    """All batch jobs that this process may see, and what can be done with them.

    Methods run on the event loop and never block it. Where nothing else is said, they
    may raise :class:`~spawners.common.errors.DatabaseUnavailable` (nothing was done,
    try again); over the socket the jobs service itself may be away as well, which is a
    :class:`~spawners.batch.errors.SchedulerUnavailable`.
    """

    async def start(self) -> None:
        """Take up the records, and begin to watch them.

        Called once, by whoever made it, before anything else.
        """

    async def close(self) -> None:
        """Stop watching. The jobs go on."""

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
        """Submit one job as ``user``; return its record, with its identity.

        Called by an adapter that starts something. The spec's name, drawn by the
        caller, is the key: whatever is sent twice becomes one job. A caller that goes
        away does not undo it; it cancels the name.

        Args:
            spec: with a fresh :func:`~spawners.batch.models.new_job_name`.
            user: account to run as.
            owner: the adapter's key (``"server:alice/"``): it has one live job.
            facts: public facts to keep with the record.
            launch: what the job starts, which its agent fetches on the node: the spec's
                script runs the agent, whose environment is added here. It is kept
                encrypted until the job is ready, and nobody is asked for it again.
            vocabulary: how people call what runs in the job, for all that they read.
            retain: what is kept of it once it is over; ``NONE`` for an owner that is
                used once, such as a worker: then :meth:`get` knows it no more.

        Raises:
            AlreadyLive: the owner has a live job; attach to the record in the error.
            SubmitRejected: also ``InvalidSpec``, ``NotPermitted``,
                ``AuthenticationBroken``; the record's phase is ``REFUSED``.
            SchedulerUnavailable: it never became a job, and never will.
        """

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

        Called by an adapter that has many of a kind: workers, replicas. The scheduler
        is asked once; from then on each record is one like any other. Its name is
        :func:`~spawners.batch.models.task_name` of the spec's and its place among
        ``owners``, and what became of it is in it: after a lost answer some may be
        ``REFUSED``, as never taken, beside others that run. One that is over by then
        and of which nothing is kept may be missing.

        Args:
            spec: what each of them runs, with a fresh name for the set, the key of all
                of it.
            user: account to run as.
            owners: the adapter's keys, 1 to 1,000, all different and of one user.
            facts: of each, as the following; see :meth:`submit`.
            launch: what each job starts.
            vocabulary: how people call what runs in each.
            retain: what is kept of each once it is over.

        Raises:
            AlreadyLive: one of the owners has a live job; nothing was done.
            SubmitRejected: also ``InvalidSpec``, ``NotPermitted``,
                ``AuthenticationBroken``; each record's phase is ``REFUSED``.
            SchedulerUnavailable: none of them became a job, and none ever will.
        """

    async def give_launch(self, name: str, launch: Launch) -> bool:
        """Hand in what a job starts that is there already; idempotent.

        Called by an adapter that takes up a job of an earlier version, which submitted
        none, or whose secrets have gone. The newest counts, until the job is ready.
        Returns whether the job waits for it.

        Raises:
            UnknownJob: there is no such record.
        """

    async def cancel(self, name: str) -> None:
        """Have a job ended, for good: the request outlives every process.

        Called when somebody stops what the job carries. Returning means "written down
        and asked for"; wait for the record to see the end. A job that ended needs
        nothing; one that is being submitted ends as soon as it is there.

        Raises:
            UnknownJob: there is no such record.
        """

    async def cancel_many(self, names: Collection[str]) -> int:
        """Do :meth:`cancel` for many, by one command a user; return for how many.

        Called by an adapter that needs fewer of a kind. Names that nobody knows, jobs
        that ended and jobs whose end is asked for already count for nothing.
        """

    async def cancel_owned(self, prefix: str) -> int:
        """Have every job ended whose owner begins with ``prefix``; return how many.

        Called when a cluster, an address or a user goes, with all workers or replicas.

        Raises:
            InvalidSpec: the prefix is empty, or ends inside a name.
        """

    async def give_up(self, name: str, failure: Failure) -> None:
        """Write down why a job is of no use any more, and have it ended.

        Called for what only the adapter sees: a server that never came up on its node.
        The failure stays with the record when its end is read.

        Raises:
            UnknownJob: there is no such record.
        """

    async def release(self, name: str) -> None:
        """Have nothing kept of a job once it is over, as with ``Retain.NONE``.

        Called by an adapter whose owner key is used once, when it has told people how
        the job ended, or when nobody will ask.

        Raises:
            UnknownJob: there is no such record.
        """

    def get(self, name: str) -> JobRecord | None:
        """Return a record that has not ended, or its owner's newest. Never waits."""

    def current(self, owner: str) -> JobRecord | None:
        """Return the owner's newest record, live or not. Never waits."""

    def records(
        self, *, user: str | None = None, live_only: bool = True
    ) -> list[JobRecord]:
        """Return the records of one account or of all, the oldest first."""

    def listen(self, changed: Callable[[str], None]) -> None:
        """Have ``changed`` called with a record's name after each change of it.

        Called by an adapter that looks after many jobs, in the place of a
        :meth:`wait` for each. Also called when a line of its story was stored, when it
        is doubtful whether what is known of it is current, and when it is held no more:
        :meth:`get` does not know it then. Never waits, and must not fail.
        """

    async def wait(self, name: str, until: Callable[[JobRecord], object]) -> JobRecord:
        """Return the record as soon as ``until`` holds; looked at on every change.

        The caller sets the deadline, and lets ``until`` hold for an ended record.

        Raises:
            UnknownJob: there is no such record.
        """

    async def note(
        self, name: str, kind: str, message: str, **data: str | float | None
    ) -> JobEvent:
        """Append a line to a job's story and return it.

        Called for what the adapter does with the job: a route that was set.

        Raises:
            UnknownJob: there is no such record.
        """

    async def events(
        self, owner: str, after: int = 0, generation: int | None = None
    ) -> list[JobEvent]:
        """Return a start's events with ``seq > after``; the newest start's by default.

        Called by pages that show what happens to a start, and after its failure.
        """

    async def changed(self, owner: str, after: int) -> None:
        """Return when the newest start has an event past ``after``, or a newer began.

        The caller sets the deadline.
        """

    async def check(self, resources: Resources, *, user: str, count: int = 1) -> None:
        """Refuse what the scheduler would take and then never start.

        Called by forms, while somebody fills them in.

        Args:
            resources: of one job.
            user: account to run as.
            count: how many of these are to be there at once.

        Raises:
            SubmitRejected: naming the field and saying what is allowed.
            LimitReached: the user may never have so many.
        """

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess when ``spec`` would start if submitted now. Never a promise.

        Of a set this is the first of its jobs.
        """

    async def limits(self, user: str) -> UserLimits:
        """Return what the scheduler allows a user, a few minutes old at most.

        Raises:
            GatewayError: it was never read, and cannot be read now.
        """

    @property
    def snapshot(self) -> ClusterSnapshot | None:
        """The last good snapshot of the cluster; ``None`` before the first.

        Reading it has a new one made in the background if it is old.
        """

    async def fresh_snapshot(
        self, max_age: timedelta = timedelta(minutes=5)
    ) -> ClusterSnapshot | None:
        """Return a snapshot of at most that age; the caller sets the deadline."""
