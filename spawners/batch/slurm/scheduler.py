"""Batch jobs through Slurm's own commands.

Thin on purpose: each of Slurm's commands has a file of its own, with its arguments and
how its answer is read; complaints are in :mod:`.errors`, and :mod:`identity` decides
whose line it is. Here they are put in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spawners.batch.errors import BatchError

from ..errors import (
    AnswerTooLong,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUncertain,
)
from ..models import (
    BatchJob,
    JobSpec,
    JobStatus,
    Resources,
    checked_count,
    split_task_name,
    submitted_name,
    task_name,
)
from ..scheduler import ClusterSnapshot, UserLimits
from . import accounts, identity, notation, sacct, sbatch, squeue
from .cluster import SlurmConfig, nodes_argv, partitions_argv, snapshot
from .commands import SlurmCommands, SlurmSettings
from .errors import cancel_error, cancel_errors, complains, query_error, submit_error
from .identity import Claim
from .lines import Odd
from .preflight import check
from .unreadable import ODD, OddLines

if TYPE_CHECKING:
    from ..runners.direct import CommandRunner

log = logging.getLogger(__name__)

# Cancels at one time: each is a command, run as its user.
_AT_ONCE = 4


class SlurmScheduler:
    """Runs jobs through ``sbatch``, ``squeue``, ``sacct`` and ``scancel``.

    Queries run as the service's own account, submissions and cancels as the user.
    Where the site hides jobs of others (:attr:`hides_jobs`) queries run as each
    user as well.

    Args:
        runner: how commands are run, and how as somebody else.
        settings: how patient to be, and what our account may see.
    """

    name = "slurm"

    def __init__(
        self, runner: CommandRunner, settings: SlurmSettings | None = None
    ) -> None:
        self._slurm = SlurmCommands(runner, settings or SlurmSettings())
        self._checking = asyncio.Lock()
        self._snapshot: ClusterSnapshot | None = None
        self._limits: dict[str, tuple[datetime, UserLimits]] = {}
        self._odd_lines = OddLines()

    @property
    def hides_jobs(self) -> bool:
        """True where our account sees no jobs of others (``PrivateData=jobs``).

        False also until the first query. Then there is one ``squeue`` per user.
        """
        return self._slurm.hides_jobs

    async def config(self) -> SlurmConfig:
        """Return what the controller is like: version, cluster, accounting."""
        return await self._slurm.config()

    # -- submit, status, cancel -------------------------------------------------

    async def submit(self, spec: JobSpec, *, user: str) -> BatchJob:
        """Submit as :meth:`..scheduler.Scheduler.submit` says, the script by stdin.

        ``uid`` and ``submitted`` are ``None`` in the answer if the look-up that
        follows the submission failed; :meth:`find` can tell them later.
        """
        job = await self._sbatch(spec, None, user)
        queued = await self._queued_after(job)
        return next((other for other in queued if other.id == job.id), job)

    async def submit_set(
        self, spec: JobSpec, count: int, *, user: str
    ) -> tuple[BatchJob, ...]:
        """Submit one array, by two commands however many tasks it has.

        Identities as of :meth:`submit`, task by task.
        """
        array = await self._sbatch(spec, checked_count(spec, count), user)
        tasks = [
            replace(array, id=f"{array.id}_{n}", name=task_name(spec.name, n))
            for n in range(count)
        ]
        queued = {task.id: task for task in await self._queued_after(array)}
        return tuple(queued.get(task.id, task) for task in tasks)

    async def _sbatch(self, spec: JobSpec, tasks: int | None, user: str) -> BatchJob:
        """Return the job, or array, without what its answer does not tell."""
        argv = sbatch.sbatch_argv(spec, tasks=tasks)
        script = spec.script.encode()
        try:
            done = await self._slurm.run(
                argv, user=user, stdin=script, env=spec.environment
            )
        except SchedulerUnavailable as error:
            raise _uncertain(error) from error
        if done.returncode != 0:
            raise submit_error(done.stderr)
        try:
            job_id, cluster = sbatch.parse_submitted(done.stdout)
        except SchedulerUnavailable as error:
            raise _uncertain(error) from error
        return BatchJob(job_id, spec.name, user, cluster=cluster)

    async def _queued_after(self, job: BatchJob) -> tuple[BatchJob, ...]:
        """Return what the queue tells of a submission right after it, if anything."""
        try:
            return await self._queued(job.name, user=job.user, cluster=job.cluster)
        except BatchError as error:
            log.warning("Job %s has no full identity yet: %s", job.id, error)
            return ()

    async def status(self, jobs: Collection[BatchJob]) -> Mapping[BatchJob, JobStatus]:
        """Read all ``jobs`` from one listing; those it lacks come from ``sacct``.

        A job that the listing lacks and whose end the accounting does not know is
        ``UNKNOWN`` with the reason :data:`~..scheduler.ABSENT`.
        """
        views = await self._views(jobs)
        readings: dict[BatchJob, JobStatus] = {}
        failures: list[BatchError] = []
        for (cluster, user), group in views.items():
            try:
                readings |= await self._read(group, cluster, user)
            except BatchError as error:
                failures.append(error)
                now = datetime.now(UTC)
                readings |= {job: identity.unknown(now) for job in group}
        if failures and len(failures) == len(views):
            raise failures[0]
        return readings

    async def _views(
        self, jobs: Collection[BatchJob]
    ) -> dict[tuple[str, str | None], list[BatchJob]]:
        """Group jobs by the listing that shows them: one, unless jobs are hidden."""
        if jobs:
            await self._slurm.config()
        views: dict[tuple[str, str | None], list[BatchJob]] = {}
        for job in jobs:
            view = (job.cluster, self._viewer(job.user))
            views.setdefault(view, []).append(job)
        return views

    def _viewer(self, user: str) -> str | None:
        return user if self.hides_jobs else None

    async def _read(
        self, jobs: list[BatchJob], cluster: str, user: str | None
    ) -> dict[BatchJob, JobStatus]:
        argv = squeue.listing_argv(cluster=cluster)
        try:
            done = await self._slurm.query(argv, user=user)
            # Thousands of lines take tens of milliseconds.
            listing = await asyncio.to_thread(
                squeue.parse_listing, done.stdout, cluster=cluster
            )
        except AnswerTooLong:
            return await self._read_ours(jobs, cluster, user)
        return await self._judge(jobs, listing, done.stderr, cluster, user)

    async def _read_ours(
        self, jobs: list[BatchJob], cluster: str, user: str | None
    ) -> dict[BatchJob, JobStatus]:
        """Ask about our ids alone: the queue holds more than anybody can list."""
        log.warning("The list of all jobs is too long; only our own are asked about")
        readings: dict[BatchJob, JobStatus] = {}
        for some in notation.batches(jobs):
            listing, said = await self._list(some, cluster, user)
            readings |= await self._judge(some, listing, said, cluster, user)
        return readings

    async def _list(
        self, jobs: list[BatchJob], cluster: str, user: str | None
    ) -> tuple[squeue.Listing, bytes]:
        """List these jobs only; also what squeue says on standard error."""
        argv = squeue.some_jobs_argv(jobs, cluster=cluster)
        done = await self._slurm.run(argv, user=user)
        text, said = done.stdout, done.stderr
        if done.returncode != 0:
            if cancel_error(said) is not None:
                raise query_error("squeue", said)
            text = said = b""  # "Invalid job id specified", of the only one
        listing = squeue.parse_listing(text, cluster=cluster)
        return replace(listing, whole=False), said

    async def _judge(
        self,
        jobs: list[BatchJob],
        listing: squeue.Listing,
        stderr: bytes,
        cluster: str,
        user: str | None,
    ) -> dict[BatchJob, JobStatus]:
        read_at = datetime.now(UTC)
        odd = identity.odd(jobs, listing)
        self._odd_lines.note(listing.odd, odd, (cluster, user))
        unsure = identity.doubtful((job for job in jobs if job not in odd), listing)
        proven, undecided = await self._looked_up(unsure, listing, cluster, user)
        odd |= undecided
        sure = [job for job in jobs if job not in odd]
        readings = identity.present(sure, listing, proven, read_at)
        missing = [job for job in sure if job not in readings]
        readings |= {job: identity.unknown(read_at, ODD) for job in odd}
        if missing and complains(stderr):
            # An answer with a complaint proves what it shows, not what it lacks.
            return readings | {job: identity.unknown(read_at) for job in missing}
        return readings | await self._past(missing, listing, cluster, user, read_at)

    async def _looked_up(
        self,
        jobs: Collection[BatchJob],
        listing: squeue.Listing,
        cluster: str,
        user: str | None,
    ) -> tuple[set[BatchJob], set[BatchJob]]:
        """Look for the names of jobs whose lines are in doubt.

        Returns those that are theirs, and those of which that cannot be told now.
        """
        if not jobs:
            return set(), set()
        try:
            named, odd = await self._named(jobs, cluster, user)
        except BatchError as error:
            log.warning("Cannot look up %s jobs by their names: %s", len(jobs), error)
            return set(), set(jobs)
        proven = identity.confirmed(jobs, listing, named)
        rest = set(jobs) - proven
        return proven, {j for j in rest if odd.about(j.id, j.uid, shown=False)}

    async def _named(
        self, jobs: Collection[BatchJob], cluster: str, user: str | None
    ) -> tuple[list[squeue.NamedJob], Odd]:
        named: list[squeue.NamedJob] = []
        odd = Odd()
        for some in notation.batches(jobs):
            names = {job.name for job in some}
            argv = squeue.named_argv(names, cluster=cluster)
            done = await self._slurm.query(argv, user=user)
            if complains(done.stderr):
                raise SchedulerUnavailable("squeue answered with a complaint.")
            lines, others = squeue.parse_named(done.stdout, cluster=cluster)
            named += lines
            odd.add_all(others)
        return named, odd

    async def _past(
        self,
        jobs: list[BatchJob],
        listing: squeue.Listing,
        cluster: str,
        user: str | None,
        read_at: datetime,
    ) -> dict[BatchJob, JobStatus]:
        """Ask the accounting, if there is one, about jobs that left the queue."""
        if not jobs:
            return {}
        left = identity.left_their_arrays(jobs, listing)
        if not (await self._slurm.config()).accounting:
            return identity.past(jobs, (), Odd(), read_at, left)
        asked = next(notation.batches(jobs))
        readings = {job: identity.unknown(read_at) for job in jobs}
        try:
            argv = sacct.accounting_argv(asked, cluster=cluster)
            done = await self._slurm.query(argv, user=user)
            if complains(done.stderr):
                raise SchedulerUnavailable("sacct answered with a complaint.")
            rows, odd = sacct.parse_accounting(done.stdout, read_at)
        except BatchError as error:
            log.warning("Cannot ask the accounting about %s jobs: %s", len(jobs), error)
            return readings
        if len(asked) < len(jobs):
            log.info("%s jobs wait for the next listing", len(jobs) - len(asked))
        return readings | identity.past(asked, rows, odd, read_at, left)

    async def cancel(self, job: BatchJob) -> None:
        """Ask for the end of ``job`` as its user, after a look at its identity."""
        if (error := (await self.cancel_many([job]))[job]) is not None:
            raise error

    async def cancel_many(
        self, jobs: Collection[BatchJob]
    ) -> Mapping[BatchJob, BatchError | None]:
        """Look at all identities by one ``squeue``, then end what is ours.

        There is one ``scancel`` for each user and cluster, made as that user, and
        one more command of either kind for each further 1,000 jobs.
        """
        answers: dict[BatchJob, BatchError | None] = dict.fromkeys(jobs)
        ours: dict[tuple[str, str], list[BatchJob]] = {}
        try:
            views = await self._views(answers)
        except BatchError as error:
            return dict.fromkeys(jobs, error)
        for (cluster, viewer), group in views.items():
            for some in notation.batches(group):
                own, failed = await self._still_ours(some, cluster, viewer)
                answers |= failed
                for job in own:
                    ours.setdefault((job.user, cluster), []).append(job)
        few = asyncio.Semaphore(_AT_ONCE)

        async def end(own: list[BatchJob]) -> None:
            async with few:
                answers.update(await self._scancel(own))

        lots = [lot for own in ours.values() for lot in notation.batches(own)]
        await asyncio.gather(*map(end, lots))
        return answers

    async def _scancel(self, jobs: list[BatchJob]) -> dict[BatchJob, BatchError]:
        """End jobs of one user and cluster; return those for which that failed."""
        try:
            done = await self._slurm.run(sbatch.scancel_argv(jobs), user=jobs[0].user)
        except BatchError as error:
            return dict.fromkeys(jobs, error)
        if done.returncode == 0:
            return {}
        return cancel_errors(jobs, done.stderr)

    async def _still_ours(
        self, jobs: list[BatchJob], cluster: str, viewer: str | None
    ) -> tuple[list[BatchJob], dict[BatchJob, BatchError]]:
        """Return which ids still stand for the job, and of which that is not known.

        The others have ended, or their ids belong to somebody else.
        """
        try:
            listing, said = await self._list(jobs, cluster, viewer)
        except BatchError as error:
            return [], dict.fromkeys(jobs, error)
        unclear = identity.odd(jobs, listing)
        lines = {
            job: line
            for job in jobs
            if job not in unclear and (line := identity.line_of(job, listing))
        }
        if complains(said):  # then it proves what it shows, not what it lacks
            unclear |= {job for job in jobs if job not in lines}
        unsure = identity.doubtful(lines, listing)
        proven, undecided = await self._looked_up(unsure, listing, cluster, viewer)
        own = [
            job
            for job, line in lines.items()
            if not line.state.ended
            and (job in proven or identity.claim(job, line) is Claim.SAME)
        ]
        over = len(jobs) - len(own) - len(unclear | undecided)
        if over:
            log.info("%s jobs to cancel are over or not ours any more", over)
        return own, {
            job: SchedulerUnavailable(f"Slurm's line about job {job.id} is not read.")
            for job in unclear | undecided
        }

    # -- the questions around them ------------------------------------------------

    async def find(self, name: str, *, user: str) -> tuple[BatchJob, ...]:
        """Look for ``name`` in the queue, then in the accounting.

        A set is looked for in both, as some of its tasks may have left the queue.
        Traces of refused submissions are not jobs, and a row that waits or runs
        only in the accounting is a ghost.
        """
        queued = await self._queued(name, user=user)
        single = any(job.name == submitted_name(name) for job in queued)
        one_task = bool(queued) and split_task_name(name) is not None
        if single or one_task or not (await self._slurm.config()).accounting:
            return queued
        argv = sacct.accounting_by_name_argv(name, user=user)
        done = await self._slurm.query(argv, user=self._viewer(user))
        if complains(done.stderr):
            raise SchedulerUnavailable("sacct answered with a complaint.")
        rows, odd = sacct.parse_accounting(done.stdout, datetime.now(UTC))
        if odd.count:  # the query was for this user's job alone
            raise SchedulerUnavailable("sacct's answer has lines that do not fit.")
        ended = [row for row in rows if row.status.state.ended and not row.refused]
        past = identity.named(name, user, ended)
        latest = {job.id: job for job in (*past, *queued)}
        return tuple(latest.values())

    async def _queued(
        self, name: str, *, user: str, cluster: str = ""
    ) -> tuple[BatchJob, ...]:
        await self._slurm.config()
        argv = squeue.named_argv([name], user=user, cluster=cluster)
        done = await self._slurm.query(argv, user=self._viewer(user))
        if complains(done.stderr):  # an unknown user is an empty answer with rc 0
            raise SchedulerUnavailable("squeue answered with a complaint.")
        lines, odd = squeue.parse_named(done.stdout, cluster=cluster)
        if odd.count:  # the query was for this user's job alone
            raise SchedulerUnavailable("squeue's answer has lines that do not fit.")
        own = [line for line in lines if not line.refused and line.user == user]
        return tuple(identity.named(name, user, own, cluster=cluster))

    async def check(self, resources: Resources, *, user: str) -> None:
        """Refuse what sbatch would take and Slurm never start.

        Facts are at most as old as the settings allow; many starts at once share
        one reading.
        """
        async with self._checking:
            cluster = await self._recent_snapshot()
            limits = await self._recent_limits(user)
        check(resources, cluster, limits)

    async def _recent_snapshot(self) -> ClusterSnapshot:
        oldest = datetime.now(UTC) - self._slurm.settings.snapshot_age
        if self._snapshot is None or self._snapshot.taken_at < oldest:
            return await self.snapshot()
        return self._snapshot

    async def _recent_limits(self, user: str) -> UserLimits:
        oldest = datetime.now(UTC) - self._slurm.settings.limits_age
        read_at, limits = self._limits.get(user, (None, None))
        if limits is None or read_at is None or read_at < oldest:
            return await self.limits(user)
        return limits

    async def snapshot(self) -> ClusterSnapshot:
        """Read partitions and nodes by two commands."""
        partitions = await self._slurm.query(partitions_argv())
        nodes = await self._slurm.query(nodes_argv())
        self._snapshot = await asyncio.to_thread(
            snapshot,
            partitions.stdout,
            nodes.stdout,
            datetime.now(UTC),
        )
        self._odd_lines.note_nodes(self._snapshot.left_out)
        return self._snapshot

    async def limits(self, user: str) -> UserLimits:
        """Read the user's associations; empty where Slurm enforces none."""
        config = await self._slurm.config()
        limits = UserLimits(accounts={})
        if config.accounting and config.enforces_accounts:
            argv = accounts.user_argv(user, config.cluster)
            done = await self._slurm.query(argv)
            own = accounts.parse_user(done.stdout)
            limits = await self._with_groups(own, config.cluster)
        self._limits[user] = (datetime.now(UTC), limits)
        return limits

    async def _with_groups(
        self, own: accounts.Associations, cluster: str
    ) -> UserLimits:
        """Add what the user's accounts and each QoS allow."""
        if not own.qos:
            return accounts.user_limits(own, {}, {})
        groups = await self._slurm.query(accounts.accounts_argv(own.qos, cluster))
        qos = await self._slurm.query(accounts.qos_argv())
        return accounts.user_limits(
            own,
            accounts.parse_accounts(groups.stdout),
            accounts.parse_qos(qos.stdout),
        )

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        """Guess by ``sbatch --test-only``; ``None`` also when it would be refused."""
        argv = sbatch.sbatch_argv(spec, test_only=True)
        env = {**spec.environment, **notation.CLIENT_ENVIRONMENT}
        script = spec.script.encode()
        done = await self._slurm.run(argv, user=user, stdin=script, env=env)
        if done.returncode == 0:
            return sbatch.parse_estimate(done.stderr)
        error = submit_error(done.stderr)
        if isinstance(error, SubmitRejected):
            return None
        if isinstance(error, SubmitUncertain):
            raise SchedulerUnavailable(error.message)
        raise error

    async def read_output(
        self, job: BatchJob, path: str, *, max_bytes: int = 16_384
    ) -> str:
        """Return the end of a file with the user's own rights; ``""`` if unreadable.

        ``path`` may hold the patterns of :class:`~..models.JobSpec`'s ``output``.
        """
        where = sbatch.output_path(path, job)
        try:
            tail = await self._slurm.read_tail(where, job.user, max_bytes)
        except NotPermitted as error:
            log.info("The output of job %s is not readable: %s", job.id, error)
            return ""
        return tail.decode(errors="replace")

    async def close(self) -> None:
        """Nothing is held open here; the runner's owner closes the runner."""


def _uncertain(error: SchedulerUnavailable) -> SubmitUncertain:
    if isinstance(error, SubmitUncertain):
        return error
    return SubmitUncertain(error.message, hint="The job is looked for by its name.")
