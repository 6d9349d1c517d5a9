"""A job is submitted once, whatever becomes of the answer."""

import asyncio
import sqlite3

import pytest

from rigs.batch.jobs import OWNER, ended, in_state
from spawners.batch.errors import (
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    SubmitRejected,
)
from spawners.batch.jobs.errors import AlreadyLive
from spawners.batch.jobs.record import Phase
from spawners.batch.models import JobState, Resources

pytestmark = pytest.mark.usefixtures("deadline")


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


async def test_odd_owners_are_refused(submit):
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
