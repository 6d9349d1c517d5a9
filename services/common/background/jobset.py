"""A wanted number of equal jobs of one owner: a model's replicas, a cluster's workers.

A service says what a member runs and how many are wanted; it keeps both in its own
database, written before it says so here. What there *is* nobody keeps but the jobs
service: a member is a job whose owner's key is the set's prefix and a number
(``endpoint:ann/churn/3/17``), and one owner has one live job. So a service that was
killed at any step finds all members again by the prefix, and what it submits once more
is refused and taken up instead of doubled::

    sets = JobSets(jobs, "endpoint:")
    sets.start()
    sets.put("endpoint:ann/churn/3/", template, wanted=4)
    sets.scale("endpoint:ann/churn/3/", 2)
    sets.end("endpoint:ann/churn/3/")
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count, islice
from types import MappingProxyType

from prometheus_client.core import Metric

from spawners.batch.errors import (
    AuthenticationBroken,
    InvalidSpec,
    NotPermitted,
    SubmitRejected,
)
from spawners.batch.explain.failure import Failure
from spawners.batch.explain.vocabulary import JOB, Vocabulary
from spawners.batch.jobs.api import JobsApi
from spawners.batch.jobs.errors import AlreadyLive, UnknownJob
from spawners.batch.jobs.record import JobRecord, Retain, Stage
from spawners.batch.models import MOST_TASKS, JobSpec, Launch, new_job_name
from spawners.common.errors import GatewayError

from ..web.metrics import gauge
from .members import Choose, Member, Plan, Setbacks, SetPolicy, newest_first, plan
from .reconcile import Reconciler

log = logging.getLogger(__name__)

_DRAIN_LOOK_SECONDS = 1.0
_REFUSALS = (SubmitRejected, InvalidSpec, NotPermitted, AuthenticationBroken)


@dataclass(frozen=True, slots=True)
class Template:
    """What each member of a set runs. A set with another is another set.

    Attributes:
        spec: its job; the name is drawn anew for each.
        user: account to run as.
        launch: what the job starts; see :class:`~spawners.batch.models.Launch`.
        facts: public facts to keep with each record.
        vocabulary: how people call a member.
        retain: what is kept of one that is over; ``NEWEST`` tells how it ended, and
            ``NONE`` is for many that nobody looks back at.
        policy: how the set is kept at its number.
    """

    spec: JobSpec
    user: str
    launch: Launch | None = None
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    vocabulary: Vocabulary = JOB
    retain: Retain = Retain.NEWEST
    policy: SetPolicy = field(default_factory=SetPolicy)


async def _at_once(_: Member) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a set asks the service that has it.

    Attributes:
        is_ready: whether a member can do its work; by default, when it has reported.
        choose: which of the members that work go, where there are too many; see
            :mod:`.members`.
        may_end: asked about a member that is not needed any more, again and again
            until it says True: a chance to take it out of use and let it finish. The
            first question is the news.
        changed: called after each look at the set.
    """

    is_ready: Callable[[Member], bool] = lambda member: member.is_up
    choose: Choose = newest_first
    may_end: Callable[[Member], Awaitable[bool]] = _at_once
    changed: Callable[[], None] = lambda: None


class JobSet:
    """One set; made by :class:`JobSets`.

    Attributes:
        prefix: of its members' owners.
        template: what they run.
        wanted: how many there should be.
        setbacks: how starts went: failures in a row, when the next is tried, why.
        hooks: what it asks the service.
        gone: set while nothing is wanted and no member is there.
    """

    def __init__(
        self,
        jobs: JobsApi,
        prefix: str,
        template: Template,
        hooks: Hooks,
        numbers: set[int],
        now: Callable[[], datetime],
    ) -> None:
        self.prefix = prefix
        self.template = template
        self.wanted = 0
        self.hooks = hooks
        self.setbacks = Setbacks()
        self.gone = asyncio.Event()
        self._jobs = jobs
        self._numbers = numbers
        self._now = now
        self._leaving: set[str] = set()
        self._seen: set[str] = set()

    @property
    def members(self) -> list[Member]:
        """All members that there are, and of each free place the last; by number."""
        records = ((n, self._jobs.current(self._owner(n))) for n in self._numbers)
        return sorted(
            (Member(number, record) for number, record in records if record),
            key=lambda member: member.number,
        )

    @property
    def is_crash_looping(self) -> bool:
        """Whether so many starts failed in a row that one at a time is tried."""
        return self.setbacks.failures >= self.template.policy.crash_limit

    async def reconcile(self) -> float | None:
        """Do what is missing; see :data:`.reconcile.Reconcile`.

        Raises:
            GatewayError: the jobs service or the scheduler is away; nothing is lost.
        """
        policy, now = self.template.policy, self._now()
        members = self.members
        self._numbers &= {member.number for member in members}
        self._take_note(members, now)
        step = plan(
            members,
            self.wanted,
            now=now,
            policy=policy,
            setbacks=self.setbacks,
            leaving=self._leaving,
            is_ready=self.hooks.is_ready,
            choose=self.hooks.choose,
        )
        is_draining = await self._let_go(members, step)
        again = await self._start(step.start) if step.start else None
        if self.wanted or any(member.record.live for member in members):
            self.gone.clear()
        else:
            self.gone.set()
        self.hooks.changed()
        pauses = [again] if again is not None else []
        if is_draining:
            pauses.append(_DRAIN_LOOK_SECONDS)
        if step.look_again is not None:
            pauses.append((step.look_again - now).total_seconds())
        return min(pauses, default=None)

    def _take_note(self, members: Iterable[Member], now: datetime) -> None:
        """Count the ends that were not seen yet, in the order of their starts."""
        policy = self.template.policy
        over = [m for m in members if not m.record.wanted and m.name not in self._seen]
        for member in sorted(over, key=lambda member: member.record.created):
            self.setbacks.ended(member, policy, now)
        live = [m for m in members if m.record.wanted]
        self.setbacks.did_well([m for m in live if self.hooks.is_ready(m)], policy, now)
        self._seen = {m.name for m in members if not m.record.wanted}
        self._leaving &= {m.name for m in live}

    async def _let_go(self, members: Iterable[Member], step: Plan) -> bool:
        """End the members that may end; return whether one is still at work."""
        self._leaving |= {member.name for member in step.leave}
        going = [m for m in members if m.name in self._leaving and m.record.wanted]
        may_end = [m.name for m in going if await self.hooks.may_end(m)]
        if may_end:
            await self._jobs.cancel_many(may_end)
        return len(may_end) < len(going)

    async def _start(self, number: int) -> float | None:
        """Start so many members; return the seconds to a next look, if any."""
        template = self.template
        owners = [self._owner(n) for n in self._free(min(number, MOST_TASKS))]
        spec = replace(template.spec, name=new_job_name())
        try:
            if len(owners) == 1:
                await self._jobs.submit(
                    spec,
                    user=template.user,
                    owner=owners[0],
                    facts=template.facts,
                    launch=template.launch,
                    vocabulary=template.vocabulary,
                    retain=template.retain,
                )
            else:
                await self._jobs.submit_set(
                    spec,
                    user=template.user,
                    owners=owners,
                    facts=template.facts,
                    launch=template.launch,
                    vocabulary=template.vocabulary,
                    retain=template.retain,
                )
        except AlreadyLive as error:
            # Of a process before us, whose request came late: it is a member.
            log.info("%s is a member already", error.record.owner)
            self.learn(error.record)
            return 0.0
        except _REFUSALS as error:
            log.warning("No member of %s was started: %s", self.prefix, error)
            self.setbacks.refused(error, template.policy, self._now())
            return 0.0
        except GatewayError:
            self.setbacks.postponed(self._now())
            raise
        self._numbers |= {_number_of(owner) for owner in owners}
        return 0.0 if number > MOST_TASKS else None

    def learn(self, record: JobRecord) -> None:
        """Take a job of this set up as a member, wherever it comes from."""
        self._numbers.add(_number_of(record.owner))

    def _free(self, number: int) -> Iterable[int]:
        taken = {
            member.number
            for member in self.members
            # A record that is searched for holds its place: its job may come back.
            if member.record.is_open
        }
        return islice((n for n in count() if n not in taken), number)

    def _owner(self, number: int) -> str:
        return f"{self.prefix}{number}"


class JobSets:
    """All sets of a service.

    Args:
        jobs: started, and reads all jobs of ``kind``.
        kind: what the owners of all the service's jobs begin with (``"endpoint:"``).
        now: tells the time.
    """

    def __init__(
        self,
        jobs: JobsApi,
        kind: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._jobs = jobs
        self._kind = kind
        self._now = now
        self._sets: dict[str, JobSet] = {}
        # Of all jobs of the kind, whether their set was put or not.
        self._numbers: dict[str, set[int]] = {}
        self._prefixes: dict[str, str] = {}
        self._reconciler = Reconciler("Job set", self._reconcile)

    def start(self) -> None:
        """Find all jobs that there are, and begin to look after the sets."""
        for record in self._jobs.records(live_only=False):
            self._take(record)
        self._jobs.listen(self._changed)
        self._reconciler.start()

    async def close(self) -> None:
        """Look after nothing any more; the jobs go on."""
        await self._reconciler.close()

    def put(
        self,
        prefix: str,
        template: Template,
        wanted: int,
        hooks: Hooks | None = None,
    ) -> JobSet:
        """Have a set from now on, with the members that it has already; idempotent.

        Args:
            prefix: of its members' owners; begins with the kind and ends with ``/``.
            template: what they run; counts for members that are started from now on.
            wanted: how many there should be.
            hooks: what it asks the service.

        Raises:
            ValueError: it is no such prefix.
        """
        if not prefix.startswith(self._kind) or not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} must begin with {self._kind} and end with /")
        job_set = self._sets.get(prefix)
        if job_set is None:
            numbers = self._numbers.setdefault(prefix, set())
            job_set = self._sets[prefix] = JobSet(
                self._jobs, prefix, template, hooks or Hooks(), numbers, self._now
            )
        else:
            if (job_set.template.spec, job_set.template.launch) != (
                template.spec,
                template.launch,
            ):
                job_set.setbacks.forgive()
            job_set.template = template
            job_set.hooks = hooks or job_set.hooks
        self.scale(prefix, wanted)
        return job_set

    def get(self, prefix: str) -> JobSet | None:
        """Return a set; ``None`` if there is none."""
        return self._sets.get(prefix)

    def scale(self, prefix: str, wanted: int) -> None:
        """Have another number of members wanted.

        Raises:
            KeyError: there is no such set.
        """
        self._sets[prefix].wanted = max(0, wanted)
        self._reconciler.wake(prefix)

    def wake(self, prefix: str) -> None:
        """Have a set looked at: a hook would answer something else by now."""
        if prefix in self._sets:
            self._reconciler.wake(prefix)

    async def give_up(self, member: Member, failure: Failure) -> None:
        """Have a member ended and replaced that is of no use: it hangs, it lies.

        Args:
            member: which.
            failure: why, for people; it stays with the record.
        """
        try:
            await self._jobs.give_up(member.name, failure)
        except UnknownJob:
            log.info("%s is over already", member.name)
        self.wake(_prefix_of(member.record.owner))

    async def end(self, prefix: str) -> None:
        """Have no job of a set any more; returns when that is written down.

        Its members end at once, whatever ``may_end`` says: scale to zero first where
        there is something to finish. What comes late is ended as well, until the set
        is dropped (:attr:`JobSet.gone` says when it may be).
        """
        job_set = self._sets.get(prefix)
        if job_set is not None:
            job_set.wanted = 0
        await self._jobs.cancel_owned(prefix)
        self.wake(prefix)

    def drop(self, prefix: str) -> None:
        """Forget a set; its jobs, if it has any, go on and are orphans from now on."""
        self._sets.pop(prefix, None)
        self._reconciler.forget(prefix)

    async def end_orphans(self) -> int:
        """End the jobs of the kind that are of no set; return how many.

        Called after a start, when all sets that there should be were put: what is left
        was being ended, or its set was never written down.
        """
        orphans = {
            record.name: record.owner
            for record in self._jobs.records()
            if record.owner.startswith(self._kind)
            and record.wanted
            and _prefix_of(record.owner) not in self._sets
        }
        if not orphans:
            return 0
        log.warning("Ending %s jobs of no set", len(orphans))
        return await self._jobs.cancel_many(list(orphans))

    def numbers(self) -> list[Metric]:
        """Return what Prometheus is told of the sets."""
        stages: dict[str, float] = {stage.value: 0 for stage in Stage}
        for job_set in self._sets.values():
            for member in job_set.members:
                stages[member.stage.value] += 1
        sets = list(self._sets.values())
        return [
            gauge("job_set_members", "Members of job sets.", stages, "stage"),
            gauge(
                "job_set_wanted_members",
                "Members that are wanted.",
                {"": sum(job_set.wanted for job_set in sets)},
            ),
            gauge(
                "job_sets_crash_looping",
                "Sets whose members keep failing.",
                {"": sum(job_set.is_crash_looping for job_set in sets)},
            ),
        ]

    async def _reconcile(self, prefix: str) -> float | None:
        job_set = self._sets.get(prefix)
        return await job_set.reconcile() if job_set is not None else None

    def _changed(self, name: str) -> None:
        record = self._jobs.get(name)
        if record is not None:
            self._take(record)
        prefix = self._prefixes.get(name)
        if record is None:
            self._prefixes.pop(name, None)
        if prefix is not None:
            self.wake(prefix)

    def _take(self, record: JobRecord) -> None:
        if not record.owner.startswith(self._kind):
            return
        prefix, _, number = record.owner.rpartition("/")
        if number.isascii() and number.isdecimal():
            self._prefixes[record.name] = f"{prefix}/"
            self._numbers.setdefault(f"{prefix}/", set()).add(int(number))


def _prefix_of(owner: str) -> str:
    return owner.rpartition("/")[0] + "/"


def _number_of(owner: str) -> int:
    return int(owner.rpartition("/")[2])
