"""The lines of an answer of Slurm's, judged one by one. Pure functions, no I/O.

A listing holds the jobs of everybody, and what a stranger's job looks like must
decide about nothing but itself. Every line begins with ``id|uid|``, both digits. One
that fits is believed; one that does not is set aside with the id that it begins with
(:class:`Odd`), so that this job, if it is ours, is unknown and not missing. Text that
begins with no id belongs to the line above it, which then fits no longer.

An answer is unusable as a whole only when it is not a listing at all: the command
failed, it is too long, its end is missing, or it does not begin with a job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import AnswerTooLong, SchedulerUnavailable

MAX_OUTPUT = 32 * 1024**2
"""Bytes of an answer; more is no listing (200,000 jobs have about 25 MiB)."""

#: An id as squeue and sacct print it: ``3``, ``3_1``, ``3_[2-4%2]``, ``37+0``.
ID = r"[0-9]{1,10}(?:_[0-9]{1,7}|_\[[0-9,%:-]+(?:\.\.\.)?\]|\+[0-9]{1,4})?"
#: Any text but what ends a line or is no text: NUL, and bytes that are not UTF-8.
TEXT = r"[^\n\0\ud800-\udfff]*"

_HEAD = re.compile(r"(?P<id>([0-9]{1,10})[^|\n]{0,200})\|(?:(?P<uid>[0-9]{1,10})\|)?")
_NUMBERS = re.compile(r"[0-9]{1,10}(?:_[0-9]{1,7})?")


@dataclass(slots=True)
class Odd:
    """What lines that do not fit still tell: whom they may be about.

    Attributes:
        heads: ids and uids that such lines begin with, by the id's first number;
            the uid is ``None`` where it cannot be read.
        loose: ids and numbers in text that begins with no id.
        count: how many lines do not fit.
    """

    heads: dict[str, set[tuple[str, int | None]]] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, job_id: str, uid: int | None) -> None:
        """Set a line aside."""
        self.heads.setdefault(number_of(job_id), set()).add((job_id, uid))
        self.count += 1

    def add_all(self, other: Odd) -> None:
        """Set aside what another answer's lines tell."""
        for number, heads in other.heads.items():
            self.heads.setdefault(number, set()).update(heads)
        self.loose |= other.loose
        self.count += other.count

    def about(self, job_id: str, uid: int | None, *, shown: bool) -> bool:
        """Tell whether a job may be among these lines.

        Args:
            job_id: its id.
            uid: its user's; lines of others are about somebody else.
            shown: it has a good line. Then only lines of its very id count, not
                those of other tasks or within text.
        """
        for odd_id, odd_uid in self.heads.get(number_of(job_id), ()):
            own = None in (uid, odd_uid) or uid == odd_uid
            if own and (odd_id == job_id or not shown):
                return True
        return not shown and not self.loose.isdisjoint((job_id, number_of(job_id)))

    def numbers(self) -> list[str]:
        """Return the ids that were set aside, for a log; at most twenty."""
        return sorted(self.heads)[:20]


def number_of(job_id: str) -> str:
    """Return the number that an id begins with: ``"3"`` of ``"3_1"``."""
    found = _NUMBERS.match(job_id)
    return found[0].partition("_")[0] if found else job_id


def lines_of(output: bytes) -> list[str]:
    """Split an answer into lines; bytes that are no text become surrogates.

    Raises:
        SchedulerUnavailable: it is too long or cut off.
    """
    if len(output) > MAX_OUTPUT:
        raise AnswerTooLong("Slurm's answer is too long.", hint="It is asked again.")
    if not output:
        return []
    if not output.endswith(b"\n"):
        raise odd_answer("is cut off")
    text = output.decode(errors="surrogateescape")
    return text.removesuffix("\n").split("\n")


def judge(
    pattern: re.Pattern[str], output: bytes, *, cluster: str = ""
) -> tuple[list[re.Match[str]], Odd]:
    """Return the lines that fit ``pattern``, and what is known of the others.

    ``pattern`` has the groups ``id`` and ``uid``. With ``cluster``, a first line
    that names this cluster is no job.

    Raises:
        SchedulerUnavailable: it is too long, cut off, or does not begin with a job.
    """
    fits: list[re.Match[str]] = []
    odd = Odd()
    last_fits = False
    for number, line in enumerate(_after_cluster(lines_of(output), cluster)):
        found = pattern.fullmatch(line)
        if found is not None:
            fits.append(found)
        elif head := _HEAD.match(line):
            odd.add(head["id"], int(head["uid"]) if head["uid"] else None)
        elif number == 0:
            raise odd_answer("begins with no job")
        else:
            if last_fits:
                above = fits.pop()
                odd.add(above["id"], int(above["uid"]))
            odd.loose.update(_NUMBERS.findall(line))
            odd.count += 1
        last_fits = found is not None
    return fits, odd


def _after_cluster(lines: list[str], cluster: str) -> Iterator[str]:
    named = cluster and lines[:1] == [f"CLUSTER: {cluster}"]
    return iter(lines[1:] if named else lines)


def odd_answer(what: str) -> SchedulerUnavailable:
    """Return the error for an answer that cannot be used as a whole."""
    return SchedulerUnavailable(f"Slurm's answer {what}.", hint="It is asked again.")
