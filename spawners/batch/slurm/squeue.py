"""What ``squeue`` is asked, and what it prints about jobs, as values. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..models import BatchJob, JobState, JobStatus, submitted_name
from .lines import ID, TEXT, Odd, judge
from .notation import (
    HOSTS,
    TIME,
    array_of,
    clusters_option,
    exit_of,
    expand_hosts,
    future_time,
    state_of,
    suffixed,
    time_of,
)

#: Fields of a listing of everybody's jobs. None of them is text that a user wrote
#: (no name, comment or path): a newline in a job's name forges a line about
#: somebody else's job. The reason is prose in some states and therefore the last.
LISTING_FIELDS = (
    "JobArrayID",
    "UserID",
    "SubmitTime",
    "State",
    "NodeList",
    "StartTime",
    "EndTime",
    "PriorityLong",
    "Partition",
    "RestartCnt",
    "exit_code",
    "Reason",
)

#: Fields of a look-up by name. ``UserName`` is an account's name, not free text.
NAMED_FIELDS = ("JobArrayID", "UserID", "UserName", "SubmitTime", "State", "NodeList")

_LISTED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{TIME})\|"
    rf"(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{HOSTS})\|(?P<start>{TIME})\|"
    rf"(?P<end>{TIME})\|(?P<priority>[0-9]{{1,20}})\|(?P<partition>[^|\0\ud800-\udfff]*)\|"
    rf"(?P<restarts>[0-9]{{1,10}})\|(?P<exit>[0-9]{{1,10}}(?::[0-9]{{1,5}})?)\|"
    rf"(?P<reason>{TEXT})\|"
)
_NAMED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<user>[^|\s\0\ud800-\udfff]{{1,256}})\|"
    rf"(?P<submitted>{TIME})\|(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{HOSTS})\|"
)
# Reasons of jobs that wait for resources, and for nothing else: only these are ahead
# of others. The last two are the beginnings of prose about nodes.
_IN_LINE = ("None", "Priority", "Resources", "Nodes required", "ReqNodeNotAvail")


def listing_argv(*, cluster: str = "") -> list[str]:
    """Return the command that lists all jobs, ended ones too, arrays expanded.

    ``--all`` includes partitions that are hidden from this account.
    """
    return [*_squeue(LISTING_FIELDS), *clusters_option(cluster)]


def named_argv(names: Iterable[str], *, user: str = "", cluster: str = "") -> list[str]:
    """Return the command that lists jobs by name; for a task's name, its whole set."""
    known = sorted({submitted_name(name) for name in names})
    argv = [*_squeue(NAMED_FIELDS), f"--name={','.join(known)}"]
    if user:
        argv.append(f"--user={user}")
    return [*argv, *clusters_option(cluster)]


def some_jobs_argv(jobs: Collection[BatchJob], *, cluster: str = "") -> list[str]:
    """Return the command that lists these jobs, and the arrays that tasks belong to.

    For one job or array it is the controller's cheapest query.
    """
    ids = ",".join(sorted({array_of(job) for job in jobs}))
    return [*_squeue(LISTING_FIELDS), f"--jobs={ids}", *clusters_option(cluster)]


def _squeue(fields: Sequence[str]) -> list[str]:
    listing = ["squeue", "--noheader", "--all", "--array", "--states=all"]
    return [*listing, f"--Format={suffixed(fields)}"]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One line of a listing.

    Attributes:
        id: as ``squeue --array`` prints it: ``"3"``, ``"3_1"``, ``"37+0"``.
        uid: who it runs as.
        submitted: when the controller took it; a requeue sets it anew.
        state, reason, hosts, start, end, exit: as printed.
        priority: higher starts earlier.
        partitions: where it may run.
        restarts: how often it was requeued.
    """

    id: str
    uid: int
    submitted: datetime | None
    state: JobState
    hosts: str
    start: str
    end: str
    priority: int
    partitions: tuple[str, ...]
    restarts: int
    exit: str
    reason: str

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key: who comes first has the smaller one."""
        base, _, task = self.id.partition("_")
        number = int(base.partition("+")[0])
        return (-self.priority, number, int(task) if task.isdigit() else 0)


@dataclass(frozen=True, slots=True)
class Listing:
    """All jobs that a listing shows.

    Attributes:
        jobs: by id.
        twins: further lines of an id, of other users than the first.
        odd: lines that do not fit, and lines that one user's job has twice.
        whole: it was asked for all jobs, so that places in line can be counted.
    """

    jobs: Mapping[str, ListedJob]
    twins: Mapping[str, list[ListedJob]]
    odd: Odd
    whole: bool = True

    def lines(self, job_id: str) -> list[ListedJob]:
        """Return the lines of an id: none, one, or one of each user."""
        first = self.jobs.get(job_id)
        return [] if first is None else [first, *self.twins.get(job_id, ())]


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job found by its name; ``refused`` if the controller never accepted it."""

    id: str
    uid: int
    user: str
    submitted: datetime | None
    refused: bool


def parse_listing(output: bytes, *, cluster: str = "") -> Listing:
    """Read ``squeue --Format`` with ``LISTING_FIELDS``.

    Raises:
        SchedulerUnavailable: it is no listing, or its end is missing.
    """
    found, odd = judge(_LISTED, output, cluster=cluster)
    jobs: dict[str, ListedJob] = {}
    twins: dict[str, list[ListedJob]] = {}
    for line in found:
        job = _listed(line)
        first = jobs.setdefault(job.id, job)
        if first is job:
            continue
        others = twins.setdefault(job.id, [])
        if any(other.uid == job.uid for other in (first, *others)):
            odd.add(job.id, job.uid)  # one of them is forged, and which is not told
        else:
            others.append(job)
    return Listing(jobs, twins, odd)


def _listed(found: re.Match[str]) -> ListedJob:
    return ListedJob(
        id=found["id"],
        uid=int(found["uid"]),
        submitted=time_of(found["submitted"]),
        state=state_of(found["state"]),
        hosts=found["hosts"],
        start=found["start"],
        end=found["end"],
        priority=int(found["priority"]),
        partitions=tuple(found["partition"].split(",")),
        restarts=int(found["restarts"]),
        exit=found["exit"],
        reason=found["reason"],
    )


def parse_named(output: bytes, *, cluster: str = "") -> tuple[list[NamedJob], Odd]:
    """Read ``squeue --name --Format`` with ``NAMED_FIELDS``; what fits, what not.

    Raises:
        SchedulerUnavailable: it is no listing, or its end is missing.
    """
    found, odd = judge(_NAMED, output, cluster=cluster)
    jobs = [
        NamedJob(
            id=line["id"],
            uid=int(line["uid"]),
            user=line["user"],
            submitted=time_of(line["submitted"]),
            refused=line["state"] == "FAILED" and not expand_hosts(line["hosts"]),
        )
        for line in found
    ]
    return jobs, odd


def status_of(job: ListedJob, read_at: datetime, place: int | None = None) -> JobStatus:
    """Return the reading that a line gives of its job."""
    nodes = expand_hosts(job.hosts)
    code, signal = exit_of(job.exit) if job.state.ended and nodes else (None, None)
    start, end = time_of(job.start), time_of(job.end)
    return JobStatus(
        state=job.state,
        reason="" if job.reason == "None" else job.reason,
        exit_code=code,
        signal=signal,
        nodes=nodes,
        queue_place=place,
        estimated_start=future_time(start) if job.state.queued else None,
        started=start if nodes and not job.state.queued else None,
        ends=end if job.state.on_nodes else None,
        ended=end if job.state.ended else None,
        restarts=job.restarts,
        read_at=read_at,
    )


def queue_places(listing: Listing) -> dict[str, int]:
    """Return the place of each waiting job in its partition, 1 for the next.

    By priority, then by age. Jobs that wait for something else than resources
    (held, a date, another job, a limit of their user) have no place and take none.
    In several partitions, a job's best place counts.
    """
    lines: dict[str, list[ListedJob]] = {}
    for job in listing.jobs.values():
        waits = job.state is JobState.PENDING and job.reason.startswith(_IN_LINE)
        if waits and job.priority > 0:
            for partition in job.partitions:
                lines.setdefault(partition, []).append(job)
    places: dict[str, int] = {}
    for line in lines.values():
        line.sort(key=lambda job: job.order)
        for place, job in enumerate(line, start=1):
            places[job.id] = min(place, places.get(job.id, place))
    return places
