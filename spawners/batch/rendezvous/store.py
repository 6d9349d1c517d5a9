"""Keeps each job's :class:`~.messages.ProofState` in the store of jobs."""

from __future__ import annotations

import dataclasses
from dataclasses import fields

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..jobs.record import utc_now
from ..jobs.store import JobStore
from ..jobs.tables import proofs
from .messages import ProofState

_COLUMNS = tuple(proofs.c[field.name] for field in fields(ProofState))


class StoredProofs:
    """Proofs in the database; ``JobStore.prune`` removes them with their jobs.

    Both methods raise :class:`~spawners.common.errors.DatabaseUnavailable`.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def load(self, name: str) -> ProofState | None:
        """Return the state of a job, or ``None`` if it was never prepared."""

        def work(connection: Connection) -> ProofState | None:
            query = sa.select(*_COLUMNS).where(proofs.c.name == name)
            row = connection.execute(query).mappings().first()
            return None if row is None else ProofState(**row)

        return await self._store.read(work)

    async def save(self, state: ProofState) -> None:
        """Commit the state, new or changed."""
        await self._store.transact(lambda connection: write_proof(connection, state))


def write_proof(connection: Connection, state: ProofState) -> None:
    """Write the state of a job, new or changed, in a transaction of the caller's."""
    values = dataclasses.asdict(state)
    update = sa.update(proofs).where(proofs.c.name == state.name)
    if connection.execute(update.values(values)).rowcount == 0:
        row = values | {"created": utc_now()}
        connection.execute(sa.insert(proofs), [row])
