"""Has done what :func:`~.steps.next_step` says: one queue, one worker per record.

Every change of a record puts it into the queue, for the moment when something is due
about it. When its turn comes the table is asked again, so what happened meanwhile is
heeded; what is due is done in lanes: one look by name at a time, a few closings, and
cancels by the batch. A look that fails makes all looks wait, longer each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from spawners.common.errors import GatewayError
from spawners.common.workqueue import DelayQueue, Lane

from ...models import (
    MOST_TASKS,
    BatchJob,
    JobState,
    JobStatus,
    split_task_name,
    submitted_name,
)
from ...scheduler import Scheduler
from ..ledger import Ledger
from ..record import JobRecord, Transition, utc_now
from ..settings import Policy
from .closing import Closing
from .search import Searcher
from .steps import (
    FRESH,
    NEVER,
    SEARCHES,
    Memory,
    Now,
    Report,
    Search,
    Step,
    after_ask,
    after_look,
    follow,
    next_step,
)

log = logging.getLogger(__name__)

_FEW = 4
# A whole set: what is due together goes to the scheduler by one call.
_BATCH = MOST_TASKS


class Reconciler:
    """Brings every record to its end, step by step."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        policy: Policy,
        nudge: Callable[[], None],
    ) -> None:
        """Make a reconciler; :meth:`run` does the work.

        Args:
            scheduler: whom to ask.
            ledger: the records; its changes are listened to.
            policy: periods.
            nudge: have the jobs read soon.
        """
        self._scheduler = scheduler
        self._ledger = ledger
        self._policy = policy
        self._nudge = nudge
        self._memories: dict[str, Memory] = {}
        self._submitting: set[str] = set()
        self._asking: set[str] = set()
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._queue = DelayQueue()
        self._searcher = Searcher(scheduler, ledger, policy)
        self._closing = Closing(scheduler, ledger, policy)
        self._failures = 0
        self._no_look_before = -NEVER
        self._looks = Lane(self._look, self._done, at_once=1)
        self._closings = Lane(self._close, self._done, at_once=_FEW)
        self._cancels = Lane(self._cancel, self._done, at_once=_FEW, batch=_BATCH)
        self._lanes = {Step.CLOSE: self._closings, Step.CANCEL: self._cancels}
        self._lanes |= dict.fromkeys(SEARCHES, self._looks)
        ledger.listeners.append(self.changed)

    @property
    def overdue(self) -> int:
        """How many cancel requests are older than the alarm's age."""
        return sum(memory.alarmed for memory in self._memories.values())

    async def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            name = await self._queue.take()
            try:
                lane = self._lane_of(name)
            except Exception:
                log.exception("Cannot do what is due for job %s", name)
                await asyncio.sleep(1)  # it is due again at once
                lane = None
            if lane is None:
                self._done(name)
            else:
                lane.add(name)

    async def run_extra(self) -> None:
        """End what no record can hold, for ever."""
        await self._searcher.run()

    async def close(self) -> None:
        """Stop what is under way; it is done again by the next process."""
        for future in self._asked.values():
            future.cancel()
        for lane in (self._looks, self._closings, self._cancels):
            await lane.close()

    def changed(self, name: str) -> None:
        """Plan anew for a record that changed, or is held no more."""
        record = self._ledger.get(name)
        if record is None:
            self._memories.pop(name, None)
            self._queue.discard(name)
            self._release(name)
            return
        _, due = self._plan(record, _now())
        if due == NEVER:
            self._queue.discard(name)
        else:
            self._queue.put(name, due)
        if not record.needs_polling:
            self._release(name)

    def memory(self, name: str) -> Memory:
        """Return what is remembered of a record."""
        return self._memories.get(name, FRESH)

    # What others tell

    def submission_began(self, name: str) -> None:
        """Leave an intent alone: its submission is under way."""
        self._submitting.add(name)

    def submission_over(self, name: str) -> None:
        """Take up a record whose submission was answered, or will not be."""
        self._submitting.discard(name)
        self.changed(name)

    def heard_of(self, name: str) -> None:
        """Look at once for a job that is being searched: it was heard of."""
        memory = self.memory(name)
        if memory.search is not None and memory.search.planned is not NEVER:
            search = replace(memory.search, now=True)
            self._remember(name, replace(memory, search=search))
            self.changed(name)

    def search_anew(self, name: str) -> None:
        """Search for the job of a record that was given up: it was heard of."""
        until = self._policy.late_until(utc_now())
        if until is not None:
            self._memories.pop(name, None)
            self._ledger.note(name, lambda record: record.searched_again(until))
            self.heard_of(name)

    def reported(self, name: str, report: Report) -> None:
        """Keep what a job said about its end until the scheduler confirms it."""
        self._remember(name, replace(self.memory(name), report=report))

    def missed(self, name: str, since: float | None) -> None:
        """Remember since when listings lack a job, or that they have it."""
        memory = self.memory(name)
        if memory.absent_since != since:
            self._remember(name, replace(memory, absent_since=since))

    def end_was_read(self, name: str, status: JobStatus) -> None:
        """Close a record, once its job's last words are there."""
        self._remember(name, replace(self.memory(name), end=status))
        self.changed(name)

    async def ask_end(self, asked: Mapping[str, int]) -> None:
        """Ask for the end of these jobs now; return when it was asked once.

        Where there is no job yet, or none any more, there is nothing to ask for:
        whoever submits or looks for it finds the request in its record. That may
        have had the scheduler asked by now, which is then enough.

        Args:
            asked: names, and how often each end was asked for before it was wanted.
        """
        waiting = []
        for name, before in asked.items():
            record, memory = self._ledger.get(name), self.memory(name)
            if record is None or not record.needs_polling:
                continue
            if name not in self._asking:
                if memory.asked > before:
                    continue
                self._remember(name, replace(memory, ask_at=-NEVER))
            future = self._asked.get(name)
            if future is None:
                future = asyncio.get_running_loop().create_future()
                self._asked[name] = future
            waiting.append(future)
            self.changed(name)
        await asyncio.gather(*map(asyncio.shield, waiting))

    # Within

    def _lane_of(self, name: str) -> Lane | None:
        """Return where a record's work is done that is due now, if there is any."""
        record = self._ledger.get(name)
        if record is None:
            return None
        step, due = self._plan(record, _now())
        if due > time.monotonic():
            return None
        if step is Step.FORGET:
            self._ledger.note(name, lambda record: record.search_over())
            return None
        return self._lanes[step]

    def _remember(self, name: str, memory: Memory) -> None:
        """Keep what is known of a record, as long as that is more than nothing."""
        if memory == FRESH or self._ledger.get(name) is None:
            self._memories.pop(name, None)
        else:
            self._memories[name] = memory

    def _plan(self, record: JobRecord, now: Now) -> tuple[Step, float]:
        """Bring the memory up to date; return what is due next, and when."""
        name = record.name
        old = replace(self.memory(name), submitting=name in self._submitting)
        memory = follow(record, old, now, self._policy)
        self._remember(name, memory)
        step, due = next_step(record, memory, now)
        if step in SEARCHES:
            due = max(due, self._no_look_before)
        return step, due

    def _done(self, name: str) -> None:
        self.changed(name)
        self._queue.done(name)

    def _release(self, name: str) -> None:
        if (future := self._asked.pop(name, None)) is not None and not future.done():
            future.set_result(None)

    def _due(self, name: str, *steps: Step) -> JobRecord | None:
        """Return a record if one of these steps is still due for it."""
        record = self._ledger.get(name)
        if record is None:
            return None
        step, due = self._plan(record, _now())
        return record if step in steps and due <= time.monotonic() else None

    async def _look(self, names: Sequence[str]) -> None:
        (name,) = names
        record = self._due(name, *SEARCHES)
        if record is None:
            return
        names = [name, *self._siblings(record)]
        searches = {looked: self.memory(looked).search for looked in names}
        wanted = name if len(names) == 1 else submitted_name(name)
        began = time.monotonic()
        try:
            jobs = await self._scheduler.find(wanted, user=record.user)
        except GatewayError as error:
            log.warning("Cannot look for job %s: %s", name, error)
        except Exception:
            log.exception("Cannot look for job %s", name)
        else:
            self._failures = 0
            await self._searcher.conclude(_by_name(names, jobs))
            moment = _now()
            for looked, search in searches.items():
                self._count_look(looked, search, began, moment)
            return
        self._failures += 1
        now = time.monotonic()
        rest = self._policy.pause_after(self._failures, now - began)
        self._no_look_before = now + rest

    def _siblings(self, record: JobRecord) -> list[str]:
        """Return the other tasks of a record's set that are to be looked for now."""
        if split_task_name(record.name) is None:
            return []
        whole = submitted_name(record.name)
        return [
            other.name
            for other in self._ledger.open_records()
            if other.name.startswith(whole)
            and other.name != record.name
            and submitted_name(other.name) == whole
            and other.user == record.user
            and self._due(other.name, *SEARCHES)
        ]

    def _count_look(
        self, name: str, search: Search | None, began: float, now: Now
    ) -> None:
        """Plan the next look of a search that goes on, or conclude from the last."""
        memory = self.memory(name)
        if search is None or memory.search is None:
            return
        kept, then = memory.search, search
        if (kept.step, kept.planned) != (then.step, then.planned):
            return
        memory, last = after_look(memory, began, now, self._policy)
        self._remember(name, memory)
        if last:
            self._searcher.give_up(name)

    async def _close(self, names: Sequence[str]) -> None:
        (name,) = names
        record, memory = self._due(name, Step.CLOSE), self.memory(name)
        if record is None or memory.end is None:
            return
        try:
            if memory.end.state is JobState.LOST and await self._closing.answers(
                record
            ):
                log.warning("Job %s is not listed, but answers", name)
                self.missed(name, None)
                return
            await self._closing.close(record, memory.end, memory.report)
        except Exception:
            # It is polled again, and its end read again.
            log.exception("Cannot close the record of job %s", name)
        finally:
            self._remember(name, replace(self.memory(name), end=None))
            self._nudge()

    async def _cancel(self, names: Sequence[str]) -> None:
        now = _now()
        records = [r for name in names if (r := self._due(name, Step.CANCEL))]
        for record in records:
            memory = self.memory(record.name)
            self._remember(record.name, after_ask(memory, now, self._policy))
        asking = {record.name for record in records}
        self._asking |= asking
        try:
            jobs = [record.job for record in records if record.job is not None]
            for job, error in (await self._ask(jobs)).items():
                if error is not None:
                    log.warning("Cannot cancel job %s: %s", job.name, error)
        finally:
            self._asking -= asking
        for record in records:
            self._release(record.name)
            self._alarm(record.name)
        self._nudge()

    async def _ask(
        self, jobs: Sequence[BatchJob]
    ) -> Mapping[BatchJob, Exception | None]:
        """Ask for the end of jobs; return what went wrong with which."""
        try:
            if len(jobs) > 1:
                return await self._scheduler.cancel_many(jobs)
            for job in jobs:
                await self._scheduler.cancel(job)
        except GatewayError as error:
            return dict.fromkeys(jobs, error)
        except Exception as error:
            log.exception("Cannot cancel %s jobs", len(jobs))
            return dict.fromkeys(jobs, error)
        return {}

    def _alarm(self, name: str) -> None:
        record, memory = self._ledger.get(name), self.memory(name)
        if record is None or record.cancel_wanted is None or memory.alarmed:
            return
        age = utc_now() - record.cancel_wanted
        if age < self._policy.cancel_alarm or not record.needs_polling:
            return
        self._remember(name, replace(memory, alarmed=True))
        job = record.job.id if record.job else "?"
        log.error(
            "Job %s (%s) of %s should have ended %s ago and has not",
            name,
            job,
            record.user,
            age,
        )

        def tell(record: JobRecord) -> Transition:
            return record.cancel_overdue(age)

        self._ledger.note(name, tell)


def _by_name(
    names: Sequence[str], jobs: Sequence[BatchJob]
) -> dict[str, list[BatchJob]]:
    """Return what was found for each name; what has another name is nobody's here."""
    found: dict[str, list[BatchJob]] = {name: [] for name in names}
    for job in jobs:
        if job.name in found:
            found[job.name].append(job)
    return found


def _now() -> Now:
    return Now(utc_now(), time.monotonic())
