"""What is told of lines that could not be read: once per change, in the log."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable

from ..models import BatchJob
from .lines import Odd

log = logging.getLogger(__name__)

#: ``JobStatus.reason`` of an ``UNKNOWN`` reading whose line, and no other, is odd.
ODD = "odd line"


class OddLines:
    """Remembers which lines were odd, so that a lasting one is told once."""

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[int, frozenset[str]]] = {}
        self._left_out = 0

    def note_nodes(self, left_out: int) -> None:
        """Log how many nodes and partitions are left out, when that changes."""
        if left_out != self._left_out:
            self._left_out = left_out
            log.warning(
                "%s nodes and partitions are left out: Slurm's lines about them "
                "cannot be read",
                left_out,
            )

    def note(self, odd: Odd, ours: Collection[BatchJob], view: Hashable) -> None:
        """Log what changed since the last listing of this ``view``."""
        before = self._told.get(view, (0, frozenset()))
        now = (odd.count, frozenset(job.id for job in ours))
        if now == before:
            return
        self._told[view] = now
        if now[1] - before[1]:
            log.warning(
                "Slurm's lines about these jobs of ours cannot be read, so that their "
                "state is unknown: %s",
                ", ".join(sorted(now[1])[:20]),
            )
        if now[0] != before[0]:
            log.info(
                "%s lines of Slurm's listing cannot be read and are left out; they "
                "begin with: %s",
                odd.count,
                ", ".join(odd.numbers()) or "-",
            )
