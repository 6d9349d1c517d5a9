"""What can go wrong with the record of a job.

::

    BatchError
    ├── AlreadyLive            the owner has a job already: attach to it
    ├── UnknownJob             no record has this name
    └── StaleReport            a job reports that is no longer wanted: it must end
"""

from __future__ import annotations

from ..errors import BatchError
from .record import JobRecord


class AlreadyLive(BatchError):
    """The owner has a job that has not ended; nothing was submitted.

    Attributes:
        record: that job's record, to attach to.
    """

    def __init__(self, record: JobRecord) -> None:
        self.record = record
        super().__init__(
            f"{record.owner} already has the job {record.name}.",
            hint="Stop it before starting another.",
        )


class UnknownJob(BatchError):
    """No record has this name."""


class StaleReport(BatchError):
    """A job reported that was superseded, stopped or ended; it must end itself."""
