"""What JupyterHub's database remembers of a server while and after it starts.

JupyterHub stores a spawner's state only once ``start()`` has returned. The job's
name and the server's API token are stored at once instead, so that a hub that was
killed in between attaches to the job with the very token that the job holds, and that
JupyterHub needs to know: the server's OAuth client has it as its secret. The token is
sealed with a key of the hub's, as administrators may read the state, and forgotten as
soon as the server answers; its row's id stays, so that a later hub can still revoke it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from spawners.common.cipher import CannotDecrypt, Cipher

_KEY = "landbridge"


@dataclass(frozen=True, slots=True)
class ServerState:
    """The stored part of a spawner.

    Attributes:
        job: name of the job's record, ``""`` before the first submission.
        token: the server's API token while it starts, sealed, else ``""``.
        token_id: row of that token in JupyterHub's database, or ``None``.
        launched: whether the job was submitted with what it starts. Earlier versions
            handed that over when the job asked.
    """

    job: str = ""
    token: str = ""
    token_id: int | None = None
    launched: bool = False

    @classmethod
    def read(cls, state: Mapping[str, Any] | None) -> ServerState:
        """Return what ``Spawner.get_state`` had stored; empty if it is not ours."""
        stored = (state or {}).get(_KEY)
        if not isinstance(stored, dict):
            return cls()
        job, token = stored.get("job"), stored.get("token")
        token_id = stored.get("token_id")
        return cls(
            job if isinstance(job, str) else "",
            token if isinstance(token, str) else "",
            token_id if isinstance(token_id, int) else None,
            launched=stored.get("launched") is True,
        )

    def written(self) -> dict[str, Any]:
        """Return the JSON form, under a key of our own; empty if there is no job."""
        if not self.job:
            return {}
        stored: dict[str, Any] = {"job": self.job}
        if self.token:
            stored["token"] = self.token
        if self.token_id is not None:
            stored["token_id"] = self.token_id
        if self.launched:
            stored["launched"] = True
        return {_KEY: stored}

    def __repr__(self) -> str:
        return f"ServerState(job={self.job!r}, token_id={self.token_id})"


class TokenCipher:
    """Hides a token in a database from those who do not know the hub's secret."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = Cipher([secret], "server token")

    def close(self, token: str) -> str:
        """Return the sealed form; ``""`` of ``""``."""
        return self._cipher.encrypt(token.encode()) if token else ""

    def open(self, sealed: str) -> str:
        """Return the token; ``""`` if it was not sealed with this secret."""
        try:
            return self._cipher.decrypt(sealed).decode() if sealed else ""
        except CannotDecrypt:
            return ""


def session_of(row: Any) -> Session | None:
    """Return the session that a row of JupyterHub's database belongs to."""
    if row is None:
        return None
    session: Session | None = inspect(row).session
    return session


def commit(orm_spawner: Any, state: Mapping[str, Any]) -> None:
    """Store a spawner's state now."""
    session = session_of(orm_spawner)
    if session is None:
        return
    orm_spawner.state = dict(state)
    session.commit()


def find_token(orm_spawner: Any, token: str) -> int | None:
    """Return the row id of the owner's API token, ``None`` if there is no such."""
    session = session_of(orm_spawner)
    if session is None or not token:
        return None
    row = orm.APIToken.find(session, token)
    if row is None or row.user is not orm_spawner.user:
        return None
    found: int = row.id
    return found


def revoke(orm_spawner: Any, row_id: int | None) -> None:
    """Delete the server's API token by its row, if it is still the owner's."""
    session = session_of(orm_spawner)
    if session is None or row_id is None:
        return
    row = session.get(orm.APIToken, row_id)
    if row is not None and row.user is orm_spawner.user:
        session.delete(row)
        session.commit()
