"""What we remember of a batch job: frozen values, no I/O.

A :class:`JobRecord` is the whole truth about one submission, from the intent
(written before the scheduler hears of it) to its end; :class:`JobEvent` is one
line of its story, told to the user and kept after a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from ..explain.failure import Failure
from ..models import BatchJob, JobState, JobStatus, Resources

#: What an event carries beside its words.
EventData = Mapping[str, str | int | float | None]

#: The status of a job that nobody has read yet.
NOT_READ = JobStatus(JobState.UNKNOWN)


def utc_now() -> datetime:
    """Return the current time, aware, UTC."""
    return datetime.now(UTC)


class Phase(StrEnum):
    """How far a submission has come, as stored.

    ``INTENT``: written down; the scheduler may or may not have it.
    ``SUBMITTED``: the scheduler accepted it and its identity is known.
    ``REFUSED``: it never became a job that we want.
    ``ENDED``: it ended, or the scheduler lost it.
    """

    INTENT = "intent"
    SUBMITTED = "submitted"
    REFUSED = "refused"
    ENDED = "ended"

    @property
    def live(self) -> bool:
        """True while there is, or may be, a job that its owner wants."""
        return self in (Phase.INTENT, Phase.SUBMITTED)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a job's server answers, once the job has reported it.

    Attributes:
        host: name of the node, as the scheduler spells it.
        address: network address that answers for it.
        port: 1024 to 65535.
        fingerprint: SHA-256 of its certificate, lower-case hex, or ``""``.
    """

    host: str
    address: str
    port: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One submission, as stored.

    Attributes:
        name: random token: primary key and job name; ``<name>.landbridge.internal``
            is its certificate's name.
        owner: the adapter's key, ``"server:alice/"``, ``"server:alice/named"``.
        generation: 1, 2, … per owner; only the newest may report ready.
        user: account that it runs as.
        phase: see :class:`Phase`.
        resources: what was asked for.
        facts: the adapter's public facts (profile key, …).
        output: path of the job's output file, for the log lines of a failure.
        job: identity, from right after the submission.
        status: the last reading that could be trusted; ``UNKNOWN`` before any.
        status_is_current: False when the last query failed or was odd, so that
            ``status`` is the last good one.
        address: where its server answers, once it reported ready.
        cancel_wanted: since when somebody wants its end, or ``None``.
        failure: set when it ended without being asked to, or was refused.
        search_until: until when it is looked whether its job comes after all or comes
            back, as late twins and jobs of crashed controllers do; or ``None``.
        created, updated: aware UTC.
    """

    name: str
    owner: str
    generation: int
    user: str
    phase: Phase
    resources: Resources
    created: datetime
    updated: datetime
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    output: str | None = None
    job: BatchJob | None = None
    status: JobStatus = NOT_READ
    status_is_current: bool = False
    address: Address | None = None
    cancel_wanted: datetime | None = None
    failure: Failure | None = None
    search_until: datetime | None = None

    @property
    def live(self) -> bool:
        """True while there is, or may be, a job that its owner wants."""
        return self.phase.live

    @property
    def needs_polling(self) -> bool:
        """True while the scheduler has to be asked about its job.

        Also for a late twin: a job under a record that was already given up.
        """
        if self.job is None or self.status.state.ended:
            return False
        return self.phase is Phase.SUBMITTED or self.cancel_wanted is not None

    @property
    def in_grace_period(self) -> bool:
        """True for some time after its end was read: a crash may take that back."""
        state = self.status.state
        over = self.job is not None and state.ended and state is not JobState.LOST
        return over and self.search_until is not None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of a job's story.

    Attributes:
        name: the record it belongs to.
        seq: 1, 2, … per record.
        at: aware UTC.
        kind: ``"submitted"``, ``"queued"``, ``"allocated"``, ``"starting"``,
            ``"running"``, ``"ready"``, ``"suspended"``, ``"requeued"``,
            ``"warning"``, ``"cancelling"``, ``"ending"``, ``"ended"``, ``"failed"``,
            ``"cancelled"``, or an adapter's own.
        message: plain words.
        data: facts for programs.
    """

    name: str
    seq: int
    at: datetime
    kind: str
    message: str
    data: EventData = field(default_factory=lambda: MappingProxyType({}))
