"""Keys that were given out, where the order of two calls matters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.web.errors import NotThere, TooMany
from services.common.web.paging import PageQuery
from services.storage.access.rights import Right
from services.storage.access.sessions import MOST, Sessions
from services.storage.access.shares import Share, Shares
from services.storage.db import tables
from services.storage.s3.values import AccessKey, Grant, Mode, Session
from spawners.common.database import Database, open_engine

READ = Grant("alice", "runs/", Mode.READ)
HOUR = timedelta(hours=1)


class Slow:
    """Gives keys that nobody takes, and lets something happen meanwhile."""

    name, by_bucket = "sts", True

    def __init__(self) -> None:
        self.ended: list[Session] = []
        self.shares: Shares | None = None
        self.share: Share | None = None

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = HOUR
    ) -> Session:
        if self.shares is not None and self.share is not None:
            await self.shares.end(self.share.id, "alice")
        ends = datetime.now(UTC) + lifetime
        key = AccessKey("a", "s", "t")
        return Session(f"{user}--1", "sts", key, tuple(grants), "arn", ends)

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        self.ended.append(session)

    async def escapes(self, session: Session) -> bool:
        return False

    async def tidy(self) -> int:
        return 0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}", 5, what="database")
    found = Database(engine, "database")
    await found.run(tables.metadata.create_all)
    yield found
    await found.close()


@pytest.mark.parametrize("ends", [False, True])
async def test_a_share_that_ends_while_keys_are_made_ends_them(
    database: Database, ends: bool
) -> None:
    sessions, shares, driver = Sessions(database), Shares(database), Slow()
    share = await shares.add("alice", READ, "user", "bob", datetime.now(UTC) + HOUR)
    if ends:
        driver.shares, driver.share = shares, share
    right = Right(
        "alice", "runs/", Mode.READ, "share", "alice", share.id, share.expires
    )

    async def ask() -> Session:
        return await sessions.issue(
            driver, "bob", [(READ, right)], lifetime=HOUR, purpose="test"
        )

    if not ends:
        assert (await ask()).name == "bob--1"
        assert driver.ended == []
        return
    with pytest.raises(NotThere, match="ended while keys were made"):
        await ask()
    assert [one.name for one in driver.ended] == ["bob--1"]
    assert (await sessions.page("bob", PageQuery())).entries == ()


async def test_a_user_has_only_so_many_keys_at_a_time(database: Database) -> None:
    sessions = Sessions(database)
    right = Right("alice", "", Mode.READ_WRITE, "own")
    row = {
        "driver": "sts",
        "identity": "arn",
        "grants": "[]",
        "purpose": "test",
        "created": datetime.now(UTC),
    }
    soon = datetime.now(UTC) + HOUR
    rows = [
        {**row, "name": f"a{n}", "user": "alice", "expires": soon, "revoked": None}
        for n in range(MOST - 1)
    ]
    over = datetime.now(UTC) - timedelta(seconds=1)
    rows += [{**rows[0], "name": "b", "user": "bob"}]
    rows += [{**rows[0], "name": "c", "expires": over}]
    insert = sa.insert(tables.sessions)
    await database.run(lambda c: c.execute(insert, rows))

    async def ask(user: str, purpose: str = "test") -> Session:
        wish = [(Grant("alice", "", Mode.READ), right)]
        return await sessions.issue(Slow(), user, wish, lifetime=HOUR, purpose=purpose)

    last = await ask("alice")
    await sessions.revoke(Slow(), last.name, "alice")
    with pytest.raises(TooMany, match="150 sets of keys") as caught:
        await ask("alice")  # what was ended is denied until it expires
    assert f"{soon:%H:%M} UTC" in caught.value.hint
    assert (await ask("bob")).name == "bob--1"
