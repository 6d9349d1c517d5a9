"""Whose line is it? From listings to readings of our jobs. Pure functions.

Ids come back: after a controller's crash, the id of a forgotten job is given to the
next submission, which may be another user's. A line is about a job only if id, uid
and time of submission agree. A requeue sets the time of submission anew (seen on
Slurm 22.05.8); then the job's random name, asked for once more, decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import Enum
from itertools import chain

from ..models import (
    BatchJob,
    JobState,
    JobStatus,
    split_task_name,
    submitted_name,
    task_name,
)
from ..scheduler import ABSENT
from .lines import Odd, number_of
from .notation import expand_numbers
from .sacct import AccountedJob
from .squeue import ListedJob, Listing, NamedJob, queue_places, status_of


class Claim(Enum):
    """How a line with a job's id relates to the job."""

    SAME = "same"
    OTHER = "other"
    DOUBTFUL = "doubtful"


def claim(job: BatchJob, line: ListedJob) -> Claim:
    """Compare a job's identity with a line of the same id."""
    if job.uid is not None and line.uid != job.uid:
        return Claim.OTHER
    if job.submitted is None or line.submitted != job.submitted:
        return Claim.DOUBTFUL
    return Claim.SAME


def line_of(job: BatchJob, listing: Listing) -> ListedJob | None:
    """Return the line with the job's id, and its user's if there are several.

    Tasks of an array that were cancelled before they started have no line of their
    own: the array's, without a task's number, then speaks for them.
    """
    line = _own(job, listing.lines(job.id))
    if line is None and "_" in job.id:
        line = _own(job, listing.lines(job.id.partition("_")[0]))
        if line is not None and line.state is not JobState.CANCELLED:
            return None
    return line


def _own(job: BatchJob, lines: list[ListedJob]) -> ListedJob | None:
    for line in lines:
        if line.uid == job.uid:
            return line
    return lines[0] if lines else None


def odd(jobs: Iterable[BatchJob], listing: Listing) -> set[BatchJob]:
    """Return the jobs that may be among the lines that do not fit.

    A good line of another user's under the same id is about another job: it does
    not speak for ours, and ours may then be the line that cannot be read.
    """
    found: set[BatchJob] = set()
    if not (listing.odd.count or listing.twins):
        return found
    for job in jobs:
        line = line_of(job, listing)
        shown = line is not None and claim(job, line) is not Claim.OTHER
        # Without a uid nothing tells which of several lines is the job's.
        several = job.uid is None and len(listing.lines(job.id)) > 1
        if several or listing.odd.about(job.id, job.uid, shown=shown):
            found.add(job)
    return found


def doubtful(jobs: Iterable[BatchJob], listing: Listing) -> set[BatchJob]:
    """Return the jobs whose line needs a look at its name."""
    lines = ((job, line_of(job, listing)) for job in jobs)
    return {job for job, line in lines if line and claim(job, line) is Claim.DOUBTFUL}


def confirmed(
    jobs: Iterable[BatchJob], listing: Listing, named: Iterable[NamedJob]
) -> set[BatchJob]:
    """Return those of ``jobs`` whose line has their name, user and uid."""
    known = {(line.id, line.user, line.uid) for line in named}
    good = set()
    for job in jobs:
        line = line_of(job, listing)
        if line is not None and (line.id, job.user, line.uid) in known:
            good.add(job)
    return good


def named(
    name: str,
    user: str,
    lines: Iterable[NamedJob | AccountedJob],
    *,
    cluster: str = "",
) -> list[BatchJob]:
    """Return the jobs in the answers to a question for one name and user.

    Args:
        name: of a single job, of a set (all its tasks) or of one task.
        user: whose they are.
        lines: that were asked for by the name as submitted.
        cluster: that was asked.
    """
    wanted, single = split_task_name(name), submitted_name(name)
    jobs = []
    for line in lines:
        for job_id in expand_numbers(line.id):
            index = job_id.partition("_")[2]
            own = task_name(single, int(index)) if index else single
            if wanted is None or own == name:
                submitted = (line.uid, line.submitted)
                jobs.append(BatchJob(job_id, own, user, *submitted, cluster))
    return jobs


def present(
    jobs: Iterable[BatchJob],
    listing: Listing,
    proven: Collection[BatchJob],
    read_at: datetime,
) -> dict[BatchJob, JobStatus]:
    """Return the readings of jobs that the listing has; ``proven`` by their names."""
    lines = {}
    for job in jobs:
        line = line_of(job, listing)
        if line and (job in proven or claim(job, line) is Claim.SAME):
            lines[job] = line
    pending = any(line.state is JobState.PENDING for line in lines.values())
    waits = pending and listing.whole
    places = queue_places(listing) if waits else {}
    return {
        job: status_of(line, read_at, places.get(line.id))
        for job, line in lines.items()
    }


def left_their_arrays(jobs: Collection[BatchJob], listing: Listing) -> set[BatchJob]:
    """Return those of unlisted ``jobs`` whose array is listed without them.

    A task that is cancelled before it starts is gone at once, without a line and
    without a row in the accounting (seen on Slurm 22.05.8).
    """
    numbers = {number_of(job.id) for job in jobs if "_" in job.id}
    if not numbers:
        return set()
    lines = [*listing.jobs.values(), *chain(*listing.twins.values())]
    known = {
        (number, line.uid, line.submitted)
        for line in lines
        if (number := number_of(line.id)) in numbers
    }
    return {
        job
        for job in jobs
        if "_" in job.id
        and job.submitted is not None
        and (number_of(job.id), job.uid, job.submitted) in known
    }


def past(
    jobs: Iterable[BatchJob],
    rows: Iterable[AccountedJob],
    odd: Odd,
    read_at: datetime,
    left: Collection[BatchJob] = (),
) -> dict[BatchJob, JobStatus]:
    """Return what the accounting knows of jobs that are not listed.

    Only an end is evidence. A row that still waits or runs is a ghost of a crash or
    lags behind, and the job is then absent, as without a row. One that may have a
    row that does not fit is unknown.

    Args:
        jobs: which the controller does not list.
        rows: of the accounting, the oldest first.
        odd: its lines that do not fit.
        read_at: when.
        left: :func:`left_their_arrays` of the jobs.
    """
    accounts = _Accounts(rows)
    readings = {}
    for job in jobs:
        if odd.about(job.id, job.uid, shown=False):
            readings[job] = unknown(read_at)
        elif own := accounts.own_rows(job):
            readings[job] = _end(own[-1].status, read_at)
        elif job in left:
            readings[job] = never_started(read_at)
        elif shared := accounts.shared_rows(job):
            readings[job] = _end(shared[-1].status, read_at)
        elif accounts.has_array_without(job):
            readings[job] = never_started(read_at)
        else:
            readings[job] = absent(read_at)
    return readings


class _Accounts:
    """Rows of the accounting by what they are about."""

    def __init__(self, rows: Iterable[AccountedJob]) -> None:
        self._own: dict[str, list[AccountedJob]] = {}
        self._shared: dict[str, list[AccountedJob]] = {}
        self._arrays: dict[str, list[AccountedJob]] = {}
        self._judged: dict[tuple[str, int | None, datetime | None], bool] = {}
        for row in rows:
            self._arrays.setdefault(number_of(row.id), []).append(row)
            if "[" not in row.id:
                self._own.setdefault(row.id, []).append(row)
                continue
            for job_id in expand_numbers(row.id):
                self._shared.setdefault(job_id, []).append(row)

    def own_rows(self, job: BatchJob) -> list[AccountedJob]:
        """Return the rows of a single job, or of a task that started."""
        return [row for row in self._own.get(job.id, ()) if _accounts_for(row, job)]

    def shared_rows(self, job: BatchJob) -> list[AccountedJob]:
        """Return the rows of all tasks that wait, where it is among them."""
        return [row for row in self._shared.get(job.id, ()) if _accounts_for(row, job)]

    def has_array_without(self, job: BatchJob) -> bool:
        """Tell whether a task without a row is missing from an array that has some."""
        if "_" not in job.id:
            return False
        key = (number_of(job.id), job.uid, job.submitted)
        if key not in self._judged:  # once for all tasks of an array
            rows = [r for r in self._arrays.get(key[0], ()) if _accounts_for(r, job)]
            # A long list of tasks that wait is cut off: it may be among them.
            unclear = any("..." in r.id and not r.status.state.ended for r in rows)
            self._judged[key] = bool(rows) and not unclear
        return self._judged[key]


def _end(status: JobStatus, read_at: datetime) -> JobStatus:
    if status.state is JobState.UNKNOWN:  # a word of a release that we do not know
        return unknown(read_at)
    return status if status.state.ended else absent(read_at)


def _accounts_for(row: AccountedJob, job: BatchJob) -> bool:
    """The name was the filter of the query; a requeue's row is younger."""
    if row.refused or (job.uid is not None and row.uid != job.uid):
        return False
    if job.submitted is None:
        return True
    return row.submitted is not None and row.submitted >= job.submitted


def absent(read_at: datetime) -> JobStatus:
    """Return the reading of a job that a good listing does not name."""
    return JobStatus(JobState.UNKNOWN, reason=ABSENT, read_at=read_at)


def never_started(read_at: datetime) -> JobStatus:
    """Return the reading of a task that was taken out of its array while it waited."""
    return JobStatus(JobState.CANCELLED, read_at=read_at)


def unknown(read_at: datetime, reason: str = "") -> JobStatus:
    """Return the reading of a job of which nothing can be said now."""
    return JobStatus(JobState.UNKNOWN, reason=reason, read_at=read_at)
