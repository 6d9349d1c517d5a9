"""How job records lie in the database: their tables, and both ways of conversion.

Values with structure are JSON text, written and checked by pydantic, so that SQLite
and PostgreSQL behave alike; what is searched for is a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any  # a database row is untyped until it is decoded here

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import RowMapping

from spawners.common.database import UtcDateTime

from ..explain.failure import Failure
from ..explain.vocabulary import SERVER, Vocabulary
from ..models import BatchJob, JobStatus, Resources
from .record import Address, JobEvent, JobRecord, Phase, Retain

VERSION_TABLE = "landbridge_jobs_version"


_Encoder = Callable[[Any], object]


metadata = sa.MetaData()

jobs = sa.Table(
    "landbridge_jobs",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("keeper", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(300), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("user_name", sa.String(255), nullable=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("resources", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("output", sa.Text),
    sa.Column("job", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_is_current", sa.Boolean, nullable=False),
    sa.Column("endpoint", sa.Text),
    sa.Column("cancel_wanted", UtcDateTime),
    sa.Column("failure", sa.Text),
    sa.Column("look_until", UtcDateTime),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("vocabulary", sa.Text),
    sa.Column("retain", sa.String(16), nullable=False, server_default="newest"),
    sa.UniqueConstraint("owner", "generation", name="uq_landbridge_jobs_generation"),
)
# The database itself refuses a second live job of an owner, whoever asks.
sa.Index(
    "uq_landbridge_jobs_live",
    jobs.c.owner,
    unique=True,
    sqlite_where=jobs.c.phase.in_([Phase.INTENT.value, Phase.SUBMITTED.value]),
    postgresql_where=jobs.c.phase.in_([Phase.INTENT.value, Phase.SUBMITTED.value]),
)
sa.Index("ix_landbridge_jobs_open", jobs.c.keeper, jobs.c.is_open)

events = sa.Table(
    "landbridge_job_events",
    metadata,
    sa.Column(
        "name",
        sa.String(64),
        sa.ForeignKey("landbridge_jobs.name", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    # Of the request that it came by: kept with the line, so that the same request is
    # the same line also for a process that knows only what is written here.
    sa.Column("request_key", sa.String(64), nullable=False, server_default=""),
)

# Hashes of what jobs prove themselves with (rendezvous/proofs.py). Earlier versions
# wrote them before the job's own row, so they do not refer to it.
proofs = sa.Table(
    "landbridge_job_proofs",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False),
    sa.Column("nonce_hash", sa.String(64), nullable=False),
    sa.Column("fetched_at", UtcDateTime),
    sa.Column("fetched_from", sa.String(64), nullable=False),
    sa.Column("report_hash", sa.String(64), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
)

# What jobs start (rendezvous/launches.py), encrypted. A row is there only as long as
# its job waits for it: until its record is settled.
launches = sa.Table(
    "landbridge_job_launches",
    metadata,
    sa.Column(
        "name",
        sa.String(64),
        sa.ForeignKey("landbridge_jobs.name", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("sealed", sa.Text, nullable=False),
)

# What jobs used. Kept when their records are pruned. Of a kernel's job its notebook
# server tells; numbers are of the whole job: per node times nodes.
usage = sa.Table(
    "landbridge_job_usage",
    metadata,
    sa.Column("user_name", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("job_id", sa.String(64), nullable=False),
    sa.Column("title", sa.String(120), nullable=False),
    sa.Column("started", UtcDateTime, nullable=False),
    sa.Column("until", UtcDateTime, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("cpus", sa.Integer, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
)
sa.Index("ix_landbridge_job_usage_until", usage.c.until)

_FACTS = TypeAdapter(dict[str, str])
_DATA = TypeAdapter(dict[str, str | int | float | None])
_RESOURCES = TypeAdapter(Resources)
_JOB = TypeAdapter(BatchJob | None)
_STATUS = TypeAdapter(JobStatus)
_ADDRESS = TypeAdapter(Address | None)
_FAILURE = TypeAdapter(Failure | None)
_VOCABULARY = TypeAdapter(Vocabulary)


def _same(value: object) -> object:
    return value


def _json(adapter: TypeAdapter[Any]) -> _Encoder:
    return lambda value: adapter.dump_json(value).decode()


def _nullable(adapter: TypeAdapter[Any]) -> _Encoder:
    return lambda value: None if value is None else adapter.dump_json(value).decode()


_ENCODERS: Mapping[str, _Encoder] = {
    "phase": lambda phase: phase.value,
    "resources": _json(_RESOURCES),
    "facts": lambda facts: _FACTS.dump_json(dict(facts)).decode(),
    "job": _nullable(_JOB),
    "status": _json(_STATUS),
    "address": _nullable(_ADDRESS),
    "failure": _nullable(_FAILURE),
    "vocabulary": _json(_VOCABULARY),
    "retain": lambda retain: retain.value,
}
# Fields whose columns keep the names that they were made with.
_COLUMNS = {"user": "user_name", "address": "endpoint", "search_until": "look_until"}

#: Fields of a record that may change after it was first written.
MUTABLE = frozenset(
    {
        "phase",
        "facts",
        "job",
        "status",
        "status_is_current",
        "address",
        "cancel_wanted",
        "failure",
        "search_until",
        "retain",
    }
)


#: What ``not record.settled`` says, in SQL, of :data:`jobs`: the job may still ask for
#: what it starts.
AWAITS_LAUNCH = sa.and_(
    jobs.c.phase.in_([Phase.INTENT.value, Phase.SUBMITTED.value]),
    jobs.c.cancel_wanted.is_(None),
    jobs.c.endpoint.is_(None),
)

#: Fields that decide it.
LAUNCH_FIELDS = frozenset({"phase", "cancel_wanted", "address"})


def to_row(record: JobRecord, fields: frozenset[str]) -> dict[str, object]:
    """Return the columns for ``fields`` of a record, and those that follow them."""
    row: dict[str, object] = {
        _COLUMNS.get(name, name): _ENCODERS.get(name, _same)(getattr(record, name))
        for name in fields
    }
    return row | {"updated": record.updated, "is_open": record.is_open}


def from_row(row: RowMapping) -> JobRecord:
    """Return the record in a row.

    Raises:
        ValueError: the row is damaged or of another release.
    """
    return JobRecord(
        name=row["name"],
        owner=row["owner"],
        generation=row["generation"],
        user=row["user_name"],
        phase=Phase(row["phase"]),
        resources=_RESOURCES.validate_json(row["resources"]),
        created=row["created"],
        updated=row["updated"],
        facts=MappingProxyType(_FACTS.validate_json(row["facts"])),
        output=row["output"],
        job=_JOB.validate_json(row["job"] or "null"),
        status=_STATUS.validate_json(row["status"]),
        status_is_current=row["status_is_current"],
        address=_ADDRESS.validate_json(row["endpoint"] or "null"),
        cancel_wanted=row["cancel_wanted"],
        failure=_FAILURE.validate_json(row["failure"] or "null"),
        search_until=row["look_until"],
        vocabulary=_vocabulary(row["vocabulary"]),
        retain=Retain(row["retain"]),
    )


def _vocabulary(text: str | None) -> Vocabulary:
    # A row of before there were words: all jobs were servers then.
    return SERVER if text is None else _VOCABULARY.validate_json(text)


def event_to_row(event: JobEvent) -> dict[str, object]:
    """Return the columns of an event."""
    return {
        "name": event.name,
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "message": event.message,
        "data": _DATA.dump_json(dict(event.data)).decode(),
        "request_key": event.key,
    }


def event_from_row(row: RowMapping) -> JobEvent:
    """Return the event in a row."""
    return JobEvent(
        name=row["name"],
        seq=row["seq"],
        at=row["at"],
        kind=row["kind"],
        message=row["message"],
        data=MappingProxyType(_DATA.validate_json(row["data"])),
        key=row["request_key"],
    )
