"""Pages of lists: every row once, whatever comes and goes meanwhile."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.common.web.errors import BadRequest
from services.common.web.paging import (
    Keyset,
    LongPageQuery,
    PageQuery,
    read_cursor,
    write_cursor,
)
from spawners.common.database import UtcDateTime

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
METADATA = sa.MetaData()
ROWS = sa.Table(
    "rows",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)
NEWEST = Keyset("rows", (ROWS.c.created, ROWS.c.id), lambda row: str(row["id"]))


def row(number: int, minute: int) -> dict[str, object]:
    created = BEGIN + timedelta(minutes=minute, microseconds=number)
    return {"id": f"r{number:04}", "number": number, "created": created}


@pytest.fixture
def connection() -> Any:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def page(connection: sa.Connection, cursor: str, limit: int = 7) -> Any:
    asked = PageQuery(cursor=cursor, limit=limit)
    return NEWEST.page(sa.select(ROWS), asked)(connection)


def all_ids(connection: sa.Connection, limit: int = 7) -> list[str]:
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        one = page(connection, cursor, limit)
        ids += one.entries
        cursor = one.next
    return ids


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 50])
def test_every_row_comes_once_the_newest_first(
    connection: sa.Connection, count: int
) -> None:
    rows = [row(number, number // 10) for number in range(count)]
    random.Random(1).shuffle(rows)
    if rows:
        connection.execute(sa.insert(ROWS), rows)
    assert all_ids(connection) == [f"r{n:04}" for n in reversed(range(count))]


def test_rows_of_one_moment_are_told_apart(connection: sa.Connection) -> None:
    rows = [{**row(number, 0), "created": BEGIN} for number in range(30)]
    connection.execute(sa.insert(ROWS), rows)
    assert sorted(all_ids(connection, 4)) == [f"r{n:04}" for n in range(30)]


def test_what_comes_and_goes_meanwhile_moves_nothing(
    connection: sa.Connection,
) -> None:
    connection.execute(sa.insert(ROWS), [row(number, 0) for number in range(20)])
    first = page(connection, "")
    # The row where the page ended goes as well.
    gone = [first.entries[0], first.entries[-1]]
    connection.execute(sa.delete(ROWS).where(ROWS.c.id.in_(gone)))
    connection.execute(sa.insert(ROWS), [row(number, 5) for number in range(90, 99)])
    second = page(connection, first.next)
    assert second.entries == tuple(f"r{n:04}" for n in range(12, 5, -1))
    assert page(connection, second.next).next is None


def test_a_page_says_whose_rows_it_is_of_by_its_query_alone(
    connection: sa.Connection,
) -> None:
    connection.execute(sa.insert(ROWS), [row(number, 0) for number in range(20)])
    odd = sa.select(ROWS).where(ROWS.c.number % 2 == 1)
    forged = write_cursor("rows", BEGIN + timedelta(days=1), "z")
    entries = NEWEST.page(odd, PageQuery(cursor=forged))(connection).entries
    assert entries == tuple(f"r{n:04}" for n in range(19, 0, -2))


def encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


TIME = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "é",
        "A" * 9999,
        encoded("rows"),
        encoded({"rows": 1}),
        encoded(["rows"]),
        encoded(["rows", TIME]),
        encoded(["rows", TIME, "a", "b"]),
        encoded(["other", TIME, "a"]),
        encoded(["rows", TIME, 1]),
        encoded(["rows", TIME, None]),
        encoded(["rows", TIME, ["a"]]),
        encoded(["rows", TIME, "a\0"]),
        encoded(["rows", TIME, "\udcff"]),
        encoded(["rows", "2026-01-01", "a"]),
        encoded(["rows", 3, "a"]),
        encoded(["rows", "0001-01-01T00:00:00+23:00", "a"]),
        urlsafe_b64encode(b"[" * 5000).decode(),
        urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_cursor_of_the_list_is_refused(
    connection: sa.Connection, cursor: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        page(connection, cursor)
    assert refusal.value.field == "query.cursor"


@pytest.mark.parametrize("number", [-1, 2**63, 1.5, True])
def test_a_number_is_one_that_a_database_has(number: object) -> None:
    with pytest.raises(BadRequest):
        read_cursor(encoded(["n", number]), "n", int)


@given(
    st.text(),
    st.integers(0, 2**63 - 1),
    st.timedeltas(timedelta(days=-300_000), timedelta(days=300_000)),
)
def test_a_cursor_holds_its_place(text: str, number: int, since: timedelta) -> None:
    time = (BEGIN + since).astimezone(timezone(timedelta(hours=2)))
    cursor = write_cursor("list", text, number, time)
    assert cursor.isascii()
    assert read_cursor(cursor, "list", str, int, datetime) == (text, number, time)


@given(st.text(max_size=300))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        read_cursor(text, "list", str, int)
    except BadRequest as refusal:
        assert refusal.field == "query.cursor"


def test_pages_are_bounded() -> None:
    assert (PageQuery().limit, LongPageQuery().limit) == (100, 1000)
    for limit in (0, 1001, -1):
        with pytest.raises(ValueError, match="limit"):
            PageQuery(limit=limit)
