"""Live sessions: how long they live, and what is left of them in the database."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from hub.sessions.sessions import Session, Sessions, key_of

DAY = timedelta(days=1)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def make(tmp_path):
    """Open the sessions in one file, as each hub does."""
    opened = []

    async def open_(lifetime: timedelta = 7 * DAY, clock: Clock | None = None):
        sessions = await Sessions.open(f"sqlite:///{tmp_path / 's.sqlite'}", lifetime)
        if clock is not None:
            sessions._clock = clock
        opened.append(sessions)
        return sessions

    yield open_
    for sessions in opened:
        await sessions.close()


async def test_a_session_is_found_by_its_id_and_its_user_alone(make) -> None:
    sessions = await make()
    ann = sessions.begin("a" * 32, "ann")
    assert sessions.find("a" * 32) == sessions.find("a" * 32, "ann") == ann
    for wrong in (None, "", "b" * 32, ann.key, "\udcff"):
        assert sessions.find(wrong) is None
    assert sessions.find("a" * 32, "eve") is None


async def test_the_database_holds_no_id(make, tmp_path) -> None:
    sessions = await make()
    sessions.agree(sessions.begin("secret" * 5, "ann"), "bob", DAY)
    await sessions.flush()
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    assert key_of("secret" * 5) in dump
    assert "secretsecret" not in dump
    assert (tmp_path / "s.sqlite").stat().st_mode & 0o077 == 0


async def test_what_was_flushed_is_what_the_next_hub_knows(make) -> None:
    first = await make()
    ann, eve = first.begin("ann-1", "ann"), first.begin("eve-1", "eve")
    other = first.begin("ann-2", "ann")
    first.agree(ann, "bob", DAY)
    await first.flush()
    first.end(eve)
    await first.flush()
    second = await make()
    assert {one.key for one in second.live} == {ann.key, other.key}
    assert set(second.find("ann-1").visits) == {"bob"}
    assert second.find("eve-1") is None
    ended = second.end_all("ann")
    assert {one.key for one in ended} == {ann.key, other.key}
    await second.flush()
    assert (await make()).live == []


async def test_sessions_and_visits_end_by_themselves(make) -> None:
    clock = Clock()
    sessions = await make(lifetime=2 * DAY, clock=clock)
    told: list[tuple[Session | None, Session | None]] = []
    sessions.begin("a", "ann")
    sessions.agree(sessions.find("a"), "bob", DAY)
    sessions.agree(sessions.find("a"), "carol", 30 * DAY)
    sessions.changed = lambda before, after: told.append((before, after))
    clock.now += DAY
    assert sessions.expire() == []
    assert set(sessions.find("a").visits) == {"carol"}
    [(before, after)] = told
    assert [set(one.visits) for one in (before, after)] == [{"bob", "carol"}, {"carol"}]
    clock.now += DAY
    assert sessions.find("a") is None
    assert [one.user for one in sessions.expire()] == ["ann"]
    assert told[-1] == (after, None)


async def test_a_site_that_shortens_sessions_means_those_that_it_has(make) -> None:
    first = await make()
    first.begin("a", "ann")
    await first.flush()
    assert (await make(lifetime=timedelta(0))).find("a") is None
