"""Values of the batch core: frozen, checked when made, no I/O.

A request is a :class:`JobSpec` with :class:`Resources`, and a :class:`Launch` of which
the scheduler learns nothing; it answers a submission with a :class:`BatchJob` (an
identity) and a query with a :class:`JobStatus` (a reading).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from spawners.common.text import size_in_words

from .errors import InvalidSpec

# What may appear in a partition, account, QoS, reservation, feature or GPU model.
# Slurm itself allows more; nothing here ever needs a quote or starts an option.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,63}\Z")
# A constraint may combine features: "a100&ib", "[rack1|rack2]", "ib*2".
_CONSTRAINT = re.compile(r"[A-Za-z0-9_\[(][A-Za-z0-9_.&|*()\[\],:@-]{0,127}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z")
_TASK_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,58})-(0|[1-9][0-9]{0,2})\Z")
_ARRAY_OPTION = re.compile(r"-a|--ar")  # as getopt_long knows it, in all spellings
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")

# A name that an agent writes into its directory; none of its own begins with a dot.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")

_MIB = 1024**2

#: Bytes of a launch as JSON, the form in which it is stored and sent.
LARGEST_LAUNCH = _MIB

#: Tasks of one set at most. Slurm's own default (MaxArraySize) allows 1,001.
MOST_TASKS = 1000


class JobState(StrEnum):
    """Where a batch job is in its life, in the batch system's own words.

    ``UNKNOWN`` means that the last reading could not be trusted; it never means
    that the job ended. ``LOST`` means that the scheduler accepted the job and then
    forgot it, which took two good listings and the accounting to establish.
    """

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    STOPPED = "STOPPED"
    SIGNALING = "SIGNALING"
    RESIZING = "RESIZING"
    STAGE_OUT = "STAGE_OUT"
    COMPLETING = "COMPLETING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    BOOT_FAIL = "BOOT_FAIL"
    PREEMPTED = "PREEMPTED"
    DEADLINE = "DEADLINE"
    REVOKED = "REVOKED"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    LOST = "LOST"
    UNKNOWN = "UNKNOWN"

    @property
    def ended(self) -> bool:
        """True on positive evidence only that the job will not run any more."""
        return self in _ENDED

    @property
    def queued(self) -> bool:
        """True while the job waits for resources, also after a requeue."""
        return self in _QUEUED

    @property
    def on_nodes(self) -> bool:
        """True while the job holds nodes, whether or not it makes progress."""
        return self in _ON_NODES


_ENDED = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.NODE_FAIL,
        JobState.BOOT_FAIL,
        JobState.PREEMPTED,
        JobState.DEADLINE,
        JobState.REVOKED,
        JobState.LAUNCH_FAILED,
        JobState.RECONFIG_FAIL,
        JobState.LOST,
    }
)
_QUEUED = frozenset(
    {
        JobState.PENDING,
        JobState.REQUEUED,
        JobState.REQUEUE_FED,
        JobState.REQUEUE_HOLD,
        JobState.RESV_DEL_HOLD,
        JobState.SPECIAL_EXIT,
    }
)
_ON_NODES = frozenset(
    {
        JobState.CONFIGURING,
        JobState.RUNNING,
        JobState.SUSPENDED,
        JobState.STOPPED,
        JobState.SIGNALING,
        JobState.RESIZING,
        JobState.STAGE_OUT,
        JobState.COMPLETING,
    }
)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job asks for. Every field is checked here and nowhere else.

    Attributes:
        cpus: CPU cores per node, 1 to 4,096.
        memory: bytes per node, at least 1 MiB; ``None`` leaves it to the partition.
        gpus: GPUs per node, 0 to 64.
        gpu_model: the model's name as the scheduler spells it (``"a100"``), or
            ``None`` for any.
        nodes: 1 to 4,096.
        time_limit: wall-clock limit, at least one minute; ``None`` leaves it to
            the partition's default.
        partition, account, qos, reservation: names, or ``None`` for the default.
        constraint: node features, combined as the scheduler's own syntax allows.

    Raises:
        InvalidSpec: naming the field, when a value is out of range or malformed.
    """

    cpus: int = 1
    memory: int | None = None
    gpus: int = 0
    gpu_model: str | None = None
    nodes: int = 1
    time_limit: timedelta | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    reservation: str | None = None
    constraint: str | None = None

    def __post_init__(self) -> None:
        _check_int("cpus", self.cpus, 1, 4096)
        _check_int("gpus", self.gpus, 0, 64)
        _check_int("nodes", self.nodes, 1, 4096)
        if self.memory is not None:
            _check_int("memory", self.memory, _MIB, 1024**5)
        if self.gpu_model is not None and not self.gpus:
            raise InvalidSpec("gpu_model", "a model is named but no GPU is asked for.")
        if self.time_limit is not None and not (
            timedelta(minutes=1) <= self.time_limit <= timedelta(days=365)
        ):
            raise InvalidSpec("time_limit", "must be between 1 minute and 365 days.")
        for name in ("partition", "account", "qos", "reservation", "gpu_model"):
            _check_word(name, getattr(self, name))
        if self.constraint is not None and not _CONSTRAINT.match(self.constraint):
            raise InvalidSpec("constraint", "is not a list of node features.")


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidSpec(name, "must be a whole number.")
    if not low <= value <= high:
        raise InvalidSpec(name, f"must be between {low} and {high}.")


def _check_word(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not _WORD.match(value):
        raise InvalidSpec(
            name, "must be a plain name (letters, digits, and . _ : @ + -)."
        )


def new_job_name() -> str:
    """Return a fresh random job name, also usable as a DNS label: ``lb-…``.

    It is the job's write-ahead identity: 128 bits, lower-case letters and digits.
    """
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "lb-" + "".join(secrets.choice(alphabet) for _ in range(26))


def task_name(set_name: str, index: int) -> str:
    """Return the name of one task of a set: ``lb-…-17``.

    It is as random as the set's and follows from it, so that a task knows its record
    by its index, and a record its set by its name: no list has to travel.
    """
    return f"{set_name}-{index}"


def split_task_name(name: str) -> tuple[str, int] | None:
    """Return set and index of a task's name; ``None`` for a job of its own."""
    parts = _TASK_NAME.match(name)
    return (parts[1], int(parts[2])) if parts else None


def submitted_name(name: str) -> str:
    """Return the name that the scheduler has: a set's, or a single job's own."""
    parts = split_task_name(name)
    return parts[0] if parts else name


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One batch job to run: what, with what, where its output goes.

    Attributes:
        name: random ASCII token (:func:`new_job_name`); unique per submission, and
            not as a task of a set is named (:func:`task_name`).
        script: the whole batch script, starting with ``#!``. Public facts only.
        resources: what the job asks for.
        workdir: absolute directory to start in, as seen on the node.
        output: absolute path of the file for stdout and stderr, or ``None`` for
            none. ``%j`` stands for the job's id, also of a task (``123_4``).
        environment: variables for the job, never in argv, script or ``repr``.
        warn_before: how long before the time limit the job's script gets
            ``SIGUSR1``, or ``None``.
        requeue: whether the scheduler may start the job again by itself.
        comment: a remark for operators, shown by the scheduler. ASCII, 1 line.
        options: further scheduler options that a site's operator configured, as
            argv items. Never from a user. None makes an array: sets are submitted as
            such, with a record for each task.
    """

    name: str
    script: str = field(repr=False)
    resources: Resources
    workdir: str
    output: str | None = None
    environment: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    warn_before: timedelta | None = None
    requeue: bool = False
    comment: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.script.startswith("#!"):
            raise InvalidSpec("script", "must start with #! and an interpreter.")
        if "\0" in self.script or len(self.script) > 2 * _MIB:
            raise InvalidSpec("script", "must hold no NUL byte and at most 2 MiB.")
        for name, path in (("workdir", self.workdir), ("output", self.output)):
            if path is not None and (
                not path.startswith("/") or not path.isprintable() or len(path) > 4000
            ):
                raise InvalidSpec(name, "must be an absolute, printable path.")
        if any(_ARRAY_OPTION.match(option) for option in self.options):
            raise InvalidSpec("options", "must not make the job an array.")
        if not re.fullmatch(r"[\x20-\x7e]{0,200}", self.comment):
            raise InvalidSpec("comment", "must be one line of at most 200 ASCII.")
        for key, value in self.environment.items():
            if not _ENV_NAME.match(key):
                raise InvalidSpec("environment", f"{key[:40]!r} is no variable name.")
            if "\0" in value or len(value) > 120_000:
                raise InvalidSpec("environment", f"the value of {key} is not usable.")


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise InvalidSpec("name", "must be 1 to 64 letters, digits or hyphens.")
    if split_task_name(name):
        raise InvalidSpec("name", "must not end in a hyphen and a number.")


def checked_count(spec: JobSpec, count: int) -> int:
    """Return the number of tasks of a set that ``spec`` may be submitted as.

    Raises:
        InvalidSpec: ``count``, or ``name``, which leaves no room for an index.
    """
    _check_int("count", count, 1, MOST_TASKS)
    if split_task_name(task_name(spec.name, MOST_TASKS - 1)) is None:
        raise InvalidSpec("name", "of a set must be 1 to 59 letters, digits, hyphens.")
    return count


@dataclass(frozen=True, slots=True)
class Launch:
    """What a job starts once it has proved itself. Secret: not even in its ``repr``.

    Attributes:
        argv: the command. An item may start with ``{python}`` (the environment's
            interpreter), ``{agent}`` (the one that the agent runs under, 3.6 or newer)
            or ``{dir}`` (the job's private directory). What begins with ``{agent}``
            ``-I`` ``{dir}/`` runs in a copy of the agent.
        environment: variables, on top of the job's own.
        files: name to text; written 0600 into the private directory before.

    Raises:
        InvalidSpec: it is larger than 1 MB, or no process can be started with it.
    """

    argv: tuple[str, ...] = field(repr=False)
    environment: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    files: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )

    def __post_init__(self) -> None:
        texts = [*self.argv, *self.environment, *self.environment.values()]
        if not self.argv or not all(isinstance(text, str) for text in texts):
            raise InvalidSpec("launch", "must be a command and variables, as text.")
        if any("\0" in text for text in texts):
            raise InvalidSpec("launch", "must hold no NUL byte.")
        if not all(name and "=" not in name for name in self.environment):
            raise InvalidSpec("launch", "holds a name that no variable can have.")
        if not all(_FILE_NAME.match(name) for name in self.files):
            raise InvalidSpec("launch", "holds a name that no file may have.")
        size = len(json.dumps([self.argv, {**self.environment}, {**self.files}]))
        if size > LARGEST_LAUNCH:
            raise InvalidSpec(
                "launch",
                f"what the job starts is {size_in_words(size)}; at most "
                f"{size_in_words(LARGEST_LAUNCH, 'down')} are handed over.",
                hint="Put large files where the job can read them.",
            )


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A submitted job's identity. Ids come back, so an id alone is none.

    Attributes:
        id: the scheduler's id: digits for Slurm (``"123"``, an array task
            ``"123_4"``), a token for others.
        name: the name it was submitted under; of a task, :func:`task_name`.
        user: login name that it runs as.
        uid: numeric id of that user, or ``None`` if the hub cannot know it.
        submitted: when the scheduler took it (aware, UTC), or ``None`` until the
            first reading told.
        cluster: the scheduler's cluster name, or an empty string.
    """

    id: str
    name: str
    user: str
    uid: int | None = None
    submitted: datetime | None = None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One reading of a job.

    Attributes:
        state: see :class:`JobState`.
        reason: the scheduler's reason, verbatim (``"Priority"``), or ``""``.
        exit_code: the script's exit code once ended, if known.
        signal: the signal that ended it, if any.
        nodes: host names that the job holds or held.
        queue_place: 1 for the next in its partition; ``None`` if not queued.
        estimated_start: the scheduler's guess (aware UTC), or ``None``.
        started, ends, ended: aware UTC times, or ``None``; ``ends`` is when the
            time limit falls due.
        restarts: how often the scheduler started it again.
        read_at: when this reading was made (aware UTC).
    """

    state: JobState
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: tuple[str, ...] = ()
    queue_place: int | None = None
    estimated_start: datetime | None = None
    started: datetime | None = None
    ends: datetime | None = None
    ended: datetime | None = None
    restarts: int = 0
    read_at: datetime | None = None

    def time_left(self, now: datetime) -> timedelta | None:
        """Time until the limit falls due, never negative; ``None`` if no limit."""
        if self.ends is None or not self.state.on_nodes:
            return None
        return max(self.ends - now, timedelta(0))
