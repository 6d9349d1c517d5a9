"""How Slurm writes hosts, times, states, ids and ends. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from spawners.common.units import clock_span

from ..models import BatchJob, JobState, submitted_name

_MAX_HOSTS = 20_000
_NONE = ("", "(null)", "n/a", "None assigned")
_PART = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)(?:,|\Z)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")
_DURATION = re.compile(
    r"(?:(?P<d>[0-9]{1,6})-)?(?P<h>[0-9]{1,6})(?::(?P<m>[0-9]{1,6}))?(?::(?P<s>[0-9]{1,6}))?\Z"
)

TIME = r"[0-9]{1,20}|N/A|NONE|None|Unknown"
HOSTS = r"[A-Za-z0-9_.,\[\]-]*|\(null\)|n/a|None assigned"
_WORDS = {"": JobState.UNKNOWN} | {state.value: state for state in JobState}
# States of ours that Slurm has no word for; if it prints them, it is another thing.
_OURS = (JobState.LOST, JobState.UNKNOWN)
_LAST_SECOND = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 86_400
_MOST_JOBS = 1000
_MOST_CHARACTERS = 30_000
_ID = re.compile(r"[0-9]{1,10}(_[0-9]{1,7})?\Z")
#: Times as seconds since the epoch: Slurm else prints local time without a zone, and
#: sacct cuts longer formats at 19 characters.
CLIENT_ENVIRONMENT: Mapping[str, str] = MappingProxyType({"SLURM_TIME_FORMAT": "%s"})


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
    front the first is hours (:func:`~spawners.common.units.clock_span`).
    """
    found = _DURATION.match(text)
    if found is None:
        return None
    return clock_span(*found.group("d", "h", "m", "s"))


def state_of(word: str) -> JobState:
    """Return our state for Slurm's word, ``UNKNOWN`` for one that we do not know."""
    state = _WORDS.get(word, JobState.UNKNOWN)
    return JobState.UNKNOWN if state in _OURS else state


def time_of(text: str) -> datetime | None:
    """Return a time from seconds since the epoch; ``None`` for every kind of never."""
    # 0 is how Slurm says "never", and beyond the year 9999 is no date at all.
    if not text.isdigit() or not 0 < int(text) <= _LAST_SECOND:
        return None
    return datetime.fromtimestamp(int(text), UTC)


def exit_of(text: str) -> tuple[int, int | None]:
    """Decode an end: squeue prints the raw wait status, 768 for exit code 3.

    ``3:0``, as sacct has it, is read as well.
    """
    code, colon, signal = text.partition(":")
    if colon:
        return int(code), int(signal) or None
    return int(code) >> 8, int(code) & 0x7F or None


def checked_id(job: BatchJob) -> str:
    """Return the id for a command line.

    Raises:
        ValueError: it is none of Slurm's, e.g. empty, which means "all" to sacct.
    """
    if not _ID.match(job.id):
        raise ValueError(f"{job.id[:40]!r} is no id of Slurm's")
    return job.id


def batches(jobs: Iterable[BatchJob]) -> Iterator[list[BatchJob]]:
    """Cut ``jobs`` into lots whose ids and names fit on one command line each.

    That is 1,000 jobs, and 30,000 characters in one argument: Linux takes 131,000,
    and 32,768 pass a site's launcher.
    """
    lot: list[BatchJob] = []
    names: set[str] = set()
    ids_length = names_length = 0
    for job in jobs:
        name = submitted_name(job.name)
        ids_length += len(job.id) + 1
        names_length += 0 if name in names else len(name) + 1
        if len(lot) == _MOST_JOBS or max(ids_length, names_length) > _MOST_CHARACTERS:
            yield lot
            lot, names = [], set()
            ids_length, names_length = len(job.id) + 1, len(name) + 1
        lot.append(job)
        names.add(name)
    if lot:
        yield lot


def array_of(job: BatchJob) -> str:
    """Return the number of a task's array; of a single job, its own id.

    Raises:
        ValueError: the id is none of Slurm's.
    """
    return checked_id(job).partition("_")[0]


def id_words(jobs: Iterable[BatchJob]) -> list[str]:
    """Return the ids of ``jobs``, the tasks of one array as one word: ``7_[0-3,9]``.

    Raises:
        ValueError: an id is none of Slurm's.
    """
    arrays: dict[str, set[int]] = {}
    words = []
    for job in jobs:
        number, _, task = checked_id(job).partition("_")
        if task:
            arrays.setdefault(number, set()).add(int(task))
        else:
            words.append(number)
    for number, tasks in arrays.items():
        ranges = _ranges(sorted(tasks))
        words.append(f"{number}_[{ranges}]" if len(tasks) > 1 else f"{number}_{ranges}")
    return sorted(set(words))


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-3,9`` for numbers in ascending order."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def clusters_option(cluster: str) -> list[str]:
    """Return the option that names a cluster; none where there is but one."""
    return [f"--clusters={cluster}"] if cluster else []


def suffixed(fields: Sequence[str]) -> str:
    """Return fields for ``--Format``: a suffix for a width, so nothing is cut."""
    return ",".join(f"{field}:|" for field in fields)


def future_time(start: datetime | None) -> datetime | None:
    """Return an expected start; ``None`` for the next century.

    That is what Slurm guesses behind a job without a time limit.
    """
    far = datetime.now(UTC) + timedelta(days=366)
    return start if start and start < far else None
