"""Amounts, times and foreign text, made fit to be read by a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

LOG_LIMIT = 8192
"""The most bytes of a log that a failure carries."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

Rounding = Literal["near", "down", "up"]
"""How what has too many digits is told."""

# ECMA-48: control sequences, operating system commands, and two-byte escapes.
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# Characters that reorder or hide what stands beside them.
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_BLOT = "[hidden]"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# A job's own output may be made to take long here: every repetition is bounded.
_NAMED_SECRET = re.compile(
    r"""(?ix)
    ( (?:token|password|passwd|secret|api[_-]?key|access[_-]?key)
      [a-z0-9_-]{0,40} ["']? \s{0,8} [=:] \s{0,8} ["']? )
    (?! \d{1,7}\b )  # an amount, as in max_tokens=512
    ( (?:(?:bearer|token|basic)\s+)? [^\s"'&,;<>]+ )
    """
)
_HEADER_SECRET = re.compile(
    r"(?i)\b(authorization|cookie)(['\"]?\s*[:=]\s*['\"]?)[^\n\"']+"
)
_BEARER = re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{8,}")
_URL_PASSWORD = re.compile(r"(://[^\s/:@]+:)[^\s/@]+(?=@)")
_ACCESS_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


def size_in_words(size: int, rounding: Rounding = "near") -> str:
    """Return bytes as a person says them: ``"4 GB"``, ``"1.5 GB"``, ``"512 MB"``.

    Units are powers of 1,000, as storage and memory are sold; JupyterLab's panels tell
    them in the same way (``kit/words.ts``).

    Args:
        size: the bytes.
        rounding: ``down`` for a bound that must hold as it is read, as the most that
            may be asked for; ``up`` for the least.
    """
    power = 0
    while _rounded(size, 1000**power, rounding) >= 1000 and power < len(_UNITS) - 1:
        power += 1
    tenths = _rounded(10 * size, 1000**power, rounding)
    if power == 0 or tenths >= 1000:
        return f"{_rounded(size, 1000**power, rounding)} {_UNITS[power]}"
    return f"{tenths // 10}.{tenths % 10}".removesuffix(".0") + f" {_UNITS[power]}"


def _rounded(size: int, factor: int, rounding: Rounding) -> int:
    if rounding == "near":
        return (2 * size + factor) // (2 * factor)
    return size // factor if rounding == "down" else -(-size // factor)


def duration_in_words(duration: timedelta) -> str:
    """Return a time span in its two largest units: ``"2 h 15 min"``, ``"3 d"``."""
    seconds = max(0, round(duration.total_seconds()))
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return " ".join(f"{n} {unit}" for n, unit in parts[:2] if n) or "0 s"


def count_in_words(number: int, noun: str) -> str:
    """Return ``"1 CPU"`` or ``"2 CPUs"``."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment_in_words(moment: datetime, now: datetime | None = None) -> str:
    """Return a time of day in this machine's zone, with the day unless it is today."""
    local = moment.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    clock = f"{local:%H:%M}"
    if local.date() == today:
        return clock
    if local.date() == today + timedelta(days=1):
        return f"tomorrow {clock}"
    return f"{local:%a} {local.day} {local:%b} {clock}"


def iso(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601, for programs; ``None`` for none."""
    return None if moment is None else moment.isoformat()


def nodes_in_words(nodes: Sequence[str]) -> str:
    """Return ``"n1, n2, n3 and 5 more"``, or ``""`` for no nodes."""
    names = ", ".join(clean_line(node, 64) for node in nodes[:3])
    return names if len(nodes) <= 3 else f"{names} and {len(nodes) - 3} more"


def clean_line(text: str, limit: int = 200) -> str:
    """Return one printable line of at most ``limit`` characters from foreign text.

    Terminal sequences, control characters and characters that reorder text are
    taken out; what looks like a secret is hidden.
    """
    line = " ".join(_clean(text[: 20 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def clean_log(text: str, limit: int = LOG_LIMIT) -> str:
    """Return the end of a log, safe to show: at most ``limit`` bytes of UTF-8.

    Of a line that was overwritten in place (a progress bar) the last version
    stays. What looks like a secret is hidden: ``token=…``, passwords in URLs,
    authorization headers, private keys.
    """
    # A few times the limit is enough, also when much of it is taken out.
    lines = _clean(text[-8 * limit :].replace("\r\n", "\n"), keep_returns=True)
    kept = "\n".join(
        _CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip()
        for line in lines.split("\n")
    ).strip("\n")
    data = kept.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    tail = data[-limit:]
    newline = tail.find(b"\n")
    if 0 <= newline < limit // 2:
        tail = tail[newline + 1 :]
    return tail.decode("utf-8", "ignore")


def _clean(text: str, *, keep_returns: bool = False) -> str:
    text = _INVISIBLE.sub("", _ANSI.sub("", text))
    if not keep_returns:
        text = _CONTROL.sub(" ", text)
    text = _PRIVATE_KEY.sub(_BLOT, text)
    text = _HEADER_SECRET.sub(rf"\1\2{_BLOT}", text)
    text = _NAMED_SECRET.sub(rf"\1{_BLOT}", text)
    text = _BEARER.sub(rf"\1 {_BLOT}", text)
    text = _URL_PASSWORD.sub(rf"\1{_BLOT}", text)
    return _ACCESS_KEY_ID.sub(_BLOT, text)
