"""Jobs are never lost, doubled or orphaned, whatever fails around them."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from spawners.batch.errors import (
    AlreadyLive,
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    SchedulerUnavailable,
    StaleReport,
    StoreUnavailable,
    SubmitRejected,
    UnknownJob,
)
from spawners.batch.models import BatchJob, JobState, Resources
from spawners.batch.records import Endpoint, Phase

OWNER = "server:alice/"
ENDPOINT = Endpoint("n01", "10.0.0.1", 40000, "ab" * 32)

pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture
def submit(jobs, new_spec):
    async def do(owner=OWNER, user="alice", jobs=jobs, **fields):
        return await jobs.submit(new_spec(**fields), user=user, owner=owner)

    return do


@pytest.fixture
def kinds(jobs):
    async def read(owner=OWNER, jobs=jobs):
        return [event.kind for event in await jobs.events(owner)]

    return read


def ended(record):
    return not record.live


def in_state(state):
    return lambda record: record.status.state is state


# -- submitting


async def test_a_submission_has_its_identity_and_is_written_down(
    jobs, fake, new_spec, open_jobs
):
    spec = new_spec(resources=Resources(cpus=2), output="/home/alice/%j.log")
    record = await jobs.submit(
        spec, user="alice", owner=OWNER, facts={"profile": "small"}
    )
    assert record.phase is Phase.SUBMITTED
    assert record.job == fake.live()[0]
    assert (record.name, record.generation) == (spec.name, 1)
    assert record.facts == {"profile": "small"}
    assert record.output == "/home/alice/%j.log"
    assert jobs.current(OWNER) == jobs.get(record.name) == jobs.records()[0]
    again = await open_jobs()
    assert again.current(OWNER).job == record.job


async def test_the_intent_is_on_disk_before_the_scheduler_hears_of_it(
    jobs, fake, submit, store_url
):
    seen = []
    real = fake.submit

    async def look_first(spec, *, user):
        path = store_url.removeprefix("sqlite:///")
        with sqlite3.connect(path) as connection:
            seen.extend(connection.execute("SELECT name, phase FROM landbridge_jobs"))
        connection.close()
        return await real(spec, user=user)

    fake.submit = look_first
    record = await submit()
    assert seen == [(record.name, "intent")]


async def test_an_owner_has_one_live_job(jobs, fake, submit):
    record = await submit()
    with pytest.raises(AlreadyLive) as caught:
        await submit()
    assert caught.value.record.name == record.name
    assert len(fake.live()) == 1
    await submit(owner="server:alice/named")
    assert len(fake.live()) == 2


async def test_a_double_click_starts_one_job(jobs, fake, submit):
    answers = await asyncio.gather(
        *(submit() for _ in range(20)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, AlreadyLive)]
    assert len(refused) == 19
    assert len({answer.record.name for answer in refused}) == 1
    assert len(fake.live()) == 1


async def test_the_next_start_is_the_next_generation(jobs, fake, submit):
    first = await submit()
    await jobs.cancel(first.name)
    await jobs.wait(first.name, ended)
    second = await submit()
    assert second.generation == 2
    assert jobs.current(OWNER).name == second.name
    assert [e.message for e in await jobs.events(OWNER, generation=1)]
    assert len(fake.live()) == 1


async def test_a_refusal_is_kept_with_its_reason(jobs, fake, submit, kinds):
    fake.fail_next("submit", LimitReached("Two jobs at most.", hint="Stop one."))
    with pytest.raises(LimitReached):
        await submit()
    record = jobs.current(OWNER)
    assert record.phase is Phase.REFUSED
    assert "Two jobs at most." in record.failure.detail
    assert record.failure.hint == "Stop one."
    assert await kinds() == ["failed"]
    assert fake.live() == []
    assert (await submit()).generation == 2


async def test_our_own_check_refuses_before_anything_is_submitted(jobs, fake, submit):
    with pytest.raises(SubmitRejected):
        await submit(resources=Resources(partition="nowhere"))
    assert jobs.current(OWNER).phase is Phase.REFUSED
    assert fake.calls["submit"] == 0


@pytest.mark.parametrize("method", ["check", "submit"])
@pytest.mark.parametrize("error", [AuthenticationBroken("munge")])
async def test_any_certain_refusal_frees_the_owner(fake, submit, jobs, method, error):
    fake.fail_next(method, error)
    with pytest.raises(type(error)):
        await submit()
    assert not jobs.current(OWNER).live
    await submit()


async def test_a_bug_in_a_check_frees_the_owner(fake, submit, jobs):
    fake.fail_next("check", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await submit()
    assert jobs.current(OWNER).phase is Phase.REFUSED


async def test_arrays_and_odd_owners_are_refused(submit):
    with pytest.raises(InvalidSpec):
        await submit(resources=Resources(array_size=2))
    for owner in ("", "x" * 301, "server:alice\n"):
        with pytest.raises(InvalidSpec):
            await submit(owner=owner)


async def test_a_caller_that_goes_away_leaves_no_orphan(jobs, fake, submit):
    gate = asyncio.Event()
    real = fake.submit

    async def slow(spec, *, user):
        await gate.wait()
        return await real(spec, user=user)

    fake.submit = slow
    task = asyncio.create_task(submit())
    while jobs.current(OWNER) is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    name = jobs.current(OWNER).name
    record = await jobs.wait(name, lambda r: r.phase is Phase.SUBMITTED)
    assert [record.job] == fake.live()
    await jobs.wait(name, in_state(JobState.PENDING))


# -- lost answers


async def test_a_lost_answer_is_found_by_name(jobs, fake, submit, kinds):
    fake.lose_answer()
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert [record.job] == fake.live()
    assert fake.calls["submit"] == 1
    assert (await kinds())[:2] == ["warning", "submitted"]


async def test_a_nonsense_answer_is_a_lost_answer(jobs, fake, submit):
    real = fake.submit

    async def odd(spec, *, user):
        await real(spec, user=user)
        return ()

    fake.submit = odd
    assert (await submit()).phase is Phase.SUBMITTED
    assert len(fake.live()) == 1


async def test_a_crash_of_the_scheduler_class_is_a_lost_answer(jobs, fake, submit):
    fake.fail_next("submit", ZeroDivisionError())
    with pytest.raises(SchedulerUnavailable):
        await submit()
    assert jobs.current(OWNER).phase is Phase.REFUSED


async def test_looking_waits_for_the_controller(jobs, fake, submit):
    fake.lose_answer()
    fake.fail_next("find", times=2)
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert fake.calls["find"] >= 3


async def test_what_is_not_found_is_given_up_and_never_repeated(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable, match="never took"):
        await submit()
    record = jobs.current(OWNER)
    assert record.phase is Phase.REFUSED
    assert record.look_until is not None
    assert fake.calls["submit"] == 1
    assert fake.calls["find"] == 3


async def test_a_job_that_arrives_between_two_looks_is_adopted(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    fake.deliver()
    record = await task
    assert [record.job] == fake.live()


async def test_a_late_twin_is_cancelled_beside_the_new_start(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    given_up = jobs.current(OWNER)
    second = await submit()
    (twin,) = fake.deliver()
    record = await jobs.wait(given_up.name, lambda r: r.status.state.ended)
    assert record.phase is Phase.REFUSED
    assert record.job == twin
    assert fake.live() == [second.job]
    assert jobs.current(OWNER).name == second.name


async def test_twins_are_looked_for_until_a_set_time(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    record = jobs.current(OWNER)
    await jobs.wait(record.name, lambda r: r.look_until is None)
    assert fake.calls["find"] == 3 + 3


async def test_quick_stops_do_not_shorten_the_search(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    for _ in range(10):
        await jobs.cancel(name)
    (twin,) = fake.deliver()
    record = await task
    await jobs.wait(name, ended)
    assert record.job == twin
    assert fake.live() == []


async def test_a_second_job_of_one_name_is_cancelled(jobs, fake, submit, new_spec):
    spec = new_spec()
    await fake.submit(spec, user="alice")
    fake.lose_answer()
    record = await jobs.submit(spec, user="alice", owner=OWNER)
    while len(fake.live()) > 1:
        await asyncio.sleep(0.01)
    assert fake.live() == [record.job]


async def test_an_identity_without_its_time_is_completed(jobs, fake, submit):
    real = fake.submit

    async def short(spec, *, user):
        (job,) = await real(spec, user=user)
        return (BatchJob(job.id, job.name, job.user),)

    fake.submit = short
    record = await submit()
    assert record.job.submitted is None
    record = await jobs.wait(record.name, lambda r: r.job.submitted)
    assert [record.job] == fake.live()


# -- cancelling


async def test_a_cancel_ends_the_job_and_is_no_failure(jobs, fake, submit, kinds):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    await jobs.cancel(record.name)
    assert fake.live() == []
    record = await jobs.wait(record.name, ended)
    assert record.phase is Phase.ENDED
    assert record.failure is None
    assert (await kinds())[-2:] == ["cancelling", "cancelled"]
    asked = fake.calls["cancel"]
    await jobs.cancel(record.name)
    assert fake.calls["cancel"] == asked


async def test_a_cancel_is_repeated_until_the_end_was_read(jobs, fake, submit):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    while fake.cancels(record.job) < 3:
        await asyncio.sleep(0.01)
    assert jobs.get(record.name).live
    fake.move(record.job, JobState.CANCELLED)
    await jobs.wait(record.name, ended)


async def test_a_cancel_that_fails_is_tried_again(jobs, fake, submit):
    record = await submit()
    fake.fail_next("cancel", times=3)
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert fake.live() == []


async def test_an_old_wish_is_told_to_operators(jobs, fake, submit, kinds, caplog):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    while jobs.counters.cancels_overdue == 0:
        await asyncio.sleep(0.01)
    assert "should have ended" in caplog.text
    assert "warning" in await kinds()
    fake.move(record.job, JobState.CANCELLED)
    await jobs.wait(record.name, ended)


async def test_a_wish_survives_a_restart(jobs, fake, submit, open_jobs):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.close()
    fake.cancels_work = True
    again = await open_jobs()
    assert again.get(record.name).cancel_wanted is not None
    await again.wait(record.name, ended)
    assert fake.live() == []


async def test_a_cancel_before_the_submission_keeps_it_from_happening(
    jobs, fake, submit
):
    gate = asyncio.Event()
    real = fake.check

    async def slow(resources, *, user):
        await gate.wait()
        await real(resources, user=user)

    fake.check = slow
    task = asyncio.create_task(submit())
    while jobs.current(OWNER) is None:
        await asyncio.sleep(0)
    await jobs.cancel(jobs.current(OWNER).name)
    gate.set()
    record = await task
    assert record.phase is Phase.ENDED
    assert record.status.state is JobState.CANCELLED
    assert fake.calls["submit"] == 0


async def test_a_cancel_during_the_submission_ends_the_job_that_comes(
    jobs, fake, submit
):
    gate = asyncio.Event()
    real = fake.submit

    async def slow(spec, *, user):
        await gate.wait()
        return await real(spec, user=user)

    fake.submit = slow
    task = asyncio.create_task(submit())
    while fake.calls["check"] == 0:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    await jobs.cancel(name)
    gate.set()
    await task
    await jobs.wait(name, ended)
    assert fake.live() == []


async def test_a_cancel_of_a_lost_submission_ends_the_job_that_comes(
    jobs, fake, submit
):
    fake.lose_answer(accepted=False)
    task = asyncio.create_task(submit())
    while fake.calls["find"] < 1:
        await asyncio.sleep(0)
    name = jobs.current(OWNER).name
    await jobs.cancel(name)
    record = await task
    assert record.phase is Phase.ENDED
    assert record.failure is None
    (twin,) = fake.deliver()
    await jobs.wait(name, lambda r: r.job == twin and r.status.state.ended)
    assert fake.live() == []


async def test_what_is_not_there_cannot_be_cancelled(jobs):
    with pytest.raises(UnknownJob):
        await jobs.cancel("lb-nobody")


async def test_a_reused_id_is_left_alone(jobs, fake, submit, new_spec):
    record = await submit()
    fake.forget(record.job)
    fake._next_id = int(record.job.id)
    (other,) = await fake.submit(new_spec(), user="bob")
    assert other.id == record.job.id
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    assert fake.live() == [other]


# -- readings


async def test_the_last_good_status_stays_while_nobody_answers(jobs, fake, submit):
    record = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    fake.fail_next("status", times=2)
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, lambda r: not r.status_is_current)
    assert record.live
    assert record.status.state is JobState.RUNNING
    assert not jobs.counters.scheduler_healthy
    record = await jobs.wait(record.name, lambda r: r.status_is_current)
    assert jobs.counters.scheduler_healthy


@pytest.mark.parametrize("lie", ["empty", "unknown", "nonsense"])
async def test_an_odd_reading_says_nothing(jobs, fake, submit, lie):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    real = fake.status

    async def odd(asked):
        if lie == "nonsense":
            raise ZeroDivisionError
        if lie == "empty":
            return {}
        reading = await real(asked)
        fake.move(record.job, JobState.UNKNOWN, reason="x")
        return reading

    fake.status = odd
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, lambda r: not r.status_is_current)
    assert record.live
    assert record.status.state is JobState.PENDING


async def test_a_job_absent_twice_is_lost_and_not_started_again(
    jobs, fake, submit, kinds
):
    record = await submit()
    fake.forget(record.job)
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.LOST
    assert record.failure.title == "Lost by the scheduler"
    assert (await kinds())[-1] == "failed"
    assert fake.calls["submit"] == 1


async def test_a_job_absent_once_is_not_lost(jobs, fake, submit):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    entry = fake._jobs.pop(record.job.id)
    jobs.heard_of(record.name)
    await jobs.wait(record.name, lambda r: not r.status_is_current)
    fake._jobs[record.job.id] = entry
    record = await jobs.wait(record.name, lambda r: r.status_is_current)
    assert record.live


async def test_a_lost_job_that_comes_back_is_ended(jobs, fake, submit):
    record = await submit()
    entry = fake._jobs[record.job.id]
    fake.forget(record.job)
    await jobs.wait(record.name, ended)
    fake._jobs[record.job.id] = entry
    while fake.live():
        await asyncio.sleep(0.01)
    assert jobs.get(record.name).phase is Phase.ENDED


async def test_an_end_that_a_crash_took_back_is_made_again(jobs, fake, submit):
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    new = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    while record.job in fake.live():
        await asyncio.sleep(0.01)
    assert fake.live() == [new.job]
    record = await jobs.wait(record.name, lambda r: r.status.state.ended)
    assert record.phase is Phase.ENDED


async def test_an_end_is_looked_at_after_a_restart_too(jobs, fake, submit, open_jobs):
    record = await submit()
    await jobs.cancel(record.name)
    await jobs.wait(record.name, ended)
    await submit()
    await jobs.close()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await open_jobs()
    while record.job in fake.live():
        await asyncio.sleep(0.01)


async def test_the_ended_are_forgotten_after_a_while(open_jobs, fake, quick, new_spec):
    from dataclasses import replace

    jobs = await open_jobs(settings=replace(quick, rest_time=timedelta(0)))
    record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
    await jobs.cancel(record.name)
    await jobs.wait(record.name, lambda r: not r.live and r.look_until is None)
    asked = fake.calls["status"]
    await asyncio.sleep(0.1)
    assert fake.calls["status"] == asked


async def test_an_end_is_told_with_its_last_words(jobs, fake, submit, kinds):
    record = await submit(
        resources=Resources(memory=4 * 1024**3), output="/home/alice/%j.log"
    )
    fake.move(record.job, JobState.OUT_OF_MEMORY, node="n01", output="Killed\n")
    record = await jobs.wait(record.name, ended)
    assert record.failure.title == "Out of memory"
    assert record.failure.log.strip() == "Killed"
    assert (await kinds())[-1] == "failed"


async def test_a_log_that_cannot_be_read_does_not_hold_up_the_end(jobs, fake, submit):
    record = await submit(output="/home/alice/%j.log")
    fake.fail_next("read_output")
    fake.move(record.job, JobState.FAILED, exit_code=1)
    record = await jobs.wait(record.name, ended)
    assert record.failure.log == ""
    assert record.status.exit_code == 1


async def test_the_story_of_a_job_is_told_in_order(jobs, fake, submit, kinds):
    record = await submit()
    steps = [
        (JobState.CONFIGURING, "n01"),
        (JobState.RUNNING, "n01"),
        (JobState.SUSPENDED, "n01"),
        (JobState.RUNNING, "n01"),
        (JobState.REQUEUED, None),
        (JobState.RUNNING, "n02"),
    ]
    await jobs.wait(record.name, in_state(JobState.PENDING))
    for state, node in steps:
        fake.move(record.job, state, node=node)
        await jobs.wait(record.name, in_state(state))
    fake.move(record.job, JobState.PREEMPTED)
    record = await jobs.wait(record.name, ended)
    assert await kinds() == [
        "submitted",
        "queued",
        "allocated",
        "running",
        "suspended",
        "running",
        "requeued",
        "running",
        "failed",
    ]
    assert record.failure.title == "Preempted"


async def test_every_state_is_taken_in(jobs, fake, submit):
    for number, state in enumerate(JobState):
        if state is JobState.UNKNOWN:
            continue
        record = await submit(owner=f"server:alice/{number}")
        fake.move(record.job, state, node="n01")
        record = await jobs.wait(record.name, in_state(state))
        if state.ended:
            record = await jobs.wait(record.name, ended)
        assert record.live is not state.ended


# -- reports


async def test_a_ready_report_is_kept(jobs, fake, submit, kinds, open_jobs):
    record = await submit()
    await jobs.report_ready(record.name, ENDPOINT)
    await jobs.report_ready(record.name, ENDPOINT)
    assert jobs.get(record.name).endpoint == ENDPOINT
    assert (await kinds()).count("ready") == 1
    again = await open_jobs()
    assert again.get(record.name).endpoint == ENDPOINT


async def test_an_endpoint_is_reported_once(jobs, submit):
    record = await submit()
    other = Endpoint("n02", "10.0.0.2", 40000)
    answers = await asyncio.gather(
        jobs.report_ready(record.name, ENDPOINT),
        jobs.report_ready(record.name, other),
        return_exceptions=True,
    )
    assert isinstance(answers[1], StaleReport)
    with pytest.raises(StaleReport):
        await jobs.report_ready(record.name, other)
    assert jobs.get(record.name).endpoint == ENDPOINT
    assert jobs.get(record.name).live


async def test_a_job_that_is_being_stopped_is_refused(jobs, fake, submit):
    fake.cancels_work = False
    record = await submit()
    await jobs.cancel(record.name)
    with pytest.raises(StaleReport):
        await jobs.report_ready(record.name, ENDPOINT)
    assert jobs.get(record.name).endpoint is None


async def test_a_report_of_an_older_generation_ends_that_job(jobs, fake, submit):
    fake.lose_answer(accepted=False)
    with pytest.raises(SchedulerUnavailable):
        await submit()
    old = jobs.current(OWNER)
    await jobs.wait(old.name, lambda r: r.look_until is None)
    new = await submit()
    (twin,) = fake.deliver()
    fake.move(twin, JobState.RUNNING, node="n01")
    with pytest.raises(StaleReport):
        await jobs.report_ready(old.name, ENDPOINT)
    while twin in fake.live():
        await asyncio.sleep(0.01)
    assert fake.live() == [new.job]
    assert jobs.current(OWNER).endpoint is None


async def test_a_report_of_nobody_is_refused(jobs):
    with pytest.raises(UnknownJob):
        await jobs.report_ready("lb-nobody", ENDPOINT)
    with pytest.raises(UnknownJob):
        await jobs.report_ended("lb-nobody", 0, None)


async def test_a_reported_end_brings_its_log_but_is_no_end(jobs, fake, submit, kinds):
    record = await submit(output="/x")
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    await jobs.report_ended(record.name, 3, None, "its last words")
    assert jobs.get(record.name).live
    assert "server" in await kinds()
    fake.move(record.job, JobState.FAILED)
    record = await jobs.wait(record.name, ended)
    assert record.failure.log == "its last words"
    assert record.status.exit_code == 3
    assert fake.calls["read_output"] == 0


async def test_a_reported_end_is_evidence_where_nobody_keeps_accounts(
    jobs, fake, submit
):
    record = await submit()
    await jobs.report_ended(record.name, 0, None, "")
    fake.forget(record.job)
    record = await jobs.wait(record.name, ended)
    assert record.status.state is JobState.COMPLETED


# -- events


async def test_notes_are_events_with_numbers(jobs, submit):
    record = await submit()
    first = await jobs.note(record.name, "server", "Listening", port=4000)
    second = await jobs.note(record.name, "server", "Again")
    assert second.seq > first.seq
    events = await jobs.events(OWNER, after=first.seq - 1)
    assert first in events
    assert second in events
    assert first.data == {"port": 4000}


async def test_waiting_for_an_event_ends_with_the_next_one(jobs, submit):
    record = await submit()
    await jobs.wait(record.name, in_state(JobState.PENDING))
    last = (await jobs.events(OWNER))[-1].seq
    await jobs.changed(OWNER, last - 1)
    waiting = asyncio.create_task(jobs.changed(OWNER, last))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await jobs.note(record.name, "server", "Hello")
    await waiting
    assert len(await jobs.events(OWNER, last)) == 1


async def test_waiting_for_an_event_ends_with_a_new_start(jobs, fake, submit):
    first = await submit()
    await jobs.cancel(first.name)
    await jobs.wait(first.name, ended)
    waiting = asyncio.create_task(jobs.changed(OWNER, 1000))
    await submit()
    await waiting


async def test_the_story_can_be_read_after_a_restart(jobs, fake, submit, open_jobs):
    record = await submit()
    fake.move(record.job, JobState.FAILED, exit_code=1)
    await jobs.wait(record.name, ended)
    before = await jobs.events(OWNER)
    again = await open_jobs()
    assert await again.events(OWNER) == before
    assert again.current(OWNER).failure == jobs.current(OWNER).failure
    assert await again.events("server:nobody/") == []


# -- the store fails


@pytest.fixture
def lock(store_url):
    """Hold the database's lock, as a backup or an operator may."""
    other = sqlite3.connect(store_url.removeprefix("sqlite:///"))

    class Lock:
        def hold(self):
            other.execute("BEGIN EXCLUSIVE")

        def release(self):
            other.rollback()

    yield Lock()
    other.close()


async def test_nothing_is_submitted_that_cannot_be_written_down(
    jobs, fake, submit, lock
):
    lock.hold()
    with pytest.raises(StoreUnavailable):
        await submit()
    assert fake.calls["submit"] == 0
    assert jobs.current(OWNER) is None
    lock.release()
    await submit()


async def test_a_wish_that_cannot_be_written_down_is_refused(jobs, fake, submit, lock):
    record = await submit()
    lock.hold()
    with pytest.raises(StoreUnavailable):
        await jobs.cancel(record.name)
    assert [record.job] == fake.live()
    assert jobs.get(record.name).cancel_wanted is None
    lock.release()
    await jobs.cancel(record.name)


async def test_an_identity_is_kept_until_it_can_be_written(
    jobs, fake, submit, lock, open_jobs
):
    real = fake.submit

    async def lock_after(spec, *, user):
        answer = await real(spec, user=user)
        lock.hold()
        return answer

    fake.submit = lock_after
    record = await submit()
    assert record.phase is Phase.SUBMITTED
    assert jobs.counters.unsaved == 1
    lock.release()
    await jobs.note(record.name, "server", "Hello")
    while jobs.counters.unsaved:
        await asyncio.sleep(0.01)
    again = await open_jobs()
    assert again.get(record.name).job == record.job


async def test_running_jobs_go_on_while_the_store_does_not(jobs, fake, submit, lock):
    record = await submit()
    fake.move(record.job, JobState.RUNNING, node="n01")
    await jobs.wait(record.name, in_state(JobState.RUNNING))
    lock.hold()
    fake.move(record.job, JobState.COMPLETED, exit_code=0)
    jobs.heard_of(record.name)
    record = await jobs.wait(record.name, ended)
    lock.release()
    events = await jobs.events(OWNER)
    assert events[-1].kind == "ended"


# -- around


async def test_records_can_be_listed_by_user(jobs, fake, submit):
    first = await submit()
    await submit(owner="server:bob/", user="bob")
    fake.move(first.job, JobState.FAILED)
    await jobs.wait(first.name, ended)
    assert [r.user for r in jobs.records()] == ["bob"]
    assert [r.user for r in jobs.records(live_only=False)] == ["alice", "bob"]
    assert jobs.records(user="alice") == []


async def test_limits_are_read_once_and_kept(open_jobs, fake, quick):
    jobs = await open_jobs()
    await asyncio.gather(*(jobs.limits("alice") for _ in range(5)))
    assert fake.calls["limits"] == 1
    fake.fail_next("limits")
    with pytest.raises(SchedulerUnavailable):
        await jobs.limits("bob")
    await jobs.limits("bob")


async def test_old_limits_are_better_than_none(open_jobs, fake, quick):
    from dataclasses import replace

    jobs = await open_jobs(settings=replace(quick, limits_age=timedelta(0)))
    known = await jobs.limits("alice")
    fake.fail_next("limits")
    assert await jobs.limits("alice") is known


async def test_the_counters_count(jobs, submit):
    await submit()
    counters = jobs.counters
    assert counters.live == 1
    assert counters.calls["submit"] == 1
    assert jobs.commands_per_minute == sum(counters.calls.values())


async def test_pruning_happens_by_itself(fake, quick, open_jobs, new_spec):
    from dataclasses import replace

    settings = replace(quick, keep=timedelta(0), rest_time=timedelta(0))
    jobs = await open_jobs(settings=settings)
    for _ in range(2):
        record = await jobs.submit(new_spec(), user="alice", owner=OWNER)
        fake.move(record.job, JobState.COMPLETED, exit_code=0)
        await jobs.wait(record.name, lambda r: not r.live and r.look_until is None)
    await jobs.close()
    again = await open_jobs(settings=settings)
    while await again.events(OWNER, generation=1):
        await asyncio.sleep(0.01)
    assert await again.events(OWNER, generation=2)
