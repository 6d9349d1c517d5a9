"""What we remember of a batch job, and how that may change: pure values, no I/O.

A :class:`JobRecord` is the whole truth about one submission, from the intent
(written before the scheduler hears of it) to its end; :class:`JobEvent` is one
line of its story, told to the user and kept after a failure.

A record changes by its transitions and in no other way: methods that return a
:class:`Transition`, the next record and what is told of it, or raise
:class:`IllegalTransition`. What state a record is in is said by its properties, here
and nowhere else; :attr:`JobRecord.situation` is what the core has to do with it,
:attr:`JobRecord.stage` what a person sees. What is done next about a record is said in
:mod:`spawners.batch.jobs.reconciler.steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum, auto
from operator import attrgetter
from types import MappingProxyType
from typing import Any  # a changed field is checked by the dataclass

from ..errors import BatchError
from ..explain.failure import Failure
from ..explain.vocabulary import JOB, Vocabulary
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


class Retain(StrEnum):
    """What is kept of an owner's jobs once they are over.

    ``NEWEST``: the newest record, and earlier ones for some weeks. ``NONE``: nothing,
    once nobody can take the end back; for owners that are used once.
    """

    NEWEST = "newest"
    NONE = "none"


class Situation(StrEnum):
    """What the core has to do with a record: each record is in exactly one.

    ``INTENT``: nobody knows yet whether there is a job.
    ``POLLED``: its job is read with every listing.
    ``CANCELLING``: likewise, and its end is asked for until it was read.
    ``GRACE``: its end was read; a controller that crashes may take that back.
    ``SEARCHED``: given up or lost; its job may still come, and is searched by name.
    ``DUPLICATE``: given up or ended, and there is a job nevertheless, to be ended.
    ``CLOSED``: nothing is to be done any more.
    """

    INTENT = "intent"
    POLLED = "polled"
    CANCELLING = "cancelling"
    GRACE = "grace"
    SEARCHED = "searched"
    DUPLICATE = "duplicate"
    CLOSED = "closed"


class Stage(StrEnum):
    """One word for how far a job has come, for its owner.

    ``STARTING`` is on a node without having reported ready; ``STOPPING`` is an end
    that was asked for and not confirmed; ``FAILED`` was refused, or ended without
    being asked to.
    """

    SUBMITTING = "submitting"
    QUEUED = "queued"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"
    STOPPED = "stopped"


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
class Line:
    """An event to be: what happened, in plain words."""

    kind: str
    message: str
    data: EventData = field(default_factory=lambda: MappingProxyType({}))
    key: str = ""


class Weight(Enum):
    """Who has to know of a transition.

    ``SILENT``: nobody; the time of a reading, say. ``PASSING``: who waits for the
    record; what changes with every listing is not stored. ``LASTING``: the store too.
    """

    SILENT = auto()
    PASSING = auto()
    LASTING = auto()


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
            back, as late duplicates and jobs of crashed controllers do; or ``None``.
        vocabulary: how people call what runs in it.
        retain: what is kept of it once it is over.
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
    vocabulary: Vocabulary = JOB
    retain: Retain = Retain.NEWEST

    # What state it is in

    @property
    def live(self) -> bool:
        """True while there is, or may be, a job that its owner wants."""
        return self.phase.live

    @property
    def wanted(self) -> bool:
        """True while it is live and nobody has asked for its end."""
        return self.live and self.cancel_wanted is None

    @property
    def needs_polling(self) -> bool:
        """True while the scheduler has to be asked about its job.

        Also for a late duplicate: a job under a record that was already given up.
        """
        if self.job is None or self.status.state.ended:
            return False
        return self.phase is Phase.SUBMITTED or self.cancel_wanted is not None

    @property
    def can_be_cancelled(self) -> bool:
        """True while there is, or may be, a job to end."""
        return self.live or self.needs_polling

    @property
    def in_grace_period(self) -> bool:
        """True for some time after its end was read: a crash may take that back."""
        state = self.status.state
        over = self.job is not None and state.ended and state is not JobState.LOST
        return over and not self.live and self.search_until is not None

    @property
    def is_given_up(self) -> bool:
        """True for a closed record whose job may be there nevertheless."""
        lost = self.status.state is JobState.LOST
        return not self.can_be_cancelled and (self.job is None or lost)

    @property
    def is_open(self) -> bool:
        """True while something is still to be done about it."""
        return self.can_be_cancelled or self.search_until is not None

    @property
    def is_disposable(self) -> bool:
        """True once nothing is to be kept of it."""
        return self.retain is Retain.NONE and not self.is_open

    @property
    def settled(self) -> bool:
        """True once its start is over: it answers, or will never be of use."""
        return not self.wanted or self.address is not None

    @property
    def put_back(self) -> bool:
        """True for a job that answered and is in the queue again, its memory gone."""
        queued = self.status_is_current and self.status.state.queued
        return self.live and queued and self.address is not None

    @property
    def is_steady(self) -> bool:
        """True while it is on its nodes, answers, and nobody wants it to change."""
        settled = self.status_is_current and self.address is not None
        return settled and self.wanted and self.status.state.on_nodes

    @property
    def situation(self) -> Situation:
        """What the core has to do with it."""
        if self.phase is Phase.INTENT:
            return Situation.INTENT
        if self.live:
            asked = self.cancel_wanted is not None
            return Situation.CANCELLING if asked else Situation.POLLED
        if self.needs_polling:
            return Situation.DUPLICATE
        if self.search_until is None:
            return Situation.CLOSED
        return Situation.GRACE if self.in_grace_period else Situation.SEARCHED

    @property
    def stage(self) -> Stage:
        """How far it has come, in a word for its owner."""
        if not self.live:
            failed = self.phase is Phase.REFUSED or self.failure is not None
            return Stage.FAILED if failed else Stage.STOPPED
        if self.cancel_wanted is not None:
            return Stage.STOPPING
        if self.address is not None:
            return Stage.READY
        if self.phase is Phase.INTENT:
            return Stage.SUBMITTING
        return Stage.STARTING if self.status.state.on_nodes else Stage.QUEUED

    def may_report(self, newest: JobRecord | None) -> bool:
        """Tell whether what its job says of itself still matters.

        Args:
            newest: its owner's newest record.
        """
        superseded = newest is not None and newest.generation > self.generation
        return self.wanted and not superseded and not self.status.state.ended

    # How it may change

    def adopted(self, job: BatchJob) -> Transition:
        """The scheduler took it: as ``job``."""
        self._require("adopted", self.phase is Phase.INTENT)
        return self._to(
            Line("submitted", f"Submitted as job {job.id}", {"job": job.id}),
            phase=Phase.SUBMITTED,
            job=job,
        )

    def identified(self, job: BatchJob) -> Transition:
        """The rest of its identity was learned, which the submission did not tell."""
        known = self.job
        same = known is not None and known.id == job.id and known.submitted is None
        self._require("identified", self.needs_polling and same)
        return self._to(job=job)

    def answer_lost(self) -> Transition:
        """Nobody knows whether the scheduler took it."""
        self._require("answer_lost", self.phase is Phase.INTENT)
        return self._to(
            Line(
                "warning",
                "The scheduler's answer was lost; looking for the job by its name",
            )
        )

    def refused(
        self, failure: Failure, at: datetime, search_until: datetime | None = None
    ) -> Transition:
        """It never became a job, as far as anybody can tell.

        Args:
            failure: why, unless its end was asked for.
            at: now.
            search_until: until when its job may still come; ``None`` if it cannot.
        """
        self._require("refused", self.phase is Phase.INTENT)
        if self.cancel_wanted is not None:
            return self._to(
                Line("cancelled", "Stopped before the scheduler took the job"),
                phase=Phase.ENDED,
                status=replace(NOT_READ, state=JobState.CANCELLED, read_at=at),
                search_until=search_until,
            )
        return self._to(
            Line("failed", f"{failure.title}: {failure.detail}"),
            phase=Phase.REFUSED,
            failure=failure,
            search_until=search_until,
        )

    def cancel_requested(self, at: datetime) -> Transition:
        """Somebody wants its end, for good; asked again, nothing changes."""
        self._require("cancel_requested", self.can_be_cancelled)
        if self.cancel_wanted is not None:
            return Transition(self)
        return self._to(Line("cancelling", "Stopping the job"), cancel_wanted=at)

    def cancel_overdue(self, age: timedelta) -> Transition:
        """Its end was asked for so long ago and has not come."""
        asked = self.cancel_wanted is not None
        self._require("cancel_overdue", self.needs_polling and asked)
        return self._to(
            Line(
                "warning",
                "The scheduler has not confirmed the end of the job yet;"
                " it is asked again and again",
                {"seconds": int(age.total_seconds())},
            )
        )

    def failed(self, failure: Failure) -> Transition:
        """Its owner found it to be of no use; a first reason stays."""
        self._require("failed", self.live)
        if self.failure is not None:
            return Transition(self)
        words = f"{failure.title}. {failure.detail}".strip()
        return self._to(Line("failed", words), failure=failure)

    def ready(self, address: Address) -> Transition:
        """Its program answers at ``address``; said again, nothing changes."""
        self._require("ready", self.wanted and self.address in (None, address))
        if self.address == address:
            return Transition(self)
        return self._to(
            Line(
                "ready",
                f"The {self.vocabulary.subject} is ready",
                {"node": address.host},
            ),
            address=address,
        )

    def process_ended(self, exit_code: int | None, signal: int | None) -> Transition:
        """Its own process ended, as it says; the scheduler has not confirmed it."""
        expected = self.needs_polling or self.phase is Phase.INTENT
        self._require("process_ended", expected)
        how = f"signal {signal}" if signal else f"exit code {exit_code}"
        return self._to(
            Line(
                "server",
                f"The {self.vocabulary.subject}'s process ended ({how})",
                {"exit_code": exit_code, "signal": signal},
            )
        )

    def read(self, status: JobStatus, line: Line | None = None) -> Transition:
        """The scheduler told where its job is; it has not ended.

        Args:
            status: the reading.
            line: what its owner is told of it, if anything.
        """
        told = status.state is not JobState.UNKNOWN and not status.state.ended
        self._require("read", self.needs_polling and told)
        lines = (line,) if line else ()
        weight = Weight.SILENT
        if lines or has_moved(self.status, status) or not self.status_is_current:
            weight = Weight.LASTING
        elif _waiting(status) != _waiting(self.status):
            weight = Weight.PASSING
        record = replace(self, status=status, status_is_current=True)
        return Transition(record, lines, weight)

    def doubted(self) -> Transition:
        """A listing failed, or said nothing that could be believed about its job."""
        self._require("doubted", self.needs_polling)
        return self._to(status_is_current=False)

    def ended(
        self, status: JobStatus, failure: Failure, search_until: datetime
    ) -> Transition:
        """Its job ended; that was read.

        Args:
            status: the reading.
            failure: the end in words; kept where nobody asked for the end.
            search_until: until when the end may be taken back.
        """
        self._require("ended", self.needs_polling and status.state.ended)
        asked = self.cancel_wanted is not None
        good = status.state is JobState.COMPLETED and not status.exit_code
        kind = "cancelled" if asked else "ended" if good else "failed"
        changed = replace(
            self, status=status, status_is_current=True, search_until=search_until
        )
        if self.phase is Phase.SUBMITTED:
            # An end that was asked for may have its reason: the job was given up.
            reason = self.failure if asked else failure
            changed = replace(changed, phase=Phase.ENDED, failure=reason)
        line = Line(
            kind,
            f"{failure.title}. {failure.detail}",
            {"state": status.state, "exit_code": status.exit_code},
        )
        return Transition(changed, (line,))

    def vanished(
        self, failure: Failure, at: datetime, search_until: datetime
    ) -> Transition:
        """The scheduler forgot its job: absent from good listings, no account of it.

        Args:
            failure: that, in words.
            at: now.
            search_until: until when the job may come back.
        """
        self._require("vanished", self.needs_polling)
        lost = replace(self.status, state=JobState.LOST, ended=at)
        return self.ended(lost, failure, search_until)

    def reappeared(self, status: JobStatus, at: datetime) -> Transition:
        """Its end was taken back, by a controller's crash: it has to end again."""
        runs = status.state is not JobState.UNKNOWN and not status.state.ended
        self._require("reappeared", self.in_grace_period and runs)
        return self._to(
            Line("warning", "The job came back after its end; it is stopped again"),
            status=status,
            status_is_current=True,
            cancel_wanted=self.cancel_wanted or at,
        )

    def duplicate_found(self, job: BatchJob, at: datetime) -> Transition:
        """Its job came after it was given up: too late, so it has to end."""
        self._require("duplicate_found", self.situation is Situation.SEARCHED)
        return self._to(
            Line("warning", "The job appeared after it was given up; it is stopped"),
            job=job,
            status=NOT_READ,
            status_is_current=False,
            cancel_wanted=self.cancel_wanted or at,
        )

    def searched_again(self, until: datetime) -> Transition:
        """Its job was heard of after all: it is searched for, until then."""
        self._require("searched_again", self.is_given_up)
        return self._to(search_until=until)

    def search_over(self) -> Transition:
        """Its job did not come, or did not come back."""
        searched = self.situation in (Situation.GRACE, Situation.SEARCHED)
        self._require("search_over", searched)
        return self._to(search_until=None)

    def released(self) -> Transition:
        """Its owner has seen all it wants to: nothing is kept of it once it is over."""
        return self._to(retain=Retain.NONE)

    def noted(
        self, kind: str, message: str, data: EventData | None = None, key: str = ""
    ) -> Transition:
        """Something worth a line happened; the record stays as it is."""
        return self._to(Line(kind, message, data or {}, key))

    def _to(self, *lines: Line, **fields: Any) -> Transition:
        return Transition(replace(self, **fields), lines)

    def _require(self, transition: str, legal: bool) -> None:  # noqa: FBT001
        if not legal:
            raise IllegalTransition(self, transition)


@dataclass(frozen=True, slots=True)
class Transition:
    """What a change leads to.

    Attributes:
        record: the next record.
        lines: what is told of it.
        weight: who has to know.
    """

    record: JobRecord
    lines: tuple[Line, ...] = ()
    weight: Weight = Weight.LASTING


#: A change, decided on the newest record: ``lambda record: record.adopted(job)``.
Decision = Callable[[JobRecord], Transition]


class IllegalTransition(BatchError):
    """A record was to change in a way that its state does not allow.

    Attributes:
        record: as it was, and is.
        transition: which change.
    """

    def __init__(self, record: JobRecord, transition: str) -> None:
        self.record = record
        self.transition = transition
        super().__init__(
            f"The job {record.name} ({record.situation.value}) cannot be {transition}."
        )


# What of a reading is worth writing down, and makes the watcher quick again.
_lasting = attrgetter(
    "state", "reason", "exit_code", "signal", "nodes", "started", "ends", "restarts"
)
# What changes all the time while a job waits.
_waiting = attrgetter("queue_place", "estimated_start")


def has_moved(old: JobStatus, new: JobStatus) -> bool:
    """Tell whether a reading says something lasting that the one before did not."""
    return bool(_lasting(old) != _lasting(new))


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
        key: of the request that it came by, which may come again; else empty.
    """

    name: str
    seq: int
    at: datetime
    kind: str
    message: str
    data: EventData = field(default_factory=lambda: MappingProxyType({}))
    key: str = ""
