"""Whatever happens in whatever order: one job per live record, no orphan, no double.

Hypothesis plays users, a faulty scheduler, an operator and a hub that dies, and looks
at the end: (I1) the jobs that live are those that the records say, one per owner;
(I2) no job was cancelled that nobody had given up or wanted stopped; no name was
submitted twice.
"""

import asyncio
import contextlib
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from spawners.batch.errors import (
    AuthenticationBroken,
    BatchError,
    LimitReached,
    SchedulerUnavailable,
)
from spawners.batch.fake import FakeScheduler
from spawners.batch.jobs.jobs import Jobs
from spawners.batch.jobs.record import Address, Phase
from spawners.batch.jobs.settings import Policy
from spawners.batch.jobs.store import JobStore
from spawners.batch.models import JobSpec, JobState, Resources, new_job_name

MS = timedelta(milliseconds=1)
QUICK = Policy(
    fast=2 * MS,
    slow=5 * MS,
    rest=1 * MS,
    backoff=1 * MS,
    search_delays=(0 * MS, 5 * MS, 5 * MS),
    identity_delays=(),
    duplicate_delays=(5 * MS,) * 20_000,
    lost_after=5 * MS,
    cancel_delays=(5 * MS, 10 * MS),
)
OWNERS = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(0, 5)
METHODS = st.sampled_from(
    [
        *("status", "submit", "submit_set", "cancel", "cancel_many"),
        *("find", "check", "snapshot"),
    ]
)
ERRORS = st.sampled_from(
    [
        SchedulerUnavailable("away"),
        AuthenticationBroken("munge"),
        LimitReached("full"),
        ZeroDivisionError("bug"),
    ]
)
STATES = st.sampled_from(
    [
        JobState.CONFIGURING,
        JobState.RUNNING,
        JobState.SUSPENDED,
        JobState.REQUEUED,
        JobState.COMPLETING,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
        JobState.CANCELLED,
        JobState.UNKNOWN,
    ]
)


class Witness(FakeScheduler):
    """Counts submissions by name, and keeps what was cancelled."""

    def __init__(self):
        super().__init__()
        self.submitted = []
        self.cancelled = set()

    async def submit(self, spec, *, user):
        self.submitted.append(spec.name)
        return await super().submit(spec, user=user)

    async def submit_set(self, spec, count, *, user):
        self.submitted.append(spec.name)
        return await super().submit_set(spec, count, user=user)

    async def cancel(self, job):
        self.cancelled.add(job.name)
        await super().cancel(job)

    async def cancel_many(self, jobs):
        self.cancelled |= {job.name for job in jobs}
        return await super().cancel_many(jobs)


class HubLife(RuleBasedStateMachine):
    """Users, faults and deaths, in any order."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.directory.name) / 'jobs.sqlite'}"
        self.loop = asyncio.new_event_loop()
        self.scheduler = Witness()
        self.wished = set()
        self.forgotten = []
        self.returned = set()
        self.do(self.open())

    def do(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    async def open(self):
        self.store = await JobStore.open(self.url)
        self.jobs = Jobs(self.scheduler, self.store, QUICK)
        await self.jobs.start()

    async def die(self):
        """End every task where it is, as a kill does."""
        await self.jobs.abandon()
        await self.store.close()

    @rule(owner=OWNERS)
    def submit(self, owner):
        spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/tmp")

        async def go():
            with contextlib.suppress(BatchError, ZeroDivisionError):
                await self.jobs.submit(spec, user="alice", owner=owner)

        self.do(self.begin(go()))

    @rule(owners=st.permutations(["a", "b", "c"]), count=st.integers(1, 3))
    def submit_set(self, owners, count):
        spec = JobSpec(new_job_name(), "#!/bin/sh\n", Resources(), "/tmp")

        async def go():
            with contextlib.suppress(BatchError, ZeroDivisionError):
                await self.jobs.submit_set(spec, user="alice", owners=owners[:count])

        self.do(self.begin(go()))

    async def begin(self, coroutine):
        self.task = asyncio.create_task(coroutine)
        await asyncio.sleep(0.001)

    @rule(owner=OWNERS)
    def cancel(self, owner):
        record = self.jobs.current(owner)
        if record is not None:
            self.wished.add(record.name)
            self.do(self.jobs.cancel(record.name))

    @rule()
    def cancel_all(self):
        records = [self.jobs.current(owner) for owner in ("a", "b", "c")]
        self.wished |= {record.name for record in records if record}
        self.do(asyncio.wait_for(self.end(records), 10))

    async def end(self, records):
        await asyncio.gather(*(self.jobs.cancel(r.name) for r in records if r))

    @rule(owner=OWNERS)
    def report_ready(self, owner):
        record = self.jobs.current(owner)
        if record is not None:
            if not record.live:
                self.wished.add(record.name)
            with contextlib.suppress(BatchError):
                self.do(
                    self.jobs.report_ready(
                        record.name, Address("n01", "10.0.0.1", 4000)
                    )
                )

    @rule(accepted=st.booleans())
    def lose_answer(self, accepted):
        self.scheduler.lose_answer(accepted=accepted)

    @rule()
    def deliver(self):
        self.scheduler.deliver()

    @rule(method=METHODS, error=ERRORS, times=st.integers(1, 4))
    def fail(self, method, error, times):
        self.scheduler.fail_next(method, error, times=times)

    @rule(stubborn=st.booleans())
    def be_stubborn(self, stubborn):
        self.scheduler.cancels_work = not stubborn

    # Which rules may run must not depend on what the tasks have done by now, or
    # Hypothesis cannot repeat a life: so these pick by number, if there is any.

    def pick(self, number):
        living = self.scheduler.live()
        return living[number % len(living)] if living else None

    @rule(number=NUMBERS, state=STATES)
    def move(self, number, state):
        if job := self.pick(number):
            self.scheduler.move(job, state, node="n01")

    @rule(number=NUMBERS)
    def forget(self, number):
        if job := self.pick(number):
            self.forgotten.append(self.scheduler._jobs[job.id])
            self.scheduler.forget(job)

    @rule()
    def remember(self):
        if self.forgotten:
            entry = self.forgotten.pop()
            self.scheduler._jobs[entry.job.id] = entry

    @rule(number=NUMBERS)
    def take_an_end_back(self, number):
        """What a controller does that crashes before it saved the end of a job."""
        over = [
            entry.job
            for entry in self.scheduler._jobs.values()
            if entry.status.state.ended
        ]
        if over:
            job = over[number % len(over)]
            self.returned.add(job.name)
            self.scheduler.move(job, JobState.RUNNING, node="n01")

    @rule(milliseconds=st.integers(0, 25))
    def pass_time(self, milliseconds):
        self.do(asyncio.sleep(milliseconds / 1000))

    @rule()
    def kill_and_restart(self):
        self.do(self.die())
        self.do(self.open())

    def teardown(self):
        try:
            self.scheduler.heal()
            self.scheduler.cancels_work = True
            self.scheduler.deliver()
            for job in self.scheduler.live():
                if self.scheduler._jobs[job.id].status.state is JobState.UNKNOWN:
                    self.scheduler.move(job, JobState.RUNNING)
            self.do(self.settle())
            self.do(self.check_cancels())
            assert len(self.scheduler.submitted) == len(set(self.scheduler.submitted))
        finally:
            self.do(self.die())
            self.loop.close()
            self.directory.cleanup()

    async def settle(self):
        deadline = time.monotonic() + 10
        while problem := self.problem():
            assert time.monotonic() < deadline, problem
            await asyncio.sleep(0.002)

    def problem(self):
        records = self.jobs.records()
        living = {job.id: job.name for job in self.scheduler.live()}
        believed = {r.job.id: r.name for r in records if r.job is not None}
        if any(record.phase is Phase.INTENT for record in records):
            return "an intent is open"
        if any(record.cancel_wanted for record in records):
            return "a wish is open"
        if living != believed:
            return f"{living} live, {believed} believed"
        owners = [record.owner for record in records]
        return len(owners) != len(set(owners)) and "an owner has two jobs"

    async def check_cancels(self):
        for name in self.scheduler.cancelled - self.wished - self.returned:
            stored = await self.store.get(name)
            record = stored.record
            lost = any(
                event.data.get("state") == "LOST"
                for event in await self.store.events(name)
            )
            assert record.phase is Phase.REFUSED or lost, record


HubLife.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHubLife = HubLife.TestCase
