"""Lists come in pages, all in one way, and no list is cut in silence.

Whoever asks names a page by a *cursor* and gets the next page's with it, until there is
none. A cursor holds the place where a page ended (the last row's values in the order of
the list, or a store's own marker), not a number of rows: what is added or removed
meanwhile moves nothing, and the thousandth page costs what the first does. It is opaque
to clients and untrusted here: it says from where to go on, never whose rows these are.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Connection, RowMapping

from .errors import BadRequest
from .routes import Model

MOST_ENTRIES = 1000
"""Of one page."""
# Twice a key of an object, each byte of it escaped, and what is about them.
_LONGEST = 12_000

_TOO_MUCH = 2**63

R = TypeVar("R")
S = TypeVar("S")
Value = str | int | datetime
"""What a place in a list is told by."""


class CursorQuery(Model):
    """A page of a list."""

    cursor: Annotated[str, Field(max_length=_LONGEST)] = ""
    """`next` of the page before; empty: the first page."""


class PageQuery(CursorQuery):
    """A page of a list."""

    limit: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = 100
    """The most entries of a page."""


class LongPageQuery(PageQuery):
    """A page of a list whose entries are short."""

    limit: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = MOST_ENTRIES
    """The most entries of a page."""


class PageAnswer(Model):
    """A page of a list."""

    next: str | None
    """`cursor` of the next page; null at the end."""


def write_cursor(name: str, *values: Value) -> str:
    """Return the cursor of a place in the list called ``name``."""
    told = [
        value.isoformat() if isinstance(value, datetime) else value for value in values
    ]
    text = json.dumps([name, *told], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, name: str, *kinds: type[Value]) -> tuple[Value, ...]:
    """Return the place that a cursor names.

    Args:
        cursor: as it was sent.
        name: of the list.
        kinds: of the place's values; a time has its zone.

    Raises:
        BadRequest: it is no cursor of this list.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        told = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        first, *values = told
        place = tuple(
            _value(value, kind) for value, kind in zip(values, kinds, strict=True)
        )
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise no_cursor() from None
    if first != name:
        raise no_cursor()
    return place


def no_cursor() -> BadRequest:
    """Return the refusal of a cursor that is none of the list's."""
    return BadRequest(
        "This is no cursor of this list.",
        hint="Send `next` of the page before as it is, or none.",
        field="query.cursor",
    )


def _value(value: object, kind: type[Value]) -> Value:
    if kind is datetime:
        time = datetime.fromisoformat(str(value))
        if time.tzinfo is None:
            raise ValueError("a time without a zone")
        return time.astimezone(UTC)
    if isinstance(value, str) and kind is str:
        return value
    whole = type(value) is int and kind is int
    if whole and isinstance(value, int) and 0 <= value < _TOO_MUCH:
        return value
    raise ValueError(f"no {kind.__name__}")


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some entries of a list in its order, and the cursor of the next page."""

    entries: tuple[R, ...]
    next: str | None

    def of(self, change: Callable[[R], S]) -> list[S]:
        """Return what ``change`` makes of each entry."""
        return [change(entry) for entry in self.entries]


_Reading = Callable[[Connection], Page[R]]


class Keyset(Generic[R]):
    """A list of rows in the order of some columns, the greatest values first.

    Args:
        name: of the list, in its cursors.
        columns: the last one is another for each row; none is ever changed or null.
        read: makes an entry of a row.
    """

    def __init__(
        self, name: str, columns: tuple[sa.Column[Any], ...], read: Callable[[Any], R]
    ) -> None:
        self._name = name
        self._columns = columns
        self._read = read

    def page(self, query: sa.Select[Any], asked: PageQuery) -> _Reading[R]:
        """Return what reads a page of ``query``'s rows by a connection.

        ``query`` has the columns of the order, says whose rows these are, and has
        neither an order nor a limit of its own.

        Raises:
            BadRequest: ``asked.cursor`` is no cursor of this list.
        """
        columns = self._columns
        if asked.cursor:
            kinds = [_kind(column) for column in columns]
            place = read_cursor(asked.cursor, self._name, *kinds)
            if any(isinstance(v, str) and not _storable(v) for v in place):
                raise no_cursor()
            bound = [
                sa.bindparam(None, value, type_=column.type, unique=True)
                for column, value in zip(columns, place, strict=True)
            ]
            query = query.where(sa.tuple_(*columns) < sa.tuple_(*bound))
        query = query.order_by(*(column.desc() for column in columns))
        query = query.limit(asked.limit + 1)

        def work(connection: Connection) -> Page[R]:
            rows = list(connection.execute(query).mappings())
            return Page(
                tuple(self._read(row) for row in rows[: asked.limit]),
                self._place(rows[asked.limit - 1]) if len(rows) > asked.limit else None,
            )

        return work

    def _place(self, row: RowMapping) -> str:
        return write_cursor(self._name, *(row[column] for column in self._columns))


def _storable(text: str) -> bool:
    """Whether a database can be asked for a text."""
    return "\0" not in text and text.isascii()


def _kind(column: sa.Column[Any]) -> type[Value]:
    if isinstance(column.type, sa.Integer):
        return int
    return str if isinstance(column.type, sa.String) else datetime
