"""What a hub makes of a server's row that an earlier hub left behind.

JupyterHub writes a server's row before it starts the server, and its address only
once ``start()`` has returned: a row without address is a start that was cut short.
So is a spawner that began and has no row: its hub died before it resumed the start.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from spawners.batch.jobs.record import JobRecord, Stage


class Verdict(Enum):
    """What to do with a row.

    ``LEAVE`` it to JupyterHub, which polls; ``RESUME`` the start; ``DROP`` the row,
    since its end was asked for.
    """

    LEAVE = auto()
    RESUME = auto()
    DROP = auto()


def judge(orm_spawner: Any, record: JobRecord | None) -> Verdict:
    """Return what to do with a spawner that has a server's row.

    Args:
        orm_spawner: its row in JupyterHub's database, with a server or begun.
        record: the newest job of that server.
    """
    if record is not None and record.stage is Stage.STOPPING:
        return Verdict.DROP
    if orm_spawner.server is not None and orm_spawner.server.ip:
        return Verdict.LEAVE
    if record is None or record.live:
        return Verdict.RESUME
    # An ended job of an earlier start says nothing about this one, which was cut
    # short before it had a job; the job of this one says all.
    return Verdict.LEAVE if _belongs(record, orm_spawner.started) else Verdict.RESUME


def _belongs(record: JobRecord, started: datetime | None) -> bool:
    """Tell whether a job was submitted by the start that began at ``started``."""
    if started is None:
        return True
    return record.created >= started.replace(tzinfo=UTC)
