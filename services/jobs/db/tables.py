"""The tables of the jobs service, in the database of the records of jobs."""

from __future__ import annotations

import sqlalchemy as sa

from spawners.common.database import UtcDateTime

VERSION_TABLE = "landbridge_jobs_service_version"

metadata = sa.MetaData()

# What was asked for by which name, so that the same request is one job however often it
# comes, and that nothing comes by a name whose end was asked for.
requests = sa.Table(
    "landbridge_job_requests",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("client", sa.String(330), primary_key=True),
    # Of the request; "" if only its end was asked for.
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("cancelled", sa.Boolean, nullable=False),
    # Whether its records were there: they may be over by now, and nothing kept of them.
    sa.Column("written", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created", UtcDateTime, nullable=False),
)
sa.Index("ix_landbridge_job_requests_created", requests.c.created)

# Hashes of the tokens that jobs of notebook servers have for this service. A job has
# another one for each launch that was handed in for it, of which it fetched one.
tokens = sa.Table(
    "landbridge_job_tokens",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("created", UtcDateTime, nullable=False),
)
