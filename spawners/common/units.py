"""Amounts and times as sites, users and Slurm write them.

An amount with a letter alone, as in ``4G``, is Slurm's, whose units are powers of
1,024; ``4 GB`` is what people mean by it, 4,000,000,000 bytes, and what every page
shows. ``4 GiB`` says 1,024 itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*(?:d|days?))?\s*(?:(\d+(?:\.\d+)?)\s*(?:h|hours?))?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*(?:min|m|minutes?))?\s*(?:(\d+(?:\.\d+)?)\s*(?:s|seconds?))?",
    re.ASCII,
)
_MEMORY = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGTP]?)(i?B)?", re.I | re.ASCII)

UNITS: Mapping[str, int] = {
    unit: 1024**power for power, unit in enumerate(["", *"KMGTP"])
}
"""Bytes of each letter of Slurm's; powers of 1,024."""

_DECIMAL = {unit: 1000**power for power, unit in enumerate(["", *"KMGTP"])}

_DURATION_HELP = 'must be a time such as "2h", "1d 12h", "30min", or seconds.'
_MEMORY_HELP = 'must be an amount such as "500 MB", "4 GB", "1.5 TB", or bytes.'


def parse_duration(value: object) -> timedelta:
    """Return ``"2h"``, ``"1d 12h"``, ``"30min"`` or a number of seconds as a span.

    Raises:
        ValueError: saying what is allowed. Negative times are not.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_DURATION_HELP)  # noqa: TRY004 - pydantic wants a ValueError
    try:
        if isinstance(value, str):
            text = value.strip()
            match = _DURATION.fullmatch(text) if len(text) <= 40 else None
            if match is not None and any(match.groups()):
                days, hours, minutes, seconds = (float(g or 0) for g in match.groups())
                return timedelta(days, seconds, hours=hours, minutes=minutes)
            if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
                raise ValueError(_DURATION_HELP)
            value = int(text)
        if not 0 <= value < 1e11:  # false for NaN, too
            raise ValueError(_DURATION_HELP)
        return timedelta(seconds=value)
    except OverflowError as error:
        raise ValueError(_DURATION_HELP) from error


def parse_memory(value: object) -> int:
    """Return ``"4 GB"``, ``"4G"``, ``"1.5 GiB"`` or a number of bytes as bytes.

    ``GB`` is 1,000,000,000 bytes; ``G``, as Slurm writes it, and ``GiB`` are 2**30.

    Raises:
        ValueError: saying what is allowed.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and len(value) <= 40:
        match = _MEMORY.fullmatch(value.strip())
        if match:
            is_decimal = (match[3] or "").upper() == "B"
            units = _DECIMAL if is_decimal else UNITS
            return int(Decimal(match[1]) * units[match[2].upper()])
    raise ValueError(_MEMORY_HELP)


def clock_span(
    days: str | None, first: str | None, second: str | None, third: str | None
) -> timedelta:
    """Return a time as Slurm's commands write it, from its numbers.

    Of ``[days-]first[:second][:third]`` the first are hours where there are days or
    three numbers, and else minutes; sbatch(1), ``--time``.
    """
    a, b, c = (int(number or 0) for number in (first, second, third))
    if days is None and third is None:
        return timedelta(minutes=a, seconds=b)
    return timedelta(days=int(days or 0), hours=a, minutes=b, seconds=c)
