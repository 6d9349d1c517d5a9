"""The table: what is done next about a record, and when. Pure, no I/O.

Whoever reads :func:`next_step` knows all that the core ever does about a job once it
was submitted. What has to outlive this process is in the record; what need not is in
:class:`Memory`, and a new process begins with an empty one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from ...models import JobState, JobStatus
from ..record import JobRecord, Phase, Situation
from ..settings import Policy


class Step(StrEnum):
    """What can be done about a record.

    ``NONE``: nothing; the watcher reads its job, or it is closed.
    ``FIND``: look for its job by name, and adopt it or give it up.
    ``COMPLETE_IDENTITY``: look for what the submission did not tell of its job.
    ``CLOSE``: an end was read; ask for the job's last words and close the record.
    ``CANCEL``: ask the scheduler for the job's end.
    ``SEARCH_LATE``: look by name whether its job came after all.
    ``FORGET``: nothing took its end back; it is over for good.
    """

    NONE = "none"
    FIND = "find"
    COMPLETE_IDENTITY = "complete identity"
    CLOSE = "close"
    CANCEL = "cancel"
    SEARCH_LATE = "search late"
    FORGET = "forget"


#: Steps that are one ``find`` of the scheduler.
SEARCHES = frozenset({Step.FIND, Step.COMPLETE_IDENTITY, Step.SEARCH_LATE})
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Now:
    """One moment.

    Attributes:
        wall: aware UTC; what is compared with times in records.
        clock: monotonic seconds; what periods are measured by.
    """

    wall: datetime
    clock: float


@dataclass(frozen=True, slots=True)
class Search:
    """Some planned looks for a job by its name, each after the last good one.

    Attributes:
        step: what is searched for.
        planned: when the next look is due (clock), :data:`NEVER` after the last.
        looks: how many planned looks the controller answered.
        now: look at once, beside the plan: the job was heard of.
    """

    step: Step
    planned: float
    looks: int = 0
    now: bool = False

    @property
    def due(self) -> float:
        """When to look (clock)."""
        return -NEVER if self.now else self.planned


@dataclass(frozen=True, slots=True)
class Report:
    """What a job said about its own end: a claim that was authenticated."""

    exit_code: int | None
    signal: int | None
    log: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """What this process knows of a record and a next one need not.

    Attributes:
        submitting: its submission is under way here; nothing else is done.
        search: the search that its situation asks for.
        asked: how often the scheduler was asked for its end.
        ask_at: when to ask (again, clock).
        alarmed: operators were told that its end does not come.
        end: an end that was read and is not written down yet.
        report: what its job said about its own end.
        absent_since: since when good listings lack its job (clock).
    """

    submitting: bool = False
    search: Search | None = None
    asked: int = 0
    ask_at: float = -NEVER
    alarmed: bool = False
    end: JobStatus | None = None
    report: Report | None = None
    absent_since: float | None = None


#: Nothing is known but the record.
FRESH = Memory()


def next_step(record: JobRecord, memory: Memory, now: Now) -> tuple[Step, float]:
    """Return what is to be done next about a record, and when (clock).

    Args:
        record: the newest one.
        memory: brought up to date by :func:`follow`.
        now: a step whose moment is past is due at once.
    """
    situation = record.situation
    if memory.submitting or situation is Situation.CLOSED:
        return Step.NONE, NEVER
    if situation is Situation.GRACE:
        return Step.FORGET, now.clock + _seconds_left(record, now)
    if situation is Situation.SEARCHED and memory.search is None:
        return Step.FORGET, now.clock
    if record.needs_polling and memory.end is not None:
        return Step.CLOSE, now.clock
    choices = [(Step.NONE, NEVER)]
    if situation in (Situation.CANCELLING, Situation.DUPLICATE):
        choices.append((Step.CANCEL, memory.ask_at))
    if memory.search is not None:
        choices.append((memory.search.step, memory.search.due))
    return min(choices, key=lambda choice: choice[1])


def wanted_search(record: JobRecord) -> Step:
    """Return which search a record's situation asks for."""
    match record.situation:
        case Situation.INTENT:
            return Step.FIND
        case Situation.SEARCHED:
            return Step.SEARCH_LATE
        case Situation.POLLED | Situation.CANCELLING | Situation.DUPLICATE:
            known = record.job is None or record.job.submitted is not None
            return Step.NONE if known else Step.COMPLETE_IDENTITY
    return Step.NONE


def follow(record: JobRecord, memory: Memory, now: Now, policy: Policy) -> Memory:
    """Return the memory that goes with a record that may have changed.

    A search that is no longer wanted is dropped, another one begun; what was
    remembered of a job that is not polled any more goes as well.
    """
    step = Step.NONE if memory.submitting else wanted_search(record)
    search = memory.search
    if search is None or search.step is not step:
        delays = _delays(step, policy)
        search = Search(step, now.clock + delays[0]) if delays else None
    if record.needs_polling:
        if record.cancel_wanted is not None:
            return replace(memory, search=search)
        return replace(memory, search=search, asked=0, ask_at=-NEVER, alarmed=False)
    report = memory.report if record.phase is Phase.INTENT else None
    return Memory(memory.submitting, search, report=report)


def after_look(
    memory: Memory, began: float, now: Now, policy: Policy
) -> tuple[Memory, bool]:
    """Return the memory after a look that was answered, and if it was the last one.

    Args:
        memory: with a search.
        began: when the look began (clock); one before its plan does not count.
        now: after the look.
        policy: the delays between looks.
    """
    search = memory.search
    if search is None:
        return memory, False
    if began < search.planned:
        return replace(memory, search=replace(search, now=False)), False
    delays = _delays(search.step, policy)
    looks = search.looks + 1
    last = looks >= len(delays)
    planned = NEVER if last else now.clock + delays[looks]
    return replace(memory, search=Search(search.step, planned, looks)), last


def after_ask(memory: Memory, now: Now, policy: Policy) -> Memory:
    """Return the memory of a job whose end is being asked for."""
    delays = policy.cancel_delays
    delay = delays[min(memory.asked, len(delays) - 1)].total_seconds()
    return replace(memory, asked=memory.asked + 1, ask_at=now.clock + delay)


class Verdict(StrEnum):
    """What one listing means for one record.

    ``NOTHING``: it says nothing certain. ``DOUBT``: likewise, and the last status is
    no longer current. ``MISSING``: a good listing lacks the job. ``READ``: where the
    job is. ``END``: it ended. ``VANISHED``: the scheduler forgot it. ``CAME_BACK``:
    it runs, after its end was read.
    """

    NOTHING = "nothing"
    DOUBT = "doubt"
    MISSING = "missing"
    READ = "read"
    END = "end"
    VANISHED = "vanished"
    CAME_BACK = "came back"


def judge(
    record: JobRecord,
    memory: Memory,
    status: JobStatus | None,
    now: Now,
    policy: Policy,
    *,
    absent: bool,
) -> Verdict:
    """Return what a listing means for a record that is polled or in its grace period.

    Args:
        record: the newest one.
        memory: of it.
        status: what the listing says of its job; ``None`` if it failed.
        now: when that was read.
        policy: for how long a job has to be missing.
        absent: True for a good listing that lacks the job.
    """
    known = status is not None and status.state is not JobState.UNKNOWN
    if record.in_grace_period:
        runs = known and status is not None and not status.state.ended
        return Verdict.CAME_BACK if runs else Verdict.NOTHING
    if not record.needs_polling or memory.end is not None:
        return Verdict.NOTHING
    if known and status is not None:
        return Verdict.END if status.state.ended else Verdict.READ
    if not absent:
        return Verdict.DOUBT
    if memory.report is not None:
        # It told its own end and is gone: that is evidence, where nobody keeps
        # accounts.
        return Verdict.END
    if memory.absent_since is None:
        return Verdict.MISSING
    gone = now.clock - memory.absent_since
    return (
        Verdict.VANISHED
        if gone >= policy.lost_after.total_seconds()
        else Verdict.MISSING
    )


def _delays(step: Step, policy: Policy) -> tuple[float, ...]:
    delays = {
        Step.FIND: policy.search_delays,
        Step.COMPLETE_IDENTITY: policy.identity_delays,
        Step.SEARCH_LATE: policy.duplicate_delays,
    }
    return tuple(delay.total_seconds() for delay in delays.get(step, ()))


def _seconds_left(record: JobRecord, now: Now) -> float:
    until = record.search_until
    return 0.0 if until is None else max(0.0, (until - now.wall).total_seconds())
