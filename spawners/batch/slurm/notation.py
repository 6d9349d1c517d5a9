"""Slurm's short forms, spelled out: host lists and durations. Pure functions."""

from __future__ import annotations

import re
from datetime import timedelta

_MAX_HOSTS = 20_000
_NONE = ("", "(null)", "n/a", "None assigned")
_PART = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)(?:,|\Z)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")
_DURATION = re.compile(
    r"(?:(?P<d>[0-9]{1,6})-)?(?P<h>[0-9]{1,6})(?::(?P<m>[0-9]{1,6}))?(?::(?P<s>[0-9]{1,6}))?\Z"
)


def expand_hosts(text: str) -> tuple[str, ...]:
    """Return the names of ``n[1-3,7],login``; nothing if it is not understood.

    Nothing is also the answer for no host at all and for more than 20,000 names.
    """
    if text in _NONE:
        return ()
    names: list[str] = []
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None:
            return ()
        names += _expand(found[1], _MAX_HOSTS - len(names))
        if not names or len(names) > _MAX_HOSTS:
            return ()
        position = found.end()
    return tuple(names)


def expand_numbers(job_id: str) -> tuple[str, ...]:
    """Return the ids of ``3_[2-4,7%2]``; of any other id, that id alone."""
    base, opening, rest = job_id.partition("_[")
    if not opening:
        return (job_id,)
    numbers = rest.removesuffix("]").partition("%")[0]
    return tuple(f"{base}_{number}" for number in _numbers(numbers, _MAX_HOSTS))


def _expand(part: str, room: int) -> list[str]:
    """Expand one part, brackets anywhere in it; empty if malformed or too many."""
    names = [""]
    for piece in re.split(r"(\[[^\]]*\])", part):
        bracket = piece.startswith("[")
        numbers = _numbers(piece[1:-1], room) if bracket else [piece]
        if len(names) * len(numbers) > room:
            return []
        names = [name + number for name in names for number in numbers]
    return names


def _numbers(text: str, room: int) -> list[str]:
    numbers: list[str] = []
    for item in text.split(","):
        found = _RANGE.match(item)
        if found is None:
            return []
        low, high = int(found[1]), int(found[2] or found[1])
        if high < low or high - low >= room:
            return []
        numbers += [str(n).zfill(len(found[1])) for n in range(low, high + 1)]
    return numbers


def parse_duration(text: str) -> timedelta | None:
    """Read ``1-02:03:04``, ``02:03:04`` or ``03:04``; ``None`` for UNLIMITED or NONE.

    Two numbers are minutes and seconds, as ``scontrol`` prints them; with days in
    front the first is hours.
    """
    found = _DURATION.match(text)
    if found is None:
        return None
    days, first, second, third = (int(found[key] or 0) for key in "dhms")
    if found["d"] is None and found["s"] is None:
        return timedelta(minutes=first, seconds=second)
    return timedelta(days=days, hours=first, minutes=second, seconds=third)
