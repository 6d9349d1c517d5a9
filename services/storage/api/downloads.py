"""Keys as browsers and file systems see them: only for showing, never as a path."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

_LONGEST_NAME = 150
_WALKS = re.compile(r"(^|[/\\])\.\.?([/\\;]|$)")


def reachable(key: str) -> bool:
    """Whether a browser's URL can name ``key``.

    Browsers take ``.`` and ``..`` segments out of a path, however they are encoded,
    and the edge refuses paths that walk up.
    """
    return _WALKS.search(key) is None


def file_name(key: str) -> str:
    """Return the last part of ``key`` as a harmless name for a download.

    Without control characters, marks that turn the direction of text, slashes of
    any kind, or dots at the start.
    """
    last = next((part for part in reversed(re.split(r"[/\\]", key)) if part), "")
    kept = "".join(
        char for char in last if not unicodedata.category(char).startswith("C")
    )
    cleaned = re.sub(r'[<>:"|?*;]', "_", kept).strip().lstrip(".")
    return cleaned[:_LONGEST_NAME] or "object"


def attachment(key: str) -> str:
    """Return a ``Content-Disposition`` (RFC 6266) that saves and never shows."""
    name = file_name(key)
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
