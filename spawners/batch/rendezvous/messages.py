"""What a job may say to the hub, and what the hub may answer: closed values.

The bodies of the three calls are JSON objects of at most 64 kB with exactly the
fields below. Everything else is refused with one fixed message per reason; the
reason's details are for the hub's log only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_BODY = 64 * 1024
_MAX_LOG = 16 * 1024
_KEPT_LOG = 8 * 1024

Json = Mapping[str, object]

_JobName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
_Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
_HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")]


class Report(BaseModel):
    """What every call has: the job that it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    job: _JobName


class Fetch(Report):
    """A job asks for what it needs to start.

    Attributes:
        nonce: the agent's random value; a repeated request has the same one.
        proof: a munge credential, or the one-time token.
    """

    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
    proof: Annotated[str, Field(min_length=1, max_length=8192)]


class Ready(Report):
    """Its server listens.

    Attributes:
        secret: what the fetch answered as ``report_secret``.
        host: node name, as the scheduler spells it; a claim.
        port: of the server; a claim.
        fingerprint: of the server's certificate, SHA-256, lower-case hex.
    """

    secret: _Secret
    host: _HostName
    port: Annotated[int, Field(ge=1024, le=65535)]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Ended(Report):
    """Its server ended.

    Attributes:
        secret: as in :class:`Ready`.
        exit_code: of the server, or ``None`` when a signal ended it.
        signal: number of that signal, or ``None``.
        log: the end of the server's own output.
    """

    secret: _Secret
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None
    signal: Annotated[int, Field(ge=1, le=64)] | None = None
    log: Annotated[str, Field(max_length=_MAX_LOG)] = ""


class Refusal(Enum):
    """Why a call is refused: HTTP status, code, message, what the agent does.

    ``end``: the job is to end by itself; ``retry``: the same call may work soon.
    """

    TOO_LARGE = (413, "too-large", "The report is larger than 64 kB.", "end")
    MALFORMED = (400, "malformed", "The report is not what a job may send.", "end")
    NO_PROOF = (403, "no-proof", "The hub does not know this job by this proof.", "end")
    WRONG_HOST = (403, "wrong-host", "The host is not one of the job's nodes.", "end")
    WRONG_KEY = (403, "wrong-key", "The certificate is not the job's own.", "end")
    REPEATED = (409, "repeated", "This was reported before, and differently.", "end")
    OVER = (410, "over", "This job is no longer wanted.", "end")
    NOT_YET = (
        503,
        "not-yet",
        "The scheduler has not told the job's node yet.",
        "retry",
    )
    NO_LAUNCH = (
        503,
        "no-launch",
        "What this job starts is not known yet.",
        "retry",
    )
    NOT_NOW = (503, "not-now", "The hub cannot check this now.", "retry")

    def answer(self) -> Answer:
        """Return the fixed answer for this reason."""
        status, code, message, action = self.value
        return Answer(status, {"error": code, "message": message, "action": action})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the HTTP layer sends: a status and a JSON object. May hold secrets."""

    status: int
    json: Json = field(repr=False)


class Refused(Exception):
    """A call is refused; ``detail`` is for the log and holds no secret."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        self.refusal = refusal
        self.detail = detail
        super().__init__(f"{refusal.name}: {detail}")


R = TypeVar("R", bound=Report)


def parse(kind: type[R], body: bytes) -> R:
    """Read the body of a call.

    Raises:
        Refused: it is too large, no JSON, or not exactly of this kind.
    """
    if len(body) > MAX_BODY:
        raise Refused(Refusal.TOO_LARGE)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        where = error.errors(include_url=False, include_context=False)[0]["loc"]
        # Only places that the schema names: the rest is the caller's own text.
        known = [str(part) for part in where if part in kind.model_fields]
        raise Refused(Refusal.MALFORMED, ".".join(known)) from None


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")


def clean_log(text: str) -> str:
    """Return the last 8 kB of a log without colours, controls and writing tricks."""
    text = _ESCAPE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROL.sub("", text)[-_KEPT_LOG:]


@dataclass(frozen=True, slots=True)
class ProofState:
    """What the hub keeps of a job's secrets: hashes, nothing that can be used.

    Attributes:
        name: the job's.
        token_hash: of its one-time token, ``""`` with munge.
        nonce_hash: of the nonce of its last accepted fetch, ``""`` before.
        fetched_at, fetched_from: when and from which address that was.
        report_hash: of the secret that its reports carry.
        fingerprint: of the certificate that it was given.
        ended: whether it reported its end.
    """

    name: str
    token_hash: str = ""
    nonce_hash: str = ""
    fetched_at: datetime | None = None
    fetched_from: str = ""
    report_hash: str = ""
    fingerprint: str = ""
    ended: bool = False


class Proofs(Protocol):
    """Where :class:`ProofState` is kept; must outlive the hub's process."""

    async def load(self, name: str) -> ProofState | None:
        """Return the state of a job, or ``None`` if it was never prepared."""

    async def save(self, state: ProofState) -> None:
        """Store the state durably before returning."""
