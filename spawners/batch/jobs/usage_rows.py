"""What jobs used, as it lies in the database."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import tables as rows
from .record import JobRecord
from .usage import Used, usage_of

_LONGEST_KIND = 16


def write_used(connection: Connection, record: JobRecord, now: datetime) -> Used | None:
    """Write down what a record tells of its job, whatever was claimed of it before.

    Returns it; ``None`` if the job never started.
    """
    usage = usage_of(record, now)
    if usage is None:
        return None
    kind, _, rest = record.owner.partition(":")
    user = rest.partition("/")[0] or record.user
    table = rows.usage
    same = sa.and_(table.c.user_name == user, table.c.name == usage.name)
    values = asdict(usage) | {"user_name": user, "kind": kind[:_LONGEST_KIND]}
    if connection.scalar(sa.select(table.c.name).where(same)) is None:
        connection.execute(sa.insert(table), [values])
    else:
        connection.execute(sa.update(table).where(same).values(values))
    return Used(user, kind, usage)
