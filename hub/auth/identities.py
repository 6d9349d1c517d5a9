"""Who signed in to an account first, by the identity provider's own word for a person.

A name or an address at a provider can change hands: whoever is called like somebody
else there must not get her account here. So the pair of issuer and subject that signs
in first is bound to the account, and an account to that pair, until an operator
unbinds them (``landbridge identities``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from hub.config.paths import database_url
from hub.config.settings import Settings
from hub.sessions.tables import MIGRATIONS
from hub.sessions.tables import identities as table
from spawners.common.accounts import brief
from spawners.common.database import Database
from spawners.common.errors import GatewayError

_WHAT = "database of sessions"


class OtherIdentity(Exception):
    """The account is bound to another identity, or the identity to another account."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is bound.

    Attributes:
        user: the account.
        issuer, subject: the provider, and its word for the person.
        bound: when they signed in first.
    """

    user: str
    issuer: str
    subject: str
    bound: datetime


class Identities:
    """All bound identities."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> Identities:
        """Connect to the database at ``url``.

        Raises:
            StoreUnavailable, StoreIncompatible: an operator has to act.
        """
        return cls(await Database.open(url, MIGRATIONS, what=_WHAT))

    async def close(self) -> None:
        """Disconnect."""
        await self._database.close()

    async def bind(self, user: str, issuer: str, subject: str) -> None:
        """Bind both to each other, if neither is bound yet.

        Raises:
            OtherIdentity: one of them is bound to another one; says so to operators.
            StoreUnavailable: nothing was written.
        """

        def work(connection: Connection) -> None:
            pair = sa.and_(table.c.issuer == issuer, table.c.subject == subject)
            either = sa.or_(table.c.user_name == user, pair)
            known = connection.execute(sa.select(table).where(either)).mappings().all()
            for row in known:
                if row["user_name"] != user:
                    raise OtherIdentity(
                        f"{brief(subject, 80)} of {issuer} is bound to the account "
                        f"{row['user_name']!r} and now claims {user!r}"
                    )
                if (row["issuer"], row["subject"]) != (issuer, subject):
                    raise OtherIdentity(
                        f"the account {user!r} is bound to {brief(row['subject'], 80)} "
                        f"of {row['issuer']}, and {brief(subject, 80)} of {issuer} "
                        f"claims it now"
                    )
            if not known:
                values = {"user_name": user, "issuer": issuer, "subject": subject}
                values["bound"] = datetime.now(UTC)  # type: ignore[assignment]
                connection.execute(sa.insert(table), [values])

        await self._database.run(work)

    async def forget(self, user: str) -> bool:
        """Unbind an account: whoever signs in to it next is bound. Tell if it was."""

        def work(connection: Connection) -> bool:
            gone = sa.delete(table).where(table.c.user_name == user)
            return connection.execute(gone).rowcount > 0

        return await self._database.run(work)

    async def all(self) -> list[Identity]:
        """Return all that are bound, by account."""

        def work(connection: Connection) -> list[Identity]:
            rows = connection.execute(sa.select(table).order_by(table.c.user_name))
            return [Identity(*row) for row in rows]

        return await self._database.read(work)


def manage(settings: Settings, say: Callable[[str], None], forget: str) -> int:
    """List what is bound, or unbind the account ``forget``; return an exit code."""
    try:
        return asyncio.run(_manage(settings, say, forget))
    except GatewayError as error:
        say(str(error))
        return 1


async def _manage(settings: Settings, say: Callable[[str], None], forget: str) -> int:
    identities = await Identities.open(database_url(settings, "sessions"))
    try:
        if forget:
            unbound = await identities.forget(forget)
            say(f"{forget}: {'unbound' if unbound else 'no identity was bound to it'}")
            return 0 if unbound else 3
        for identity in await identities.all():
            subject = brief(identity.subject, 200)
            since = f"since {identity.bound:%Y-%m-%d}"
            say(f"{identity.user}  {subject}  {identity.issuer}  {since}")
        return 0
    finally:
        await identities.close()
