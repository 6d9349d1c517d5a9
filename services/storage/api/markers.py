"""A store's own markers of a place in a list, as cursors of ours and back."""

from __future__ import annotations

from services.common.web.paging import (
    CursorQuery,
    no_cursor,
    read_cursor,
    write_cursor,
)

from .fields import LONGEST_TOKEN


def marker_of(query: CursorQuery, name: str, *markers: str) -> list[str | None]:
    """Return where a page begins in the store's words; ``None``: at the beginning.

    Args:
        query: its cursor counts, if there is one.
        name: of the list.
        markers: as older clients send them.

    Raises:
        BadRequest: the cursor is none of this list.
    """
    if query.cursor:
        values = read_cursor(query.cursor, name, *(str for _ in markers))
        return [_marker(str(value)) for value in values]
    return [marker or None for marker in markers]


def _marker(text: str) -> str | None:
    try:
        fits = len(text.encode("utf-8", "surrogateescape")) <= LONGEST_TOKEN
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise no_cursor()
    return text or None


def next_after(name: str, *markers: str | None) -> str | None:
    """Return the cursor of what comes after the store's markers; ``None``: nothing."""
    if not any(markers):
        return None
    return write_cursor(name, *(marker or "" for marker in markers))
