"""What a check of ``landbridge doctor`` saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw.

    Attributes:
        verdict: ``ok``; ``warn`` if it works but should not stay; ``fail``.
        subject: what was looked at, in a word or two.
        text: what was seen.
        hint: what to do, or ``""``.
    """

    verdict: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    hint: str = ""
