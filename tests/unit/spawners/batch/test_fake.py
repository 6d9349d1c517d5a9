"""The fake scheduler keeps the protocol and does what it is told."""

import pytest

from spawners.batch.errors import (
    LimitReached,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUncertain,
)
from spawners.batch.fake import FakeScheduler
from spawners.batch.models import BatchJob, JobState, Resources
from spawners.batch.scheduler import ABSENT, Scheduler


def test_it_is_a_scheduler(fake):
    scheduler: Scheduler = fake
    assert scheduler.name == "fake"


async def test_a_job_waits_until_it_is_moved(fake, new_spec):
    job = await fake.submit(new_spec(), user="alice")
    assert (await fake.status([job]))[job].state is JobState.PENDING
    fake.move(job, JobState.RUNNING, node="n01")
    status = (await fake.status([job]))[job]
    assert status.state is JobState.RUNNING
    assert status.nodes == ("n01",)
    assert status.started is not None


async def test_a_set_answers_for_one_task_as_it_is_told(fake, new_spec):
    jobs = await fake.submit_set(new_spec(), 3, user="alice")
    fake.fail_cancel(jobs[1])
    answers = await fake.cancel_many(jobs)
    assert [answers[job] is None for job in jobs] == [True, False, True]
    assert fake.live() == [jobs[1]]
    with pytest.raises(SchedulerUnavailable):
        await fake.cancel(jobs[1])
    fake.heal()
    await fake.cancel(jobs[1])
    assert fake.live() == []


async def test_a_failure_of_a_whole_call_is_the_answer_for_each(fake, new_spec):
    jobs = await fake.submit_set(new_spec(), 2, user="alice")
    fake.fail_next("cancel_many")
    assert None not in (await fake.cancel_many(jobs)).values()
    assert fake.live() == list(jobs)
    fake.fail_next("submit_set", LimitReached("No more."))
    with pytest.raises(LimitReached):
        await fake.submit_set(new_spec(), 2, user="alice")


async def test_a_requeue_counts(fake, new_spec):
    job = await fake.submit(new_spec(), user="alice")
    fake.move(job, JobState.RUNNING, node="n01")
    status = fake.move(job, JobState.PENDING)
    assert (status.restarts, status.nodes, status.started) == (1, (), None)


async def test_a_failure_happens_as_often_as_asked(fake, new_spec):
    job = await fake.submit(new_spec(), user="alice")
    fake.fail_next("status", times=2)
    for _ in range(2):
        with pytest.raises(SchedulerUnavailable):
            await fake.status([job])
    assert job in await fake.status([job])
    fake.fail_next("submit", LimitReached("No more."))
    with pytest.raises(LimitReached):
        await fake.submit(new_spec(), user="alice")
    fake.fail_next("cancel")
    fake.heal()
    await fake.cancel(job)


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_lost_answer_may_have_become_a_job(fake, new_spec, accepted):
    spec = new_spec()
    fake.lose_answer(accepted=accepted)
    with pytest.raises(SubmitUncertain):
        await fake.submit(spec, user="alice")
    assert len(await fake.find(spec.name, user="alice")) == accepted
    late = fake.deliver()
    assert len(late) == (not accepted)
    assert len(await fake.find(spec.name, user="alice")) == 1
    assert await fake.find(spec.name, user="bob") == ()


async def test_a_forgotten_job_is_absent_and_its_id_may_be_anothers(fake, new_spec):
    job = await fake.submit(new_spec(), user="alice")
    fake.forget(job)
    assert (await fake.status([job]))[job].reason == ABSENT
    other = BatchJob(job.id, "another", "bob")
    assert (await fake.status([other]))[other].reason == ABSENT


async def test_a_cancel_needs_the_whole_identity(fake, new_spec):
    job = await fake.submit(new_spec(), user="alice")
    await fake.cancel(BatchJob(job.id, job.name, "bob"))
    assert fake.live(user="alice") == [job]
    await fake.cancel(job)
    await fake.cancel(job)
    assert fake.live() == []
    assert fake.cancels(job) == 2


async def test_a_stubborn_job_lives_through_a_cancel(new_spec):
    fake = FakeScheduler(cancels_work=False)
    job = await fake.submit(new_spec(), user="alice")
    await fake.cancel(job)
    assert fake.live() == [job]


async def test_the_check_names_what_is_to_blame(fake):
    with pytest.raises(SubmitRejected) as caught:
        await fake.check(Resources(partition="nowhere"), user="alice")
    assert caught.value.field == "partition"
    with pytest.raises(SubmitRejected) as caught:
        await fake.check(Resources(cpus=100), user="alice")
    assert caught.value.field == "cpus"


async def test_the_questions_around_are_answered(fake, new_spec):
    spec = new_spec()
    job = await fake.submit(spec, user="alice")
    assert fake.spec(job) == spec
    assert (await fake.snapshot()).partition(None).name == "main"
    assert (await fake.limits("alice")).accounts == {}
    assert await fake.estimate(spec, user="alice") is not None
    fake.move(job, JobState.FAILED, exit_code=1, output="last words")
    assert await fake.read_output(job, "/x", max_bytes=5) == "words"
    await fake.close()
    assert fake.calls["submit"] == 1
