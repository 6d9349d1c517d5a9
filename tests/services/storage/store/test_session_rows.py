"""Keys that were given out, where the order of two calls matters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.errors import NotThere
from services.common.store import Database
from services.storage import tables
from services.storage.objects import AccessKey, Grant, Mode, Session
from services.storage.rights import Right
from services.storage.sessions import Sessions
from services.storage.shares import Share, Shares
from spawners.batch.database import open_engine

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

    async def revoke(self, session: Session) -> None:
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
    assert await sessions.of("bob") == []
