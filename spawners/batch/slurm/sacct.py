"""What ``sacct`` is asked, and what it prints about jobs, as values. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from ..models import BatchJob, JobState, JobStatus, submitted_name
from .lines import ID, Odd, judge
from .notation import (
    HOSTS,
    TIME,
    array_of,
    clusters_option,
    expand_hosts,
    state_of,
    time_of,
)

ACCOUNTING_FIELDS = (
    "JobID",
    "UID",
    "Submit",
    "Start",
    "End",
    "State",
    "ExitCode",
    "NodeList",
)

_SACCT = (
    "sacct",
    "--allocations",
    "--noheader",
    "--parsable2",
    "--duplicates",
    "--allusers",
    f"--format={','.join(ACCOUNTING_FIELDS)}",
)
_ACCOUNTED = re.compile(
    rf"(?P<id>{ID})\|(?P<uid>[0-9]{{1,10}})\|(?P<submitted>{TIME})\|"
    rf"(?P<start>{TIME})\|(?P<end>{TIME})\|(?P<state>[A-Z_]{{1,40}})(?: by [0-9]+)?\|"
    rf"(?P<exit>[0-9]{{1,10}}:[0-9]{{1,5}})\|(?P<hosts>{HOSTS})"
)


def accounting_argv(jobs: Collection[BatchJob], *, cluster: str = "") -> list[str]:
    """Return the command that reads what the accounting knows of ``jobs``.

    The names are a filter and never printed. ``--duplicates`` gives every row of
    an id, since ids come back and requeued jobs get a second row. Of tasks the whole
    array is asked for: those that never started have no row of their own.

    Raises:
        ValueError: no job, which sacct would take for "all jobs".
    """
    ids = sorted({array_of(job) for job in jobs})
    if not ids:
        raise ValueError("sacct without an id lists every job")
    names = ",".join(sorted({submitted_name(job.name) for job in jobs}))
    return [
        *_SACCT,
        f"--jobs={','.join(ids)}",
        f"--name={names}",
        *clusters_option(cluster),
    ]


def accounting_by_name_argv(name: str, *, user: str) -> list[str]:
    """Return the command that looks for a name of the last seven days."""
    since = "--starttime=now-7days"
    return [*_SACCT, f"--name={submitted_name(name)}", f"--user={user}", since]


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
    state = state_of(found["state"])
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
        started=time_of(found["start"]) if nodes else None,
        ended=time_of(found["end"]) if state.ended else None,
        read_at=read_at,
    )
    uid, submitted = int(found["uid"]), time_of(found["submitted"])
    return AccountedJob(found["id"], uid, submitted, status, refused)
