"""One start of a notebook server: two clocks, and a log that outlives it.

Time in the queue is not start-up time: the first clock (often none at all) runs
until the job holds its node, the second from there until its server answers.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from spawners.batch.errors import SchedulerUnavailable
from spawners.batch.explain.failure import Failure
from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.record import Address, JobEvent, JobRecord
from spawners.batch.models import JobState
from spawners.common.errors import DatabaseUnavailable
from spawners.common.text import duration_in_words

from .errors import StartFailed

# On a node, but nothing of ours can run there yet, or not at present.
_NOT_LAUNCHING = frozenset(
    {JobState.CONFIGURING, JobState.SUSPENDED, JobState.STOPPED, JobState.SIGNALING}
)
_UNREADABLE_SECONDS = 1.0
# How full JupyterHub's own progress bar is after an event of this kind.
_PROGRESS = {
    "submitted": 10,
    "queued": 20,
    "allocated": 50,
    "starting": 60,
    "running": 60,
    "server": 80,
    "ready": 90,
    "failed": 100,
    "ended": 100,
    "cancelled": 100,
}
FINAL_KINDS = frozenset({"ready", "failed", "ended", "cancelled"})
"""Kinds of events after which a start tells nothing more."""


PUT_BACK = Failure(
    "Put back into the queue",
    "The scheduler took the running job off its node, and would start it again later "
    "without what was open in it.",
    "Files that were saved are kept. Start again.",
)
"""Why a server ends whose job was requeued: its memory has gone, its port as well."""


def owner_key(user_name: str, server_name: str) -> str:
    """Return the batch core's key for a server: ``server:alice/named``."""
    return f"server:{user_name}/{server_name}"


class ServerHost(Protocol):
    """What a spawner needs of the hub that it lives in.

    Attributes:
        jobs: the batch core.
        tls: for asking servers: trusts the jobs CA, presents the hub's certificate.
        closing: True once the hub goes down: jobs must then be left alone.
    """

    jobs: JobsApi
    tls: ssl.SSLContext
    closing: bool

    @property
    def api_url(self) -> str:
        """The hub's API as jobs reach it, without a slash at the end."""

    def account_of(self, user_name: str) -> str:
        """Return the account that a user's jobs run as.

        Raises:
            NotPermitted: this user can have no jobs.
        """

    def home_of(self, user_name: str) -> str | None:
        """Return the user's home where it is not that of the jobs' account.

        Raises:
            NotPermitted: this user can have no jobs.
        """

    def workdir_of(self, user_name: str) -> str:
        """Return the directory that a user's jobs start in."""

    def output_of(self, user_name: str, server_name: str) -> str | None:
        """Return the path of the job's output file, or ``None`` for none."""

    def kernel_config(
        self, user_name: str, groups: Collection[str], *, admin: bool
    ) -> str | None:
        """Return what the user's servers are told of kernels as jobs, if anything."""

    def agent_command(self) -> tuple[str, ...]:
        """Return what runs the agent in a job, as argv; holds no secrets."""

    def cancel(self, job_name: str) -> Awaitable[None]:
        """Have a job ended, whatever happens to the caller; also one not yet written.

        That is recorded in the background, and tried again while it cannot be.
        """

    async def fail(self, job_name: str, failure: Failure) -> None:
        """Store why a start failed whose job lives, and end that job."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long a start may take.

    Attributes:
        queue: from the submission to a node, ``None`` for as long as it takes.
        launch: from a node to a server that answers.
    """

    queue: timedelta | None
    launch: timedelta


def _launching(record: JobRecord) -> bool:
    state = record.status.state
    return state.on_nodes and state not in _NOT_LAUNCHING


async def _wait(
    jobs: JobsApi,
    name: str,
    until: Callable[[JobRecord], bool],
    limit: timedelta | None,
) -> JobRecord | None:
    """Return the record once ``until`` holds, ``None`` when the time is up."""
    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None):
            return await jobs.wait(name, until)
    except TimeoutError:
        return None


async def wait_ready(jobs: JobsApi, name: str, clocks: Clocks) -> Address:
    """Wait until the job has reported where its server answers.

    A job that the scheduler put back into the queue waits there anew.

    Raises:
        StartFailed: the job ended, or one of the clocks ran out.
    """
    while True:
        record = await _wait(
            jobs, name, lambda r: r.settled or _launching(r), clocks.queue
        )
        if record is None:
            waited = duration_in_words(clocks.queue or timedelta())
            raise StartFailed.timed_out(
                "Still in the queue",
                f"The job got no node within {waited}, so it was taken back.",
                "Ask for less, for another partition, or try again later.",
            )
        if not record.settled:
            record = await _wait(
                jobs, name, lambda r: r.settled or not _launching(r), clocks.launch
            )
        if record is None:
            raise StartFailed.timed_out(
                "The server did not come up",
                f"The job runs, but no server reported within "
                f"{duration_in_words(clocks.launch)}.",
                "If this happens again, tell the site's operators: the node may not "
                "reach the gateway.",
            )
        if not record.wanted:
            raise StartFailed.from_record(record)
        if record.address is not None:
            return record.address


def server_is_over(record: JobRecord) -> bool:
    """Tell whether a server that was ready is so no more: ended, or requeued."""
    return not record.live or record.put_back


async def ends_within(jobs: JobsApi, name: str, limit: timedelta) -> bool:
    """Tell whether the job was seen to end within ``limit``; True if unknown."""
    record = jobs.get(name)
    if record is None or not record.live:
        return True
    if not limit:
        return False
    return await _wait(jobs, name, lambda r: not r.live, limit) is not None


def progress_event(event: JobEvent, record: JobRecord | None) -> dict[str, Any]:
    """Return one stored event in the shape that JupyterHub's pages read."""
    told: dict[str, Any] = {
        "message": event.message,
        "seq": event.seq,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "data": dict(event.data),
    }
    if event.kind in _PROGRESS:
        told["progress"] = _PROGRESS[event.kind]
    if event.kind == "failed" and record is not None and record.failure is not None:
        failure = record.failure
        told["failure"] = {
            "title": failure.title,
            "detail": failure.detail,
            "hint": failure.hint,
            "log": failure.log,
        }
    return told


async def follow(jobs: JobsApi, owner: str, name: str) -> AsyncIterator[dict[str, Any]]:
    """Yield a start's log from its first line to its end, as it grows.

    While the log cannot be read it waits: that is no end of the start.
    """
    after = 0
    while True:
        current = jobs.current(owner)
        if current is None or current.name != name:
            return
        try:
            events = await jobs.events(owner, after)
        except (SchedulerUnavailable, DatabaseUnavailable):
            await asyncio.sleep(_UNREADABLE_SECONDS)
            continue
        for event in events:
            after = event.seq
            yield progress_event(event, jobs.get(name))
            if event.kind in FINAL_KINDS:
                return
        await jobs.changed(owner, after)
