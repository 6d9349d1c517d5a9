"""Nothing is cut in silence: what a user shares, and what is shared with her."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.web.errors import BadRequest, NotThere, TooMany
from services.common.web.paging import CursorQuery, PageQuery, write_cursor
from services.storage.access import shares as shares_module
from services.storage.access.shares import Shares
from services.storage.api.markers import marker_of, next_after
from services.storage.db import tables
from services.storage.s3.values import Grant, Mode
from spawners.common.database import Database, open_engine

SOON = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def shares(tmp_path: Path) -> AsyncIterator[Shares]:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite'}", 5, what="database")
    database = Database(engine, "database")
    await database.run(tables.metadata.create_all)
    yield Shares(database)
    await database.close()


async def share_many(shares: Shares, count: int, by: str = "alice") -> list[str]:
    made = [
        await shares.add(
            by, Grant("data", f"{number}/", Mode.READ), "user", "bob", SOON
        )
        for number in range(count)
    ]
    return [share.id for share in made]


async def test_shares_and_links_come_in_pages(shares: Shares) -> None:
    made = await share_many(shares, 10)
    await share_many(shares, 3, by="carol")
    first = await shares.page("alice", PageQuery(limit=6))
    assert first.next
    await shares.end(first.entries[0].id, "alice")
    rest = await shares.page("alice", PageQuery(limit=6, cursor=first.next))
    listed = [share.id for share in (*first.entries, *rest.entries)]
    assert listed == made[::-1]
    assert rest.next is None

    links = [
        (await shares.add_link("alice", "data", str(number), SOON))[0].id
        for number in range(5)
    ]
    first_links = await shares.links("alice", PageQuery(limit=3))
    asked = PageQuery(limit=3, cursor=first_links.next or "")
    last_links = await shares.links("alice", asked)
    entries = (*first_links.entries, *last_links.entries)
    assert [link.id for link in entries] == links[::-1]
    with pytest.raises(BadRequest):
        await shares.page("alice", asked)


async def test_the_oldest_of_many_counts_and_can_be_ended(shares: Shares) -> None:
    made = await share_many(shares, 1_010)
    assert len(await shares.rights("bob", [])) == len(made)
    assert (await shares.end(made[0], "alice")).id == made[0]
    with pytest.raises(NotThere):
        await shares.end(made[0], "alice")
    with pytest.raises(NotThere):
        await shares.end(made[1], "bob")


async def test_a_user_shares_so_much_at_a_time(
    shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares_module, "MOST", 2)
    first, _ = await share_many(shares, 2)
    with pytest.raises(TooMany):
        await share_many(shares, 1)
    await shares.end(first, "alice")
    await share_many(shares, 1)
    await share_many(shares, 1, by="carol")


def test_a_stores_markers_are_a_cursor() -> None:
    key = "ä/\udcff\x00"
    cursor = next_after("versions", key, None)
    assert cursor
    query = CursorQuery(cursor=cursor)
    assert marker_of(query, "versions", "", "") == [key, None]
    assert marker_of(CursorQuery(), "versions", "old", "") == ["old", None]
    assert next_after("versions", None, None) is None
    with pytest.raises(BadRequest):
        marker_of(query, "uploads", "", "")
    for text in ("\ud800", "x" * 4097):
        with pytest.raises(BadRequest):
            marker_of(CursorQuery(cursor=write_cursor("o", text)), "o", "")
