"""The members of a job set, and what is decided about them: pure values, no I/O.

:func:`plan` says how many members to start and which to let go, from what is known of
each and from how well starts went (:class:`Setbacks`). A member of which nothing is
known for certain is there: only an end that was read makes room for another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spawners.batch.explain.failure import Failure
from spawners.batch.explain.states import explain_refusal
from spawners.batch.jobs.record import JobRecord, Phase, Stage
from spawners.batch.models import JobState
from spawners.common.errors import GatewayError

BLAMELESS = frozenset(
    {
        JobState.TIMEOUT,
        JobState.PREEMPTED,
        JobState.NODE_FAIL,
        JobState.BOOT_FAIL,
        JobState.REVOKED,
        JobState.LOST,
    }
)
"""Ends for which what runs in a job is not to blame: it is replaced at once."""


@dataclass(frozen=True, slots=True)
class Member:
    """One job of a set.

    Attributes:
        number: its place in the set; the owner's key of its job ends with it. A place
            that is free is used again.
        record: all that is known of its newest job: what it waits for and until when,
            where it runs, how it ended and why, in ``record.status`` and
            ``record.failure``.
    """

    number: int
    record: JobRecord

    @property
    def name(self) -> str:
        """Its job's name, which is never used again."""
        return self.record.name

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self.record.stage

    @property
    def is_certain(self) -> bool:
        """Whether the last reading of its job is current."""
        return self.record.status_is_current

    @property
    def may_come_back(self) -> bool:
        """Whether the scheduler forgot its job, and it is still searched for."""
        is_lost = self.record.status.state is JobState.LOST
        return is_lost and self.record.search_until is not None

    @property
    def is_up(self) -> bool:
        """Whether it has reported that it is ready, and was not put back since."""
        return self.stage is Stage.READY and not self.record.put_back

    def up_seconds(self, now: datetime) -> float:
        """Return for how long it has run, or did run; 0 if it never did."""
        status = self.record.status
        if status.started is None:
            return 0.0
        until = status.ended or (now if self.record.live else self.record.updated)
        return max(0.0, (until - status.started).total_seconds())

    def does_well_at(self, well: timedelta) -> datetime | None:
        """Return when it will have been up for so long; ``None``: it is not up."""
        started = self.record.status.started
        return started + well if started is not None else None

    def expires_at(self, lead: timedelta) -> datetime | None:
        """Return when to start its successor; ``None`` if it has no time limit.

        Of a job that lasts not much longer than ``lead`` it is half of its time, or
        it would be due before the job is of any use.
        """
        status = self.record.status
        if status.ends is None or status.started is None or not lead:
            return None
        return status.ends - min(lead, (status.ends - status.started) / 2)


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """How a set is kept at its number.

    Attributes:
        lead: how long before its time limit a member's successor is started: time in
            the queue and time to load. Zero: when the member has ended.
        well: what was up for so long did well: it is not to blame for its end.
        first_pause, longest_pause: before a member that ended soon is replaced; the
            pause doubles with each that follows.
        crash_limit: after so many in a row the set is crash-looping: one member at a
            time is tried, until one does well.
        replaces_lost: whether a member whose job the scheduler forgot is replaced while
            that may come back. A late one is ended; both may run for a moment.
    """

    lead: timedelta = timedelta(0)
    well: timedelta = timedelta(minutes=2)
    first_pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(minutes=5)
    crash_limit: int = 5
    replaces_lost: bool = False


@dataclass(slots=True)
class Setbacks:
    """How starts went lately.

    Attributes:
        failures: how many starts in a row came to nothing.
        next_try: nothing is started before; ``None``: no reason to wait.
        last: why the last one failed, for people.
    """

    failures: int = 0
    next_try: datetime | None = None
    last: Failure | None = None
    _at: datetime | None = None

    def ended(self, member: Member, policy: SetPolicy, now: datetime) -> None:
        """Take note of a member that ended or was given up, if that is a setback.

        Members that were started together and fail together are one.
        """
        record = member.record
        if record.failure is None or record.status.state in BLAMELESS:
            return
        ended = now if record.live else record.status.ended or record.updated
        if now - ended > 2 * policy.longest_pause:
            return  # of a time before this process
        self.last = record.failure
        is_short = member.up_seconds(now) < policy.well.total_seconds()
        is_later = self._at is None or record.created > self._at
        if is_later and (is_short or record.phase is Phase.REFUSED):
            self._count(policy, min(now, ended))

    def refused(self, error: GatewayError, policy: SetPolicy, now: datetime) -> None:
        """Take note of a start that was refused."""
        self.last = explain_refusal(error)
        self._count(policy, now)

    def postponed(self, now: datetime) -> None:
        """Take note that a start was not possible: nobody who was in it failed."""
        self._at = now

    def did_well(
        self, ready: Collection[Member], policy: SetPolicy, now: datetime
    ) -> None:
        """Forget all once a member that was started since is up for long enough."""
        well = policy.well.total_seconds()
        if self._at is not None and any(
            member.record.created > self._at and member.up_seconds(now) >= well
            for member in ready
        ):
            self.forgive()

    def forgive(self) -> None:
        """Forget all: somebody changed what fails."""
        self.failures, self.next_try, self._at = 0, None, None

    def _count(self, policy: SetPolicy, at: datetime) -> None:
        self.failures += 1
        doubled = policy.first_pause * 2.0 ** min(self.failures - 1, 20)
        self.next_try = at + min(policy.longest_pause, doubled)
        self._at = at


Choose = Callable[[Sequence[Member], int], Sequence[Member]]
"""Returns which so many of the members that work a set can do without best."""


def newest_first(members: Sequence[Member], count: int) -> Sequence[Member]:
    """Choose those that were started last."""
    return sorted(members, key=lambda member: member.record.created)[::-1][:count]


def least_loaded(load: Callable[[Member], float]) -> Choose:
    """Choose those with the least load.

    Args:
        load: of a member, in whatever it is busy with.
    """
    return lambda members, count: sorted(members, key=load)[:count]


def soonest_to_end(members: Sequence[Member], count: int) -> Sequence[Member]:
    """Choose those whose time limit is nearest."""

    def left(member: Member) -> float:
        ends = member.record.status.ends
        return ends.timestamp() if ends else float("inf")

    return sorted(members, key=left)[:count]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a set.

    Attributes:
        start: how many members.
        leave: which members are not needed any more, as soon as they may end.
        look_again: when something is due by itself; ``None``: nothing is.
    """

    start: int = 0
    leave: tuple[Member, ...] = ()
    look_again: datetime | None = None


def plan(
    members: Sequence[Member],
    wanted: int,
    *,
    now: datetime,
    policy: SetPolicy,
    setbacks: Setbacks,
    leaving: Collection[str] = (),
    is_ready: Callable[[Member], bool] = lambda member: member.is_up,
    choose: Choose = newest_first,
) -> Plan:
    """Return what is to be done.

    Args:
        members: all that there are, also those that ended.
        wanted: how many there should be.
        now: aware UTC.
        policy: how they are kept.
        setbacks: how starts went.
        leaving: names of members that were let go before and have not ended.
        is_ready: whether a member can do the work.
        choose: which of those that are ready are let go, where there are too many;
            those that are not go before them.
    """
    staying = [m for m in members if m.record.wanted and m.name not in leaving]
    expiring = [m for m in staying if _is_past(m.expires_at(policy.lead), now)]
    fresh = [m for m in staying if m not in expiring]
    held = [m for m in members if m.may_come_back and not policy.replaces_lost]
    # Successors that work let as many go whose time is nearly over.
    ready = min(wanted, sum(map(is_ready, fresh)))
    done_with = max(0, min(len(expiring), ready + len(expiring) - wanted))
    leave = [
        *soonest_to_end(expiring, done_with),
        *_surplus(fresh, max(0, len(fresh) - wanted), is_ready, choose),
    ]
    start = max(0, wanted - len(fresh) - len(held))
    moments = [m.expires_at(policy.lead) for m in fresh]
    if setbacks.failures:
        moments += [m.does_well_at(policy.well) for m in fresh if is_ready(m)]
    if start and setbacks.failures:
        if _is_past(setbacks.next_try, now):
            is_trying = not all(map(is_ready, fresh))
            is_looping = setbacks.failures >= policy.crash_limit
            start = (0 if is_trying else 1) if is_looping else start
        else:
            start = 0
            moments.append(setbacks.next_try)
    due = [moment for moment in moments if moment is not None and moment > now]
    return Plan(start, tuple(leave), min(due, default=None))


def _surplus(
    members: Sequence[Member],
    number: int,
    is_ready: Callable[[Member], bool],
    choose: Choose,
) -> list[Member]:
    """Return so many: who waits before who is on a node, and both before who works."""
    at_work = [member for member in members if is_ready(member)]
    others = sorted(
        newest_first([m for m in members if m not in at_work], len(members)),
        key=lambda member: member.record.status.state.on_nodes,
    )[:number]
    return [*others, *choose(at_work, number - len(others))]


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
