"""The values of the jobs API as JSON, and back, exactly.

What is written by :func:`dump` is read by :func:`read` as an equal value, for every
dataclass of the batch core. The bodies that only the wire has are dataclasses too, and
stand here: :class:`Submission`, :class:`Entry`, :class:`Listing`, ….

Errors travel by a code of their own (:data:`CODES`) and become the same exceptions at
the other end: :func:`problem_of`, :func:`error_from`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar  # Any: JSON

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json, to_jsonable_python

from spawners.common.errors import DatabaseUnavailable, GatewayError

from ..errors import (
    AuthenticationBroken,
    InvalidSpec,
    LimitReached,
    NotPermitted,
    SchedulerUnavailable,
    SubmitRejected,
)
from ..explain.vocabulary import JOB, Vocabulary
from ..models import JobSpec, Launch, Resources
from .errors import AlreadyLive, UnknownJob
from .record import JobEvent, JobRecord, Retain

T = TypeVar("T")

_KIND = re.compile("[a-z][a-z-]{0,31}")
_KEY = re.compile("[A-Za-z0-9]{1,64}")
_LONGEST_MESSAGE = 1_000
_LARGEST_DATA = 4_000


def _no_mapping() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client sends for one job; its name is in the address.

    Attributes:
        user: account to run as.
        owner: the adapter's key.
        resources: what the job asks for.
        workdir, output, environment, warn_before, requeue, comment, options: as in
            :class:`~spawners.batch.models.JobSpec`.
        script: the batch script, from clients that may send one; else ``None``: the
            script runs the agent and nothing more.
        facts: public facts to keep with the record.
        launch: what the job starts, which its agent fetches.
        vocabulary: how people call what runs in the job.
        retain: what is kept of it once it is over.
    """

    user: str
    owner: str
    resources: Resources
    workdir: str
    output: str | None = None
    environment: Mapping[str, str] = field(default_factory=_no_mapping, repr=False)
    warn_before: timedelta | None = None
    requeue: bool = False
    comment: str = ""
    options: tuple[str, ...] = ()
    script: str | None = field(default=None, repr=False)
    facts: Mapping[str, str] = field(default_factory=_no_mapping)
    launch: Launch | None = field(default=None, repr=False)
    vocabulary: Vocabulary = JOB
    retain: Retain = Retain.NEWEST

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        *,
        user: str,
        owner: str,
        facts: Mapping[str, str],
        launch: Launch | None = None,
        vocabulary: Vocabulary = JOB,
        retain: Retain = Retain.NEWEST,
    ) -> Submission:
        """Return what is sent for ``spec``."""
        shared = {name: getattr(spec, name) for name in _SPEC_FIELDS}
        return cls(
            user=user,
            owner=owner,
            facts=facts,
            launch=launch,
            vocabulary=vocabulary,
            retain=retain,
            **shared,
        )

    def spec(self, name: str, script: str) -> JobSpec:
        """Return the job that is asked for, under ``name``.

        Raises:
            InvalidSpec: a value is out of range or malformed; it is named.
        """
        shared = {name: getattr(self, name) for name in _SPEC_FIELDS}
        return JobSpec(name=name, **(shared | {"script": script}))

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is asked for, in hex: equal for equal requests.

        What is as it would be without a word about it counts for nothing, so that a
        release which knows of more finds the requests of an earlier one to be the same.
        """
        return _digest(self)


_SPEC_FIELDS = frozenset(
    {item.name for item in fields(JobSpec)} & {item.name for item in fields(Submission)}
)


@dataclass(frozen=True, slots=True)
class SetSubmission:
    """What a client sends for a set of equal jobs; the set's name is in the address.

    Attributes:
        each: what each of them is; its ``owner`` is how all ``owners`` begin.
        owners: one for each job, all different.
    """

    each: Submission
    owners: tuple[str, ...]

    @property
    def digest(self) -> str:
        """As :attr:`Submission.digest`."""
        return _digest(self)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of jobs."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it is listed and watched.

    Attributes:
        record: as of now.
        last_event: the number of its last event that can be read; 0 for none.
        revision: when it changed last; of two entries of a record in one epoch, the one
            with the higher number is the newer.
    """

    record: JobRecord
    last_event: int
    revision: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry, and the epoch in which its revision counts (:class:`Listing`)."""

    epoch: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Listing:
    """Records, as they are now: all that a client may see, or those of a set.

    Attributes:
        epoch: names the process that counts revisions; another one starts anew.
        revision: of the whole list: watch what comes after it.
        entries: the records.
    """

    epoch: str
    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to a request for one job's end, which is kept.

    ``known`` is False for a name that has no record: a submission that comes by it
    later is refused.
    """

    known: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs' ends were asked for."""

    count: int


@dataclass(frozen=True, slots=True)
class Credential:
    """What an owner shows to its job's server, and knows that server by.

    Attributes:
        key: PEM, of the certificate.
        certificate: PEM; only this job's server takes it.
        authority: PEM of the authority that signed it, and the server's own.
        host: the name in the server's certificate.
    """

    key: str = field(repr=False)
    certificate: str = field(repr=False)
    authority: str = field(repr=False)
    host: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line for a job's story; ``key`` is the same when it is sent again."""

    kind: str
    message: str
    data: Mapping[str, str | int | float | None]
    key: str

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise InvalidSpec("kind", "must be a word of at most 32 small letters.")
        if not _KEY.fullmatch(self.key):
            raise InvalidSpec("key", "must be 1 to 64 letters and digits.")
        # One that a database refuses would hold up what is written beside it.
        if not self.message.isprintable() or len(self.message) > _LONGEST_MESSAGE:
            raise InvalidSpec(
                "message", f"must be one line of at most {_LONGEST_MESSAGE} characters."
            )
        if len(json.dumps(dict(self.data))) > _LARGEST_DATA:
            raise InvalidSpec("data", f"must be at most {_LARGEST_DATA} bytes.")


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one start, in order."""

    events: tuple[JobEvent, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Asks whether ``user`` could have these resources, ``count`` times at once."""

    user: str
    resources: Resources
    count: int = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A guessed start, aware UTC, or ``None``."""

    start: datetime | None


def dump(value: object) -> bytes:
    """Return a value of ours as JSON."""
    return to_json(value, fallback=_plain)


def read(kind: type[T], raw: bytes | str, *, newer: bool = False) -> T:
    """Return the value that ``raw`` holds.

    Args:
        kind: of the value.
        raw: JSON.
        newer: whether fields that we do not know are passed over, as a newer release
            at the other end may send some; else they are a fault.

    Raises:
        InvalidSpec: naming the field that is missing, unknown or malformed.
    """
    adapter = _adapter(kind)
    try:
        value: T = adapter.validate_json(raw, strict=True)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "body"
        raise InvalidSpec(_short(place), f"{_short(fault['msg'])}.") from None
    if not newer:
        shown = to_jsonable_python(value, fallback=_plain)
        for place in _unknown(from_json(raw), shown, ""):
            raise InvalidSpec(_short(place), "is no field that is known here.")
    return value


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _digest(value: object) -> str:
    plain = to_jsonable_python(_said(value), fallback=_plain)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _said(value: object) -> object:
    """Return a dataclass as the fields of it that differ from their defaults."""
    if not is_dataclass(value):
        return value
    said = {}
    for item in fields(value):
        given, otherwise = getattr(value, item.name), item.default
        if item.default_factory is not MISSING:
            otherwise = item.default_factory()
        if given != otherwise:
            said[item.name] = _said(given)
    return said


def _plain(value: object) -> object:
    """Return what pydantic does not know as something that it does."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no wire form")


def _unknown(sent: object, known: object, place: str) -> Iterator[str]:
    """Yield the places in ``sent`` that ``known``, read from it, does not have."""
    if isinstance(sent, dict) and isinstance(known, dict):
        for key, value in sent.items():
            where = f"{place}.{key}" if place else str(key)
            if key not in known:
                yield where
            else:
                yield from _unknown(value, known[key], where)
    elif isinstance(sent, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(sent, known, strict=False)):
            yield from _unknown(one, other, f"{place}.{number}")


def _short(text: str) -> str:
    """Return text of a stranger's for a message: cut, and without controls."""
    return "".join(c if c.isprintable() else "?" for c in text[:120])


# Errors


class NameUsed(SubmitRejected):
    """The name was used for something else, or its end was asked for before."""


#: How an error travels: HTTP's status and a code. The first that fits counts.
CODES: Mapping[type[GatewayError], tuple[int, str]] = MappingProxyType(
    {
        AlreadyLive: (409, "already-live"),
        NameUsed: (409, "name-used"),
        UnknownJob: (404, "unknown-job"),
        LimitReached: (429, "limit-reached"),
        SubmitRejected: (422, "rejected"),
        InvalidSpec: (422, "invalid"),
        NotPermitted: (403, "not-permitted"),
        AuthenticationBroken: (503, "authentication-broken"),
        DatabaseUnavailable: (503, "database-unavailable"),
        SchedulerUnavailable: (503, "scheduler-unavailable"),
    }
)
_CLASSES = {code: kind for kind, (_, code) in CODES.items()}


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What went wrong, as it is sent. ``id`` is also in the service's log."""

    code: str
    message: str
    hint: str = ""
    field: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The shape of every error; with the record that stands in the way, if one does."""

    error: ErrorFacts
    record: JobRecord | None = None


def problem_of(error: GatewayError) -> tuple[int, ErrorAnswer]:
    """Return HTTP's status and the body that tell of ``error``."""
    kinds = (kind for kind in CODES if isinstance(error, kind))
    status, code = CODES[next(kinds, SchedulerUnavailable)]
    place = getattr(error, "field", "")
    message = error.message
    if isinstance(error, InvalidSpec):
        message = message.removeprefix(f"{place}: ")
    record = error.record if isinstance(error, AlreadyLive) else None
    facts = ErrorFacts(code, message, error.hint, place)
    return status, ErrorAnswer(facts, record)


def error_from(answer: ErrorAnswer) -> GatewayError:
    """Return the error that an answer tells of, of the class that it had."""
    facts = answer.error
    kind = _CLASSES.get(facts.code, SchedulerUnavailable)
    if kind is AlreadyLive and answer.record is not None:
        return AlreadyLive(answer.record)
    if issubclass(kind, InvalidSpec):
        return kind(facts.field, facts.message, hint=facts.hint)
    if issubclass(kind, SubmitRejected):
        return kind(facts.message, hint=facts.hint, field=facts.field)
    return kind(facts.message, hint=facts.hint)
