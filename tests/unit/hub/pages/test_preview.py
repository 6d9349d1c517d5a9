"""What an open page asks: previews that cost the scheduler little."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hub.pages.handlers import Guesses, Preview, PreviewHandler
from hub.pages.pace import TooOften
from rigs.hub.cluster_pictures import CPU, GPU, picture
from spawners.batch.errors import InvalidSpec, SchedulerUnavailable, SubmitRejected
from spawners.batch.models import JobSpec, Resources

SOON = timedelta(minutes=9, seconds=1)


class Jobs:
    """A batch core that answers as told and counts."""

    def __init__(self, start: timedelta | None = SOON) -> None:
        self.snapshot = picture(CPU, GPU)
        self.start = start
        self.refusal: Exception | None = None
        self.asked: list[JobSpec] = []

    async def check(self, resources: Resources, *, user: str) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def estimate(self, spec: JobSpec, *, user: str) -> datetime | None:
        self.asked.append(spec)
        return None if self.start is None else datetime.now(UTC) + self.start


class Handler(PreviewHandler):
    """The handler without a web server around it."""

    log = SimpleNamespace(info=lambda *words: None)

    def __init__(self, jobs: Jobs, resources: Resources, guesses: Guesses) -> None:
        self.guesses = guesses
        self._spawner = SimpleNamespace(
            plan=lambda choice: SimpleNamespace(resources=resources),
            gateway=SimpleNamespace(account_of=lambda name: name, jobs=jobs),
            user=SimpleNamespace(name="ann"),
        )

    def spawner(self, scope: str) -> Any:
        return self._spawner


FREE = Resources(cpus=1)
BUSY = Resources(cpus=65)


async def preview(
    jobs: Jobs,
    resources: Resources = BUSY,
    guesses: Guesses | None = None,
    user: str = "ann",
) -> Preview:
    handler = Handler(jobs, resources, guesses or Guesses())
    handler._spawner.user.name = user
    return await handler._preview({})


async def test_what_is_free_starts_now_without_asking_the_scheduler() -> None:
    jobs = Jobs()
    assert await preview(jobs, FREE) == Preview(allowed=True, text="Should start now.")
    assert not jobs.asked


async def test_what_has_to_wait_is_guessed_in_minutes() -> None:
    jobs = Jobs()
    told = await preview(jobs)
    assert told.text == "Should start in about 10 min (the scheduler's guess)."
    assert jobs.asked[0].resources == BUSY
    assert "exit 0" in jobs.asked[0].script


async def test_no_guess_is_said_plainly() -> None:
    told = await preview(Jobs(start=None))
    assert told.text == "Waits: 64 cores idle. It will wait in the queue."


async def test_a_refusal_names_the_field() -> None:
    jobs = Jobs()
    jobs.refusal = SubmitRejected("At most 1 d in cpu.", field="time_limit")
    told = await preview(jobs)
    assert told == Preview(
        allowed=False, text="At most 1 d in cpu.", field="time_limit"
    )


async def test_a_bad_value_is_told_by_the_pages_own_name() -> None:
    def plan(choice: object) -> None:
        raise InvalidSpec("time_limit", "must be between 1 min and 7 d.")

    handler = Handler(Jobs(), FREE, Guesses())
    handler._spawner.plan = plan
    told = await handler._preview({"time_limit": "9d"})
    assert told.text == "Time limit: must be between 1 min and 7 d."
    assert told.field == "time_limit"


async def test_a_scheduler_that_is_away_forbids_nothing() -> None:
    jobs = Jobs()
    jobs.refusal = SchedulerUnavailable("squeue hangs")
    told = await preview(jobs)
    assert told.allowed
    assert "does not answer" in told.text


async def test_many_askers_are_one_command() -> None:
    jobs, guesses = Jobs(), Guesses()
    await asyncio.gather(*(preview(jobs, BUSY, guesses) for _ in range(20)))
    assert len(jobs.asked) == 1


async def test_a_guess_is_asked_again_after_half_a_minute() -> None:
    clock = [0.0]
    jobs, guesses = Jobs(), Guesses(lambda: clock[0])
    for moment, commands in ((0.0, 1), (29.0, 1), (31.0, 2)):
        clock[0] = moment
        await preview(jobs, BUSY, guesses)
        assert len(jobs.asked) == commands


async def test_what_became_free_is_told_at_once() -> None:
    jobs, guesses = Jobs(), Guesses()
    await preview(jobs, BUSY, guesses)
    jobs.snapshot = picture(GPU, CPU)
    told = await preview(jobs, FREE, guesses)
    assert told.text == "Should start now."


async def test_questions_without_end_are_not_all_kept() -> None:
    jobs, guesses = Jobs(), Guesses()
    for cpus in range(65, 665):
        await preview(jobs, Resources(cpus=cpus), guesses, user=f"u{cpus}")
    assert len(guesses._kept) == 500


async def test_one_user_asks_the_scheduler_little_and_the_others_find_it_free() -> None:
    clock = [0.0]
    jobs, guesses = Jobs(), Guesses(lambda: clock[0])
    refused = []
    for cpus in range(65, 265):
        try:
            await preview(jobs, Resources(cpus=cpus), guesses)
        except TooOften as error:
            refused.append(error.seconds)
    assert len(jobs.asked) == 6
    assert len(refused) == 194
    assert max(refused) <= 10
    assert (await preview(jobs, Resources(cpus=65), guesses, user="bob")).allowed
    assert (await preview(jobs, Resources(cpus=999), guesses, user="bob")).allowed
    clock[0] = 10.0
    await preview(jobs, Resources(cpus=266), guesses)
    assert len(jobs.asked) == 9


async def test_questions_of_many_users_leave_room_for_submissions() -> None:
    jobs, guesses = Jobs(), Guesses()
    release, at_once, most = asyncio.Event(), 0, 0

    async def slow(spec: JobSpec, *, user: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1

    jobs.estimate = slow  # type: ignore[method-assign, assignment]
    asked = [
        asyncio.create_task(
            preview(jobs, Resources(cpus=65 + n), guesses, user=f"user{n}")
        )
        for n in range(20)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(TooOften):  # one under way each
        await preview(jobs, Resources(cpus=500), guesses, user="user0")
    release.set()
    await asyncio.gather(*asked)
    assert most == 2
    assert guesses._busy == set()


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7"])
def test_a_choice_is_an_object(body: bytes) -> None:
    handler = Handler(Jobs(), FREE, Guesses())
    handler.request = SimpleNamespace(body=body)  # type: ignore[assignment]
    with pytest.raises(Exception, match="must be an object"):
        handler._choice()


def test_only_plain_numbers_are_taken_as_numbers() -> None:
    handler = Handler(Jobs(), FREE, Guesses())
    handler.request = SimpleNamespace(  # type: ignore[assignment]
        body='{"cpus": "4", "gpus": "\u0664", "memory": "8", "x": {"y": 1}}'.encode()
    )
    assert handler._choice() == {
        "cpus": 4,
        "gpus": "\u0664",
        "memory": "8",
        "x": {"y": 1},
    }


async def test_who_asks_too_often_is_told_when_to_ask_again() -> None:
    jobs, guesses = Jobs(), Guesses(lambda: 0.0)
    for cpus in range(65, 71):
        await preview(jobs, Resources(cpus=cpus), guesses)
    handler = Handler(jobs, Resources(cpus=99), guesses)
    handler.request = SimpleNamespace(body=b"{}")  # type: ignore[assignment]
    told: dict[str, Any] = {}
    handler.set_header = told.__setitem__
    handler.set_status = lambda code: told.update(status=code)
    handler.finish = lambda body: told.update(body=json.loads(body))
    await PreviewHandler.post.__wrapped__(handler)
    assert told["status"] == 429
    assert told["Retry-After"] == "10"
    assert "in 10 s" in told["body"]["message"]
    assert len(jobs.asked) == 6
