"""What Slurm's commands print about jobs, as values. Pure functions, no I/O.

Recorded samples: Slurm 22.05.8, ``tests/spawners/batch/recorded``. Every parser
takes the bytes of standard output. An answer that is cut off or no listing at all
raises :class:`SchedulerUnavailable`; within a listing each line is judged by itself
(:mod:`slurm_lines`), and one that does not fit never ends a job.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..models import JobState, JobStatus
from .lines import ID, MAX_OUTPUT, TEXT, Odd, judge, lines_of, odd_answer
from .notation import expand_hosts

_TIME = r"[0-9]{1,20}|N/A|NONE|None|Unknown"
_HOSTS = r"[A-Za-z0-9_.,\[\]-]*|\(null\)|n/a|None assigned"
_WORDS = {"": JobState.UNKNOWN} | {state.value: state for state in JobState}
# States of ours that Slurm has no word for; if it prints them, it is another thing.
_OURS = (JobState.LOST, JobState.UNKNOWN)

_LISTED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{_TIME})\|"
    rf"(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{_HOSTS})\|(?P<start>{_TIME})\|"
    rf"(?P<end>{_TIME})\|(?P<priority>[0-9]{{1,20}})\|(?P<partition>[^|\0\ud800-\udfff]*)\|"
    rf"(?P<restarts>[0-9]{{1,10}})\|(?P<exit>[0-9]{{1,10}}(?::[0-9]{{1,5}})?)\|"
    rf"(?P<reason>{TEXT})\|"
)
_NAMED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<user>[^|\s\0\ud800-\udfff]{{1,256}})\|"
    rf"(?P<submitted>{_TIME})\|(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{_HOSTS})\|"
)
_ACCOUNTED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{_TIME})\|"
    rf"(?P<start>{_TIME})\|(?P<end>{_TIME})\|(?P<state>[A-Z_]{{1,40}})(?: by [0-9]+)?\|"
    rf"(?P<exit>[0-9]{{1,10}}:[0-9]{{1,5}})\|(?P<hosts>{_HOSTS})"
)
_LAST_SECOND = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 86_400
_SUBMITTED = re.compile(rb"([0-9]{1,10})(?:;([A-Za-z0-9_.-]{1,64}))?\n\Z")
_ESTIMATE = re.compile(rb"Job [0-9]+ to start at ([0-9]{1,20}) using ")
_SETTING = re.compile(rf"([A-Za-z_]+(?:\[[0-9]+\])?) *= ?({TEXT})")

# Reasons of jobs that wait for resources, and for nothing else: only these are ahead
# of others. The last two are the beginnings of prose about nodes.
_IN_LINE = ("None", "Priority", "Resources", "Nodes required", "ReqNodeNotAvail")


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


@dataclass(frozen=True, slots=True)
class AccountedJob:
    """One row of the accounting; an id may have several.

    ``refused`` marks the trace of a submission that was turned down: FAILED at the
    moment of submission, on no node.
    """

    id: str
    uid: int
    submitted: datetime | None
    status: JobStatus
    refused: bool


@dataclass(frozen=True, slots=True)
class SlurmConfig:
    """What matters here of ``scontrol show config``.

    Attributes:
        version, cluster: of the controller.
        hides_jobs: users see their own jobs only (``PrivateData=jobs``).
        accounting: there is an accounting to ask about the past.
        enforces: words of ``AccountingStorageEnforce``.
    """

    version: str
    cluster: str
    hides_jobs: bool
    accounting: bool
    enforces: frozenset[str]

    @property
    def enforces_accounts(self) -> bool:
        """True if a job without an association is refused."""
        return bool(self.enforces & {"associations", "limits", "qos", "safe", "all"})


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
        submitted=_time(found["submitted"]),
        state=_state(found["state"]),
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
            submitted=_time(line["submitted"]),
            refused=line["state"] == "FAILED" and not expand_hosts(line["hosts"]),
        )
        for line in found
    ]
    return jobs, odd


def parse_accounting(
    output: bytes, read_at: datetime
) -> tuple[list[AccountedJob], Odd]:
    """Read ``sacct --parsable2`` with ``ACCOUNTING_FIELDS``, oldest row first.

    Raises:
        SchedulerUnavailable: it is no listing, or its end is missing.
    """
    found, odd = judge(_ACCOUNTED, output)
    rows = [_accounted(line, read_at) for line in found]
    long_ago = datetime.fromtimestamp(0, UTC)
    return sorted(rows, key=lambda row: row.submitted or long_ago), odd


def _accounted(found: re.Match[str], read_at: datetime) -> AccountedJob:
    nodes = expand_hosts(found["hosts"])
    state = _state(found["state"])
    refused = (
        state is JobState.FAILED
        and not nodes
        and found["exit"] == "1:0"
        and found["start"] == found["end"]
    )
    code, _, signal = found["exit"].partition(":")
    status = JobStatus(
        state=state,
        exit_code=int(code) if state.ended else None,
        signal=int(signal) or None if state.ended else None,
        nodes=nodes,
        started=_time(found["start"]) if nodes else None,
        ended=_time(found["end"]) if state.ended else None,
        read_at=read_at,
    )
    uid, submitted = int(found["uid"]), _time(found["submitted"])
    return AccountedJob(found["id"], uid, submitted, status, refused)


def status_of(job: ListedJob, read_at: datetime, place: int | None = None) -> JobStatus:
    """Return the reading that a line gives of its job."""
    nodes = expand_hosts(job.hosts)
    code, signal = _exit(job.exit) if job.state.ended and nodes else (None, None)
    start, end = _time(job.start), _time(job.end)
    return JobStatus(
        state=job.state,
        reason="" if job.reason == "None" else job.reason,
        exit_code=code,
        signal=signal,
        nodes=nodes,
        queue_place=place,
        estimated_start=_guess(start) if job.state.queued else None,
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


def parse_submitted(output: bytes) -> tuple[str, str]:
    """Read ``sbatch --parsable``; id and cluster (``""`` if not told)."""
    found = _SUBMITTED.match(output)
    if found is None:
        raise odd_answer("to a submission is not an id")
    return found[1].decode(), (found[2] or b"").decode()


def parse_estimate(stderr: bytes) -> datetime | None:
    """Read ``sbatch --test-only``, which answers on stderr; ``None``: no guess."""
    found = _ESTIMATE.search(stderr[:MAX_OUTPUT])
    return _guess(_time(found[1].decode())) if found else None


def _guess(start: datetime | None) -> datetime | None:
    """Behind a job without a time limit Slurm guesses the next century."""
    far = datetime.now(UTC) + timedelta(days=366)
    return start if start and start < far else None


def parse_config(output: bytes) -> SlurmConfig:
    """Read ``scontrol show config``."""
    settings: dict[str, str] = {}
    for line in lines_of(output):
        if found := _SETTING.fullmatch(line):
            settings.setdefault(found[1], found[2].strip())
    try:
        cluster, version = settings["ClusterName"], settings["SLURM_VERSION"]
        storage = settings["AccountingStorageType"]
    except KeyError as error:
        raise odd_answer(f"about the configuration lacks {error}") from error
    return SlurmConfig(
        version=version,
        cluster=cluster,
        hides_jobs="jobs" in settings.get("PrivateData", "").split(","),
        accounting=storage not in ("", "(null)", "accounting_storage/none"),
        enforces=frozenset(settings.get("AccountingStorageEnforce", "").split(",")),
    )


def _state(word: str) -> JobState:
    state = _WORDS.get(word, JobState.UNKNOWN)
    return JobState.UNKNOWN if state in _OURS else state


def _time(text: str) -> datetime | None:
    # 0 is how Slurm says "never", and beyond the year 9999 is no date at all.
    if not text.isdigit() or not 0 < int(text) <= _LAST_SECOND:
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _exit(text: str) -> tuple[int, int | None]:
    """Decode an end: squeue prints the raw wait status, 768 for exit code 3.

    ``3:0``, as sacct has it, is read as well.
    """
    code, colon, signal = text.partition(":")
    if colon:
        return int(code), int(signal) or None
    return int(code) >> 8, int(code) & 0x7F or None
