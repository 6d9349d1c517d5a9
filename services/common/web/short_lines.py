"""Keeps what strangers send from making a log line of any length.

Paths, names and headers of requests are written into logs before anybody has signed in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

LONGEST_MESSAGE = 1_000
LONGEST_TRACEBACK = 16_000
_FORMATTER = logging.Formatter()


class ShortLines(logging.Filter):
    """Cuts long messages in their middle and says by how much; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record if need be; always True."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 -- logging itself tells of a wrong format
            return True
        if len(text) > LONGEST_MESSAGE:
            record.msg, record.args = shortened(text, LONGEST_MESSAGE), None
        if record.exc_info and not record.exc_text:
            trace = _FORMATTER.formatException(record.exc_info)
            record.exc_text = shortened(trace, LONGEST_TRACEBACK)
        return True


def shortened(text: str, longest: int) -> str:
    """Return ``text``, or its beginning and end and how much is missing between."""
    if len(text) <= longest:
        return text
    head, tail = text[: longest * 3 // 4], text[-longest // 4 :]
    missing = len(text) - len(head) - len(tail)
    return f"{head} [... {missing} characters left out ...] {tail}"


def keep_lines_short(handlers: Iterable[logging.Handler]) -> None:
    """Have these handlers write short lines from now on."""
    for handler in handlers:
        if not any(isinstance(one, ShortLines) for one in handler.filters):
            handler.addFilter(ShortLines())
