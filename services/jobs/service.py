"""What the jobs service does for its clients: :class:`Jobs`, behind rights and names.

A request is repeated by whoever did not get its answer, so each is the same when it
comes twice: a submission by its name and digest, the end of a job because it is a wish
that is kept, a line of a job's story by its key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any  # the result of a task that is only kept

from prometheus_client.core import CounterMetricFamily, Metric

from services.common.web.metrics import MetricsToken, gauge
from spawners.batch.errors import (
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SubmitRejected,
)
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.errors import UnknownJob
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import JobEvent, JobRecord, Line, Phase
from spawners.batch.jobs.usage import UsageReport, Used
from spawners.batch.jobs.wire import (
    Check,
    Credential,
    Listing,
    NameUsed,
    Note,
    SetSubmission,
    Submission,
)
from spawners.batch.models import Launch, submitted_name, task_name
from spawners.batch.rendezvous.certificates import CertificateAuthority, job_host
from spawners.batch.script import render_job_script
from spawners.common.backoff import growing
from spawners.common.errors import GatewayError

from .clients import (
    Client,
    ClientTokens,
    check_owners,
    check_rights,
    check_size,
    hashed,
    named_by,
    new_token,
    of_server,
    whose,
)
from .db.rows import Rows
from .feed import Feed
from .usage import UsageLedger

log = logging.getLogger(__name__)

#: The variable by which a notebook server finds its token for this service.
TOKEN_VARIABLE = "LANDBRIDGE_JOBS_TOKEN"  # noqa: S105 -- its name, not a token

_REFUSALS_KEPT_SECONDS = 600.0
_MOST_KEPT = 10_000
_MOST_NAMES_CANCELLED = 10_000
_MOST_LINES = 1_000
_KEEP = timedelta(days=31)
_PRUNE_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class _Order:
    """One job that is asked for, or a set of them.

    Attributes:
        client: who asks.
        name: the job's or the set's.
        each: what it is, or each of them.
        digest: of the whole request.
        owners: of a set, one for each of its jobs; ``None`` for a single job.
    """

    client: Client
    name: str
    each: Submission
    digest: str
    owners: tuple[str, ...] | None = None

    @property
    def jobs(self) -> dict[str, str]:
        """The owner of each job, by its name."""
        if self.owners is None:
            return {self.name: self.each.owner}
        return {task_name(self.name, n): owner for n, owner in enumerate(self.owners)}

    def is_same(self, other: _Order) -> bool:
        """Whether it is the same request, sent again."""
        return (self.client.name, self.digest) == (other.client.name, other.digest)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A submission that is being carried out, or was refused a short while ago."""

    order: _Order
    task: asyncio.Task[list[JobRecord]]

    def is_of(self, client: Client) -> bool:
        """Whether it is being carried out for this client."""
        return self.order.client.name == client.name and not self.task.done()


class JobsService:
    """The jobs of a gateway, as its clients may use them.

    Args:
        jobs: the batch core; started and closed by this.
        rows: what is kept of requests and tokens.
        usage: what jobs used.
        tokens: of the table's clients.
        authority: signs the jobs' certificates, and those of their owners.
        agent: what runs the agent in a job that has no script of its own.
        prologues: shell lines of the site's profiles, by their keys, for such jobs.

    Attributes:
        feed: what changed since when.
        ready: True once the records were taken up.
        readers: how many streams are open.
    """

    def __init__(
        self,
        jobs: Jobs,
        rows: Rows,
        usage: UsageLedger,
        tokens: ClientTokens,
        *,
        authority: CertificateAuthority,
        agent: tuple[str, ...],
        prologues: Mapping[str, str] | None = None,
    ) -> None:
        self.jobs = jobs
        self.feed = Feed(jobs)
        self.ready = False
        self.readers = 0
        self._rows = rows
        self._usage = usage
        self._tokens = tokens
        self._authority = authority
        self.metrics_token = MetricsToken(tokens.metrics_file)
        self._agent = agent
        self._prologues = prologues or {}
        self._under_way: dict[str, _UnderWay] = {}
        # Names under way whose end was asked for before they had a record.
        self._cancelled: set[str] = set()
        # Of those, what has a record since a moment ago.
        self._ending: set[str] = set()
        self._notes: OrderedDict[tuple[str, str], asyncio.Task[JobEvent]]
        self._notes = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Take up the records, and what was asked for before the last end.

        Raises:
            DatabaseUnavailable: the records cannot be read.
        """
        self.jobs.listen(self._changed)
        await self.jobs.start()
        cancelled = await self._rows.cancelled_names()
        names = {r.name: submitted_name(r.name) for r in self.jobs.records()}
        await self._rows.written(set(names.values()))
        # Asked for while they were being submitted, by a process that died then.
        if ending := [n for n in names if {n, names[n]} & cancelled]:
            self._keep(self._end(ending))
        self._keep(self._prune())
        self.ready = True

    async def close(self) -> None:
        """Let readers go, finish what is being written, and stop watching."""
        self.ready = False
        self.feed.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.jobs.close()

    async def client_of(self, token: str) -> Client | None:
        """Return whose token this is, now; ``None`` for nobody's.

        Raises:
            DatabaseUnavailable: that cannot be said.
        """
        client = self._tokens.client(token)
        if client is not None:
            return client
        record = self.jobs.get(named_by(token))
        if record is None or not record.live:
            return None
        if not await self._rows.has_token(record.name, hashed(token)):
            return None
        return of_server(record.name, record.owner, record.user)

    # Submitting and ending

    async def submit(
        self, client: Client, name: str, asked: Submission
    ) -> tuple[JobRecord, bool]:
        """Submit a job; return its record, and whether this request was the first.

        Raises:
            NotPermitted: the client may not have such a job.
            NameUsed: the name stands for another job, or was cancelled before.
            LimitReached: the client has as many jobs as it may have.
            GatewayError: as :meth:`Jobs.submit`.
        """
        check_rights(client, asked)
        records, first = await self._take(_Order(client, name, asked, asked.digest))
        return records[0], first

    async def submit_set(
        self, client: Client, name: str, asked: SetSubmission
    ) -> tuple[list[JobRecord], bool]:
        """Submit a set; return its records, and whether this request was the first.

        Jobs of a set have no token for this service.

        Raises:
            NotPermitted, NameUsed, LimitReached: as :meth:`submit`.
            GatewayError: as :meth:`Jobs.submit_set`.
        """
        check_rights(client, asked.each)
        check_owners(asked)
        order = _Order(client, name, asked.each, asked.digest, asked.owners)
        return await self._take(order)

    async def _take(self, order: _Order) -> tuple[list[JobRecord], bool]:
        under_way = self._under_way.get(order.name)
        same = under_way is not None and under_way.order.is_same(order)
        if under_way is not None and not same and not under_way.task.done():
            raise _used(order.name)
        if under_way is None or not same:
            # Also for a caller that goes away: it asks again, or for the end.
            task = self._keep(self._carry_out(order))
            under_way = self._under_way[order.name] = _UnderWay(order, task)
            task.add_done_callback(partial(self._settled, order))
        return await asyncio.shield(under_way.task), not same

    async def cancel(self, client: Client, name: str) -> bool:
        """Have a job ended, or refuse what comes by this name later.

        Returns whether there is, or is about to be, such a job.

        Raises:
            UnknownJob: it is another client's.
            LimitReached: too many names without a job.
            DatabaseUnavailable: it could not be written down.
        """
        held, pending = await self._to_end(client, name)
        if held:
            await self.jobs.cancel(name)
        return held or pending

    async def cancel_many(self, client: Client, names: Collection[str]) -> int:
        """Do :meth:`cancel` for many at once; return for how many that was new.

        Raises:
            UnknownJob, LimitReached, DatabaseUnavailable: as there.
        """
        count, held = 0, []
        for name in names:
            is_held, pending = await self._to_end(client, name)
            count += pending
            if is_held:
                held.append(name)
        return count + await self.jobs.cancel_many(held)

    async def cancel_set(self, client: Client, name: str) -> bool:
        """Have all jobs of a set ended, or refuse the set should it come later.

        Returns whether there are, or are about to be, such jobs.

        Raises:
            UnknownJob, LimitReached, DatabaseUnavailable: as :meth:`cancel`.
        """
        _, pending = await self._to_end(client, name)
        held = [r for r in self.jobs.records() if submitted_name(r.name) == name]
        if not all(client.owns(record.owner) for record in held):
            raise _unknown(name)
        await self.jobs.cancel_many([record.name for record in held])
        return bool(held) or pending

    async def _to_end(self, client: Client, name: str) -> tuple[bool, bool]:
        """Tell if there is a record of this name; without one, have none come.

        And whether one was about to come.
        """
        record = await self._record(name)
        if record is None:
            asked = await self._rows.request(client.name, submitted_name(name))
            if asked is not None and asked.written:
                return False, False  # there was one, of which nothing is kept
            if not await self._rows.cancelled(client.name, name, _MOST_NAMES_CANCELLED):
                raise LimitReached("Too many names were cancelled that have no job.")
            under_way = self._under_way.get(submitted_name(name))
            pending = under_way is not None and under_way.is_of(client)
            if pending:
                self._cancelled.add(name)
            # It may have been written down while we wrote.
            record = self.jobs.get(name)
            if record is None:
                return False, pending
        if not client.owns(record.owner):
            raise _unknown(name)
        return True, False

    async def cancel_owned(self, client: Client, prefix: str) -> int:
        """Have all jobs ended whose owners begin with ``prefix``; return how many.

        Raises:
            NotPermitted: they are another client's.
            InvalidSpec: it is no whole prefix.
        """
        if not client.owns(prefix):
            raise NotPermitted(f"{client.name} has no jobs of {prefix[:80]!r}.")
        count = await self.jobs.cancel_owned(prefix)
        for under_way in list(self._under_way.values()):
            if under_way.is_of(client):
                owners = under_way.order.jobs.items()
                names = [name for name, owner in owners if owner.startswith(prefix)]
                count += await self.cancel_many(client, names)
        return count

    async def give_up(self, client: Client, name: str, failure: Failure) -> None:
        """Write down why a job is of no use any more, and have it ended.

        Raises:
            UnknownJob: there is no such job, or it is another client's.
            InvalidSpec: it is too long.
        """
        check_size("failure", failure)
        await self._own(client, name)
        await self.jobs.give_up(name, failure)

    async def release(self, client: Client, name: str) -> None:
        """Have nothing kept of a job once it is over.

        Raises:
            UnknownJob: there is no such job, or it is another client's.
        """
        await self._own(client, name)
        await self.jobs.release(name)

    async def credential(self, client: Client, name: str) -> Credential:
        """Return what opens the server of a client's own job.

        Raises:
            UnknownJob: there is no such job, it is another client's, or over.
        """
        record = await self._own(client, name)
        if not record.live:
            raise _unknown(name)
        host = job_host(name)
        pair = self._authority.issue_client(host)
        return Credential(pair.key, pair.certificate, self._authority.certificate, host)

    async def give_launch(self, client: Client, name: str, launch: Launch) -> bool:
        """Hand in what a job starts that is there already.

        Raises:
            UnknownJob: there is no such job, or it is another client's.
        """
        record = await self._own(client, name)
        token, launch = _with_token(name, record.owner, record.user, launch)
        waits = await self.jobs.give_launch(name, launch)
        if waits and token:
            # Beside the one that it has: it may have fetched its launch just before.
            await self._rows.add_token(name, hashed(token))
        return waits

    async def note(self, client: Client, name: str, note: Note) -> JobEvent:
        """Append a line to a job's story, once for each key.

        Raises:
            UnknownJob: there is no such job, or it is another client's.
            LimitReached: its story is as long as one may be.
        """
        await self._own(client, name)
        task = self._notes.get((name, note.key))
        if task is None or (task.done() and task.exception() is not None):
            line = Line(note.kind, note.message, note.data, note.key)
            task = self._notes[name, note.key] = self._keep(self._append(name, line))
            while len(self._notes) > _MOST_KEPT:
                self._notes.popitem(last=False)
        return await asyncio.shield(task)

    # Reading

    def listing(self, client: Client, prefix: str) -> Listing:
        """Return the records of the owners that begin with ``prefix``."""
        entries = tuple(
            self.feed.entry(record)
            for record in self.jobs.records(live_only=False)
            if record.owner.startswith(prefix) and client.sees(record.owner)
        )
        return Listing(self.feed.epoch, self.feed.revision, entries)

    async def read(self, client: Client, name: str) -> JobRecord:
        """Return any record, also an old one.

        Raises:
            UnknownJob: there is none, or it is not for this client.
        """
        record = await self._record(name)
        if record is None or not client.sees(record.owner):
            raise _unknown(name)
        return record

    async def events(
        self, client: Client, owner: str, after: int, generation: int | None
    ) -> list[JobEvent]:
        """Return a start's events; none for owners that the client does not see."""
        if not client.sees(owner):
            return []
        return await self.jobs.events(owner, after, generation)

    def check_account(self, client: Client, user: str) -> None:
        """Refuse a question about another account than the client's.

        Raises:
            NotPermitted: the client runs no jobs as this account.
        """
        if client.account is not None and client.account != user:
            raise NotPermitted(f"{client.name} has no jobs as {user[:80]!r}.")

    async def check(self, client: Client, asked: Check) -> None:
        """Refuse what a client may not have, or what would never start.

        Raises:
            NotPermitted: the client runs no jobs as this account.
            LimitReached: it may never have so many at a time.
            SubmitRejected: naming the field and saying what is allowed.
        """
        self.check_account(client, asked.user)
        if asked.count > client.live_each:
            raise LimitReached(
                f"{asked.count} jobs are more than you may have at a time.",
                hint=f"Ask for at most {client.live_each}.",
                field="count",
            )
        await self.jobs.check(asked.resources, user=asked.user, count=asked.count)

    async def used(
        self, client: Client, user: str | None, since: datetime
    ) -> tuple[Used, ...]:
        """Return what a user's jobs used since then, or everybody's, newest first.

        Raises:
            NotPermitted: the client does not see all jobs.
        """
        if not client.reads_all:
            raise NotPermitted(f"{client.name} does not see all jobs.")
        await self._usage.take_records()
        return tuple(await self._usage.read(user, since))

    async def report_usage(
        self, client: Client, user: str, report: UsageReport
    ) -> None:
        """Take over what a user's notebook server tells of its kernels.

        Raises:
            NotPermitted: the client has no servers of this user.
            LimitReached: more jobs than anybody has.
            InvalidSpec: one is a job of the batch core's; nothing is taken.
        """
        if not client.owns(f"server:{user}/"):
            raise NotPermitted(f"{client.name} may not tell of other jobs.")
        await self._usage.report(user, report.jobs)

    # Within

    async def _carry_out(self, order: _Order) -> list[JobRecord]:
        client, name = order.client.name, order.name
        asked, token, launch = order.each, "", order.each.launch
        if launch is not None and order.owners is None:
            token, launch = _with_token(name, asked.owner, asked.user, launch)
        kept = await self._rows.request(client, name)
        again = kept is not None
        if kept is None:
            if await self._records([name, task_name(name, 0)]):
                raise _used(name)
            self._check_numbers(order)
            kept = await self._rows.asked(
                client, name, order.digest, hashed(token) if token else ""
            )
        if kept.cancelled or name in self._cancelled:
            raise _was_cancelled(name)
        if kept.digest != order.digest:
            raise _used(name)
        records = await self._records(order.jobs)
        if records:
            await self._rows.written([name])
            return await self._outcome(records)
        if kept.written:
            raise _is_over(name)
        if again and token:
            # A process ended before it wrote the job down: the first token is lost.
            await self._rows.add_token(name, hashed(token))
        if order.owners is not None:
            # Of single jobs, before their set came.
            cancelled = await self._rows.cancelled_names(client)
            self._cancelled |= cancelled & order.jobs.keys()
        records = await self._begin(order, launch)
        await self._rows.written([name])
        return records

    async def _begin(self, order: _Order, launch: Launch | None) -> list[JobRecord]:
        asked, script = order.each, order.each.script
        if script is None:
            if launch is None:
                raise InvalidSpec("launch", "must say what the job runs.")
            script = self._script(asked)
        spec = asked.spec(order.name, script)
        if order.name in self._cancelled:
            raise _was_cancelled(order.name)
        if order.owners is None:
            record = await self.jobs.submit(
                spec,
                user=asked.user,
                owner=asked.owner,
                facts=asked.facts,
                launch=launch,
                vocabulary=asked.vocabulary,
                retain=asked.retain,
            )
            return [record]
        return await self.jobs.submit_set(
            spec,
            user=asked.user,
            owners=order.owners,
            facts=asked.facts,
            launch=launch,
            vocabulary=asked.vocabulary,
            retain=asked.retain,
        )

    def _script(self, asked: Submission) -> str:
        """Return the script of a job that runs the agent, as its profile wants it.

        Raises:
            InvalidSpec: it names a profile that the site does not have.
        """
        profile = asked.facts.get("profile")
        if profile is None:
            return render_job_script(self._agent)
        if profile not in self._prologues:
            raise InvalidSpec("profile", "is none of the site's.")
        prologue = self._prologues[profile].splitlines()
        return render_job_script(self._agent, prologue=prologue)

    async def _append(self, name: str, line: Line) -> JobEvent:
        if self.jobs.last_event(name) >= _MOST_LINES:
            raise LimitReached(f"The story of {name} has {_MOST_LINES} lines.")
        return await self.jobs.note_once(name, line)

    async def _outcome(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """Return what became of a submission that is written down.

        Raises:
            SubmitRejected: no job of it was ever taken.
        """

        def is_settled(record: JobRecord) -> bool:
            return record.phase is not Phase.INTENT

        settled = [
            record
            if is_settled(record)
            else await self.jobs.wait(record.name, is_settled)
            for record in records
        ]
        failure = settled[0].failure
        if failure and all(record.phase is Phase.REFUSED for record in settled):
            text = f"{failure.title}. {failure.detail}".strip()
            raise SubmitRejected(text, hint=failure.hint)
        return settled

    def _check_numbers(self, order: _Order) -> None:
        """Refuse more jobs than a client may have at a time."""
        client, new = order.client, len(order.jobs)
        owners = [record.owner for record in self.jobs.records()]
        for one in self._under_way.values():
            jobs = one.order.jobs
            if not one.task.done() and self.jobs.get(next(iter(jobs), "")) is None:
                owners += jobs.values()
        own = sum(map(client.owns, owners))
        user = whose(order.each.owner)
        users = sum(owner.startswith(user) for owner in owners)
        # Those that are asked for are under way by now.
        if own > client.live or users > client.live_each:
            raise LimitReached(
                f"There are {users - new} jobs of {user} already, and {own - new} of "
                f"{client.name}; {new} more are too many.",
                hint="End some of them first.",
            )

    async def _records(self, names: Iterable[str]) -> list[JobRecord]:
        """Return the records that there are of these names."""
        records = [await self._record(name) for name in names]
        return [record for record in records if record is not None]

    async def _record(self, name: str) -> JobRecord | None:
        try:
            return await self.jobs.wait(name, lambda record: True)
        except UnknownJob:
            return None

    async def _own(self, client: Client, name: str) -> JobRecord:
        record = await self._record(name)
        if record is None or not client.owns(record.owner):
            raise _unknown(name)
        return record

    def _settled(self, order: _Order, task: asyncio.Task[list[JobRecord]]) -> None:
        self._cancelled -= {order.name, *order.jobs}
        refused = not task.cancelled() and task.exception() is not None
        if not refused or len(self._under_way) > _MOST_KEPT:
            self._forget(order.name, task)
            return
        # Whoever asks again is told the same, in the same words.
        loop = asyncio.get_running_loop()
        loop.call_later(_REFUSALS_KEPT_SECONDS, self._forget, order.name, task)

    def _forget(self, name: str, task: asyncio.Task[list[JobRecord]]) -> None:
        under_way = self._under_way.get(name)
        if under_way is not None and under_way.task is task:
            del self._under_way[name]

    def _changed(self, name: str) -> None:
        asked = {name, submitted_name(name)} & self._cancelled
        if asked and self.jobs.get(name) is not None:
            self._ending.add(name)
            self._cancelled.discard(name)
            if len(self._ending) == 1:
                self._keep(self._end_together())

    async def _end_together(self) -> None:
        """End what was written down at one time, by as few commands."""
        names, self._ending = self._ending, set()
        await self._end(names)

    async def _end(self, names: Collection[str]) -> None:
        for pause in growing(1.0, 60.0):
            try:
                await self.jobs.cancel_many(names)
            except GatewayError as error:
                log.warning("Cannot note the end of %s jobs: %s", len(names), error)
                await asyncio.sleep(pause)
            else:
                return

    async def _prune(self) -> None:
        while True:
            try:
                await self._rows.prune(datetime.now(UTC) - _KEEP, self._is_live)
            except GatewayError as error:
                log.warning("Cannot prune old requests: %s", error)
            await asyncio.sleep(_PRUNE_SECONDS)

    def _is_live(self, name: str) -> bool:
        record = self.jobs.get(name)
        return record is not None and record.live

    def _keep(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def health_of(service: JobsService) -> tuple[bool, Mapping[str, object]]:
    """Return whether the service can work, and what operators may know of it."""
    if not service.ready:
        return False, {}
    counters = service.jobs.counters
    return True, {
        "live_jobs": counters.live,
        "scheduler_answers": counters.scheduler_healthy,
        "unsaved_records": counters.unsaved,
        "cancels_overdue": counters.cancels_overdue,
    }


def numbers_of(service: JobsService) -> list[Metric]:
    """Return what Prometheus is told of the jobs."""
    counters = service.jobs.counters
    calls = CounterMetricFamily(
        "landbridge_jobs_scheduler_calls",
        "Commands of the scheduler that were run.",
        labels=["call"],
    )
    for call, count in sorted(counters.calls.items()):
        calls.add_metric([call], count)
    return [
        gauge("jobs_live", "Jobs that are not over.", {"": counters.live}),
        gauge(
            "jobs_cancels_overdue",
            "Jobs that were to end and have not yet.",
            {"": counters.cancels_overdue},
        ),
        gauge(
            "jobs_unsaved_records",
            "Records that the database does not have yet.",
            {"": counters.unsaved},
        ),
        gauge(
            "jobs_scheduler_answers",
            "Whether the scheduler answers: 1 or 0.",
            {"": int(counters.scheduler_healthy)},
        ),
        gauge(
            "jobs_scheduler_calls_per_minute",
            "Commands of the scheduler in the last minute.",
            {"": counters.calls_per_minute},
        ),
        calls,
    ]


def _used(name: str) -> NameUsed:
    return NameUsed(
        f"{name} is the name of another job.", hint="Draw another one.", field="name"
    )


def _was_cancelled(name: str) -> NameUsed:
    return NameUsed(
        f"The end of {name} was asked for before it was submitted.", field="name"
    )


def _is_over(name: str) -> NameUsed:
    return NameUsed(
        f"What was submitted as {name} is over.", hint="Draw another.", field="name"
    )


def _unknown(name: str) -> UnknownJob:
    return UnknownJob(f"There is no job named {name[:80]!r}.")


def _with_token(
    name: str, owner: str, account: str, launch: Launch
) -> tuple[str, Launch]:
    """Return a launch with the token that its job has here, and the token.

    The token is empty, and the launch as it was, for jobs that have none.
    """
    if of_server(name, owner, account) is None:
        return "", launch
    token = new_token(name)
    variables = {**launch.environment, TOKEN_VARIABLE: token}
    return token, replace(launch, environment=variables)
