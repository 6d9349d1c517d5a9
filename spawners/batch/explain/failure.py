"""Why a job failed, as it is told to the person who started it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed, for the person who started it.

    Attributes:
        title: one line without jargon ("Out of memory").
        detail: what happened, with the numbers that are known.
        hint: the next step, or ``""``.
        log: the last lines of the job's own output, or ``""``.
    """

    title: str
    detail: str = ""
    hint: str = ""
    log: str = field(default="", repr=False)
