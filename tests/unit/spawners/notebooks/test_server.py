"""The life of a batch server as JupyterHub sees it, on the fake scheduler."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from jupyterhub import orm
from jupyterhub.utils import format_exception

from rigs.notebooks.spawners import Rig
from spawners.batch.errors import LimitReached, SchedulerUnavailable, SubmitRejected
from spawners.batch.jobs.record import Address
from spawners.batch.jobs.tables import launches
from spawners.batch.models import JobState
from spawners.notebooks import spawner as server_job
from spawners.notebooks.errors import StartFailed
from spawners.notebooks.state import ServerState, TokenCipher


async def test_a_start_returns_the_name_in_the_certificate(servers: Rig) -> None:
    spawner = servers.spawner()
    url = await servers.bring_up(spawner)
    assert url == f"https://{spawner.job_name}.landbridge.internal:41234"
    assert await spawner.poll() is None


async def test_the_job_is_known_before_the_start_has_returned(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    stored = ServerState.read(spawner.orm_spawner.state)
    assert stored.job == job.name
    assert spawner.api_token not in str(spawner.orm_spawner.state)
    assert TokenCipher(b"secret").open(stored.token) == spawner.api_token
    start.cancel()
    await servers.over(job.name)


async def test_a_second_hub_attaches_with_the_first_token(servers: Rig) -> None:
    first = servers.spawner()
    token = first.api_token
    start = asyncio.ensure_future(first.start())
    job = await servers.submitted(first)
    servers.host.closing = True
    start.cancel()
    servers.host.closing = False
    second = servers.spawner()
    second.load_state(first.orm_spawner.state)
    assert second.api_token != token
    url = await servers.bring_up(second)
    assert job.name in url
    assert second.api_token == token
    assert servers.scheduler.calls["submit"] == 1


async def test_the_job_is_submitted_with_what_it_starts(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    launch = await servers.launches.load(job.name)
    assert launch == spawner.launch()
    assert launch is not None
    assert launch.environment["JUPYTERHUB_API_TOKEN"] == spawner.api_token
    start.cancel()
    await servers.over(job.name)
    assert await servers.launches.load(job.name) is None


async def test_what_is_too_large_to_be_handed_over_is_refused_in_words(
    servers: Rig,
) -> None:
    spawner = servers.spawner(environment={"LARGE": "x" * 2**21})
    with pytest.raises(StartFailed, match="at most 1 MB") as caught:
        await spawner.start()
    assert "xxx" not in caught.value.message
    assert servers.scheduler.calls["submit"] == 0


async def test_a_pending_start_of_the_version_before_gets_its_launch(
    servers: Rig,
) -> None:
    first = servers.spawner()
    token = first.api_token
    job = await servers.leave_pending(first)
    # That version stored no launch, and did not say that there is one.
    state = first.orm_spawner.state
    first.orm_spawner.state = {
        **state,
        "landbridge": {k: v for k, v in state["landbridge"].items() if k != "launched"},
    }
    await servers.store.transact(lambda c: c.execute(sa.delete(launches)))
    second = servers.spawner()
    second.load_state(first.orm_spawner.state)
    await servers.leave_pending(second)
    launch = await servers.launches.load(job.name)
    assert launch is not None
    assert launch.environment["JUPYTERHUB_API_TOKEN"] == token == second.api_token


@pytest.mark.parametrize("gone", [False, True])
async def test_a_launch_whose_token_has_gone_is_replaced_and_no_other(
    servers: Rig, *, gone: bool
) -> None:
    first = servers.spawner()
    job = await servers.leave_pending(first)
    if gone:
        servers.user.db.delete(orm.APIToken.find(servers.user.db, first.api_token))
        servers.user.db.commit()
    second = servers.spawner(environment={"NEWS": "of a later configuration"})
    second.load_state(first.orm_spawner.state)
    await servers.leave_pending(second)
    launch = await servers.launches.load(job.name)
    assert launch is not None
    assert launch.environment["JUPYTERHUB_API_TOKEN"] == second.api_token
    assert ("NEWS" in launch.environment) is gone
    assert (second.api_token == first.api_token) is not gone


async def test_a_hub_that_goes_down_leaves_the_job(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    servers.host.closing = True
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    record = servers.jobs.get(job.name)
    assert record is not None
    assert record.cancel_wanted is None


async def test_cancelling_a_start_cancels_its_job_at_once(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    start.cancel()
    record = await servers.over(job.name)
    assert record.status.state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SubmitRejected("At most 2 GPUs.", field="gpus"), 400),
        (LimitReached("3 jobs run already."), 429),
        (SchedulerUnavailable("It does not answer."), 503),
    ],
)
async def test_a_refusal_says_what_and_why(
    servers: Rig, error: SubmitRejected, status: int
) -> None:
    servers.scheduler.fail_next("check", error)
    with pytest.raises(StartFailed) as caught:
        await servers.spawner().start()
    assert caught.value.status_code == status
    assert error.message in caught.value.message
    text, html = format_exception(caught.value)  # as JupyterHub's form shows it
    assert text == caught.value.message
    assert "StartFailed" not in text
    assert html.startswith("<strong>")


async def test_a_job_that_dies_in_the_start_is_explained(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    servers.scheduler.move(job, JobState.OUT_OF_MEMORY, node="n01")
    with pytest.raises(StartFailed) as caught:
        await start
    assert "memory" in caught.value.message.lower()
    assert await spawner.poll()
    record = servers.jobs.current(spawner.owner)
    assert record is not None
    assert record.failure is not None


async def test_the_launch_clock_runs_on_the_node_only(servers: Rig) -> None:
    spawner = servers.spawner(launch_timeout=1.0)
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    await asyncio.wait([start], timeout=1.3)
    assert not start.done(), "time in the queue does not count"
    servers.scheduler.move(job, JobState.RUNNING, node="n01")
    with pytest.raises(StartFailed) as caught:
        await start
    assert caught.value.failure.title == "The server did not come up"
    record = await servers.over(job.name)
    assert record.failure == caught.value.failure, "it stays readable"


async def test_the_queue_clock_takes_the_job_back(servers: Rig) -> None:
    spawner = servers.spawner(queue_timeout=1.0)
    with pytest.raises(StartFailed) as caught:
        await spawner.start()
    assert caught.value.failure.title == "Still in the queue"
    await servers.over(spawner.job_name)


async def test_doubt_is_not_death(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    for _ in range(3):
        servers.scheduler.fail_next("status")
        await asyncio.sleep(0.05)
        assert await spawner.poll() is None


async def test_a_spawner_that_never_started_is_not_running(servers: Rig) -> None:
    assert await servers.spawner().poll() == 0


async def test_a_stop_that_is_not_confirmed_stays_wanted(servers: Rig) -> None:
    spawner = servers.spawner(stop_timeout=0.1)
    await servers.bring_up(spawner)
    servers.scheduler.cancels_work = False
    await spawner.stop()
    record = spawner.record
    assert record is not None
    assert record.live
    assert record.cancel_wanted is not None
    assert await spawner.poll() is None, "it is not shown as gone"


async def test_a_new_start_waits_for_the_end_of_the_last(servers: Rig) -> None:
    spawner = servers.spawner(stop_timeout=0.2)
    await servers.bring_up(spawner)
    servers.scheduler.cancels_work = False
    await spawner.stop()
    again = servers.spawner(stop_timeout=0.2)
    with pytest.raises(StartFailed, match="still being stopped"):
        await again.start()
    assert servers.scheduler.calls["submit"] == 1


async def test_a_stop_revokes_the_token_also_under_another_hub(servers: Rig) -> None:
    spawner = servers.spawner()
    token = spawner.api_token
    await servers.bring_up(spawner)
    later = servers.spawner()
    later.api_token = ""
    later.load_state(spawner.get_state())
    await later.stop()
    assert orm.APIToken.find(servers.user.db, token) is None


async def test_a_server_that_does_not_end_loses_its_token_all_the_same(
    servers: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_job, "_GOOD_BYE", timedelta(seconds=0.3))
    spawner = servers.spawner(stop_timeout=3)
    token, database = spawner.api_token, servers.user.db
    await servers.bring_up(spawner)
    servers.scheduler.cancels_work = False
    stop = asyncio.ensure_future(spawner.stop())
    async with asyncio.timeout(10):
        while not servers.scheduler.calls["cancel"]:
            await asyncio.sleep(0.01)
        assert orm.APIToken.find(database, token) is not None  # it may say good-bye
        while orm.APIToken.find(database, token) is not None:
            await asyncio.sleep(0.01)
    assert not stop.done()
    await stop


async def test_a_stop_at_once_revokes_the_token_at_once(servers: Rig) -> None:
    spawner = servers.spawner(stop_timeout=30)
    token = spawner.api_token
    await servers.bring_up(spawner)
    servers.scheduler.cancels_work = False
    await spawner.stop(now=True)
    assert orm.APIToken.find(servers.user.db, token) is None


async def test_progress_replays_from_the_first_line_and_ends(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    for _ in range(2):
        kinds = [event["kind"] async for event in spawner.progress()]
        assert kinds[0] == "submitted"
        assert kinds[-1] == "ready"


async def test_the_last_line_of_a_failure_carries_its_words(servers: Rig) -> None:
    spawner = servers.spawner()
    start = asyncio.ensure_future(spawner.start())
    job = await servers.submitted(spawner)
    servers.scheduler.move(job, JobState.FAILED, node="n01", exit_code=127)
    with pytest.raises(StartFailed):
        await start
    last = [event async for event in spawner.progress()][-1]
    assert last["kind"] == "failed"
    assert set(last["failure"]) == {"title", "detail", "hint", "log"}


async def test_the_environment_has_the_jobs_frontend_and_no_place_in_the_job(
    servers: Rig,
) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    env = spawner.get_env()
    assert env["JUPYTERHUB_API_URL"] == servers.host.api_url
    assert env["JUPYTERHUB_SERVICE_URL"] == "https://0.0.0.0:0/user/ann/"
    assert env["JUPYTERHUB_API_TOKEN"] == spawner.api_token
    job = spawner.record.job
    spec = servers.scheduler.spec(job)
    assert spawner.api_token not in spec.script + str(dict(spec.environment))
    launch = spawner.launch()
    assert launch.environment["JUPYTERHUB_API_TOKEN"] == spawner.api_token


async def test_where_it_is_follows_the_jobs_report(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner, port=40001)
    assert await spawner.get_url() == (
        f"https://{spawner.job_name}.landbridge.internal:40001/user/ann/"
    )
    assert spawner.record.address == Address("n01", "127.0.0.1", 40001)


async def test_an_unreachable_server_is_kept_outside_a_start(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner, port=1025)
    spawner._check_pending = True
    answer = await spawner.server.wait_up(http=True, timeout=1, extra_path="api")
    assert "X-JupyterHub-Version" in answer.headers
    assert spawner.reachable is False
    assert await spawner.poll() is None


async def test_an_unreachable_server_fails_its_start_in_words(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner, port=1025)
    spawner._start_pending = True
    with pytest.raises(StartFailed) as caught:
        await spawner.server.wait_up(http=True, timeout=0.3, extra_path="api")
    assert "cannot be reached" in caught.value.failure.title
    record = await servers.over(spawner.job_name)
    assert record.failure == caught.value.failure


async def test_the_end_of_the_job_is_noticed_without_polling(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    told = asyncio.Event()
    spawner.add_poll_callback(told.set)
    spawner.start_polling()
    servers.scheduler.move(spawner.record.job, JobState.TIMEOUT, node="n01")
    async with asyncio.timeout(5):
        await told.wait()
    spawner.stop_polling()


async def test_a_requeued_server_is_ended_and_told(servers: Rig) -> None:
    spawner = servers.spawner()
    await servers.bring_up(spawner)
    spawner.start_polling()
    servers.scheduler.move(spawner.record.job, JobState.PENDING)
    record = await servers.over(spawner.job_name)
    assert record.failure is not None
    assert record.failure.title == "Put back into the queue"
    assert servers.scheduler.live() == []
    spawner.stop_polling()
