"""The seam through which a submission hands over what its job starts.

What is kept of it, and how a job asks for it, is the rendezvous' business
(:mod:`spawners.batch.rendezvous.launches`); a submission writes it down with its
intent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.engine import Connection

from ..models import Launch

#: Writes further rows in the transaction of a new record, after the record itself.
Alongside = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A launch made ready for one job, or for each task of a set.

    Attributes:
        environment: public variables from which the job's agent starts.
        write: stores the launch, sealed, and what the job will prove itself by.
    """

    environment: Mapping[str, str] = field(repr=False)
    write: Alongside


class Launches(Protocol):
    """Keeps launches from their submission until their jobs are ready."""

    def prepare(
        self, name: str, launch: Launch, *, tasks: int | None = None
    ) -> Prepared:
        """Make a launch ready for the job called ``name``. Stores nothing yet.

        Args:
            name: the job's, or its set's.
            launch: what it starts.
            tasks: of a set, how many; each of them starts the same.
        """

    async def give(self, name: str, launch: Launch) -> bool:
        """Store the launch of a job that is there; in the place of one stored before.

        Returns whether the job waits for it: one that is ready, ended or to end gets
        none.

        Raises:
            DatabaseUnavailable: nothing was stored.
        """
