"""What Slurm's commands print about jobs, as values. Pure functions, no I/O.

Recorded samples: Slurm 22.05.8, ``tests/spawners/batch/recorded``. Every parser
takes the bytes of standard output and either understands all of them or raises
:class:`SchedulerUnavailable`: half an answer is no answer, and a line that does not
fit makes the whole reading bad, never a job ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .errors import SchedulerUnavailable
from .models import JobState, JobStatus
from .slurm_hosts import expand_hosts

MAX_OUTPUT = 32 * 1024**2
"""Bytes of an answer; more is no listing (200,000 jobs have about 25 MiB)."""

_TIME = r"[0-9]{1,11}|N/A|NONE|None|Unknown"
_ID = r"[0-9]{1,10}(?:_[0-9]{1,7}|_\[[0-9,%:-]+(?:\.\.\.)?\]|\+[0-9]{1,4})?"
_HOSTS = r"[A-Za-z0-9_.,\[\]-]*|\(null\)|n/a|None assigned"
_WORDS = {"": JobState.UNKNOWN} | {state.value: state for state in JobState}
# States of ours that Slurm has no word for; if it prints them, it is another thing.
_OURS = (JobState.LOST, JobState.UNKNOWN)

_LISTED = re.compile(
    rf"(?P<id>{_ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{_TIME})\|"
    rf"(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{_HOSTS})\|(?P<start>{_TIME})\|"
    rf"(?P<end>{_TIME})\|(?P<priority>[0-9]{{1,20}})\|(?P<partition>[^|]*)\|"
    rf"(?P<restarts>[0-9]{{1,10}})\|(?P<exit>[0-9]{{1,10}}(?::[0-9]{{1,5}})?)\|"
    r"(?P<reason>[^\n]*)\|"
)
_NAMED = re.compile(
    rf"(?P<id>{_ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<user>[^|\s]{{1,256}})\|"
    rf"(?P<submitted>{_TIME})\|(?P<state>[A-Z_]{{1,40}})\|(?P<hosts>{_HOSTS})\|"
)
_ACCOUNTED = re.compile(
    rf"(?P<id>{_ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{_TIME})\|"
    rf"(?P<start>{_TIME})\|(?P<end>{_TIME})\|(?P<state>[A-Z_]{{1,40}})(?: by [0-9]+)?\|"
    rf"(?P<exit>[0-9]{{1,10}}:[0-9]{{1,5}})\|(?P<hosts>{_HOSTS})"
)
_SUBMITTED = re.compile(rb"([0-9]{1,10})(?:;([A-Za-z0-9_.-]{1,64}))?\n\Z")
_ESTIMATE = re.compile(rb"Job [0-9]+ to start at ([0-9]{1,11}) using ")
_SETTING = re.compile(r"([A-Za-z_]+(?:\[[0-9]+\])?) *= ?(.*)")

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


def lines_of(output: bytes) -> list[str]:
    """Split an answer into lines.

    Raises:
        SchedulerUnavailable: too long, cut off, or not text.
    """
    if len(output) > MAX_OUTPUT:
        raise _odd("is too long")
    if not output:
        return []
    if not output.endswith(b"\n"):
        raise _odd("is cut off")
    if b"\0" in output:
        raise _odd("is not text")
    try:
        return output.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _odd("is not text") from error


def parse_listing(output: bytes, *, cluster: str = "") -> dict[str, ListedJob]:
    """Read ``squeue --Format`` with ``LISTING_FIELDS``; jobs by their id.

    Raises:
        SchedulerUnavailable: a line does not fit, or an id comes twice.
    """
    jobs: dict[str, ListedJob] = {}
    for found in _matches(_LISTED, output, cluster):
        job = ListedJob(
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
        if job.id in jobs:
            raise _odd(f"names job {job.id} twice")
        jobs[job.id] = job
    return jobs


def parse_named(output: bytes, *, cluster: str = "") -> list[NamedJob]:
    """Read ``squeue --name --Format`` with ``NAMED_FIELDS``."""
    return [
        NamedJob(
            id=found["id"],
            uid=int(found["uid"]),
            user=found["user"],
            submitted=_time(found["submitted"]),
            refused=found["state"] == "FAILED" and not expand_hosts(found["hosts"]),
        )
        for found in _matches(_NAMED, output, cluster)
    ]


def parse_accounting(output: bytes, read_at: datetime) -> list[AccountedJob]:
    """Read ``sacct --parsable2`` with ``ACCOUNTING_FIELDS``, oldest row first."""
    rows = [
        _accounted(found, read_at) for found in _matches(_ACCOUNTED, output, cluster="")
    ]
    long_ago = datetime.fromtimestamp(0, UTC)
    return sorted(rows, key=lambda row: row.submitted or long_ago)


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


def queue_places(listing: Mapping[str, ListedJob]) -> dict[str, int]:
    """Return the place of each waiting job in its partition, 1 for the next.

    By priority, then by age. Jobs that wait for something else than resources
    (held, a date, another job, a limit of their user) have no place and take none.
    In several partitions, a job's best place counts.
    """
    lines: dict[str, list[ListedJob]] = {}
    for job in listing.values():
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
        raise _odd("to a submission is not an id")
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
        raise _odd(f"about the configuration lacks {error}") from error
    return SlurmConfig(
        version=version,
        cluster=cluster,
        hides_jobs="jobs" in settings.get("PrivateData", "").split(","),
        accounting=storage not in ("", "(null)", "accounting_storage/none"),
        enforces=frozenset(settings.get("AccountingStorageEnforce", "").split(",")),
    )


def _matches(
    pattern: re.Pattern[str], output: bytes, cluster: str
) -> Iterator[re.Match[str]]:
    for number, line in enumerate(lines_of(output)):
        if number == 0 and cluster and line == f"CLUSTER: {cluster}":
            continue
        found = pattern.fullmatch(line)
        if found is None:
            raise _odd(f"has a line {number + 1} that does not fit")
        yield found


def _state(word: str) -> JobState:
    state = _WORDS.get(word, JobState.UNKNOWN)
    return JobState.UNKNOWN if state in _OURS else state


def _time(text: str) -> datetime | None:
    # 0 is how Slurm says "never"; beyond the year 5138 is no time at all.
    if not text.isdigit() or int(text) == 0:
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


def _odd(what: str) -> SchedulerUnavailable:
    return SchedulerUnavailable(f"Slurm's answer {what}.", hint="It is asked again.")
