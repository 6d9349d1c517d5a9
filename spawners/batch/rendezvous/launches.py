"""What jobs start, kept encrypted from their submission until they are ready.

A launch holds secrets (a server's API token), and travels with the submission because
whoever submitted may be away when the job asks. It lies in the database of jobs,
encrypted with a key that lies elsewhere, and is erased in the transaction that writes
that its job is ready, ended or to end (:meth:`~..jobs.store.JobStore.save`). Each
carries the name of its job inside: a row that was moved to another job is of no use.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from spawners.common.cipher import CannotDecrypt, Cipher

from ..errors import AuthenticationBroken
from ..jobs.launches import Prepared
from ..jobs.store import JobStore
from ..jobs.tables import AWAITS_LAUNCH, jobs, launches
from ..models import Launch, submitted_name, task_name
from .launch import JobSideSettings, job_environment
from .messages import ProofState
from .proofs import TokenVerifier
from .store import write_proof


class StoredLaunches:
    """The launches of jobs, in the database of jobs.

    Args:
        store: the database.
        secrets: for the encryption: the newest first, see :class:`Cipher`.
        side: what every job is told.
    """

    def __init__(
        self, store: JobStore, secrets: Sequence[bytes], side: JobSideSettings
    ) -> None:
        self._store = store
        self._cipher = Cipher(secrets, "launch")
        self._side = side
        self._tokens = TokenVerifier()

    def prepare(
        self, name: str, launch: Launch, *, tasks: int | None = None
    ) -> Prepared:
        """Make a launch ready for the job called ``name``. Stores nothing yet.

        The tasks of a set have one environment, and so one token, if they need any:
        they are their user's alone, and each may use it once.
        """
        token, hashed = None, ""
        if self._side.proof == "token":
            token, hashed = self._tokens.new_token()
        sealed = self._seal(name, launch)
        names = [name] if tasks is None else [task_name(name, n) for n in range(tasks)]

        def write(connection: Connection) -> None:
            for own in names:
                write_proof(connection, ProofState(own, token_hash=hashed))
            rows = [{"name": own, "sealed": sealed} for own in names]
            connection.execute(sa.insert(launches), rows)

        environment = job_environment(
            name, self._side, token=token, is_set=tasks is not None
        )
        return Prepared(environment, write)

    async def give(self, name: str, launch: Launch) -> bool:
        """Store the launch of a job that is there; in the place of one stored before.

        Returns whether the job waits for it.

        Raises:
            DatabaseUnavailable: nothing was stored.
        """
        row = {"name": name, "sealed": self._seal(name, launch)}

        def work(connection: Connection) -> bool:
            waits = sa.select(jobs.c.name).where(jobs.c.name == name, AWAITS_LAUNCH)
            if connection.scalar(waits.with_for_update()) is None:
                return False
            connection.execute(sa.delete(launches).where(launches.c.name == name))
            connection.execute(sa.insert(launches), [row])
            return True

        return await self._store.transact(work)

    async def load(self, name: str) -> Launch | None:
        """Return what a job starts, ``None`` if nothing is kept for it.

        Raises:
            AuthenticationBroken: it was encrypted with another key, or changed.
            DatabaseUnavailable: it cannot be read now.
        """

        def work(connection: Connection) -> str | None:
            query = sa.select(launches.c.sealed).where(launches.c.name == name)
            return connection.scalar(query)

        sealed = await self._store.read(work)
        return None if sealed is None else self._open(name, sealed)

    def _seal(self, name: str, launch: Launch) -> str:
        fields = [name, launch.argv, {**launch.environment}, {**launch.files}]
        # Mostly programs, of which a fifth is left.
        return self._cipher.encrypt(zlib.compress(json.dumps(fields).encode()))

    def _open(self, name: str, sealed: str) -> Launch:
        try:
            text = zlib.decompress(self._cipher.decrypt(sealed))
        except CannotDecrypt:
            raise AuthenticationBroken(
                f"What job {name} starts cannot be decrypted.",
                hint="Put the key back that was in use when it was submitted, behind "
                "the new one: secrets/launch-keys in the state directory.",
            ) from None
        sealed_for, argv, environment, files = json.loads(text)
        if sealed_for not in (name, submitted_name(name)):
            raise AuthenticationBroken(
                f"What is kept for job {name} was encrypted for another job.",
                hint="Somebody has changed the database of jobs. Stop this job, and "
                "find out who can write there.",
            )
        return Launch(tuple(argv), environment, files)
