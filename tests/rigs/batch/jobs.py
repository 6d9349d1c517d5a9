"""Words that the tests of jobs share."""

from collections.abc import Callable

from spawners.batch.jobs.record import Address, JobRecord
from spawners.batch.models import JobState

OWNER = "server:alice/"
ADDRESS = Address("n01", "10.0.0.1", 40000, "ab" * 32)


def ended(record: JobRecord) -> bool:
    """Tell whether there is no job any more."""
    return not record.live


def in_state(state: JobState) -> Callable[[JobRecord], bool]:
    """Make a condition for ``Jobs.wait``."""
    return lambda record: record.status.state is state
