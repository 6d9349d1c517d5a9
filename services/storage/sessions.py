"""Keys that were given out: to whom, for what, and how they end early.

A user's programs get theirs by :meth:`Sessions.issue`. Browsers get URLs that are
signed by keys of the same kind (:meth:`Sessions.signer`), so a URL can never do more
than its user. Whoever ends a share ends what rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from services.common.errors import NotThere
from services.common.store import Database

from . import tables
from .credentials import LIFETIME, SHORTEST, CredentialDriver
from .objects import AccessKey, Grant, Mode, Session
from .rights import Right

FOR_BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Issued:
    """A session as it is remembered: without its keys."""

    session: Session
    user: str
    purpose: str
    created: datetime


class Sessions:
    """Every session of every user that may still be good."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signers: dict[tuple[str, Right], Session] = {}

    async def issue(
        self,
        driver: CredentialDriver,
        user: str,
        rights: Sequence[tuple[Grant, Right]],
        *,
        lifetime: timedelta,
        purpose: str,
    ) -> Session:
        """Return new keys for grants that the rights beside them cover.

        They end with the first share that they rest on, if that is earlier.
        """
        ends = [right.expires for _, right in rights if right.expires is not None]
        if ends:
            left = min(ends) - datetime.now(UTC)
            lifetime = max(SHORTEST, min(lifetime, left))
        session = await driver.issue(user, [grant for grant, _ in rights], lifetime)
        row = {
            "name": session.name,
            "user": user,
            "driver": session.driver,
            "identity": session.identity,
            "grants": json.dumps([_grant_json(grant) for grant in session.grants]),
            "shares": json.dumps(sorted({r.share for _, r in rights if r.share})),
            "purpose": purpose,
            "created": datetime.now(UTC),
            "expires": session.expires,
            "revoked": None,
        }
        insert = sa.insert(tables.sessions)
        await self._database.run(lambda c: c.execute(insert, [row]))
        return session

    async def signer(
        self, driver: CredentialDriver, user: str, right: Right, enough: timedelta
    ) -> AccessKey:
        """Return the key that signs a user's URLs for one right.

        It is good for ``enough`` at least, and used again while it is.
        """
        now = datetime.now(UTC)
        known = self._signers.get((user, right))
        if known is None or known.expires is None or known.expires - now < enough:
            grant = Grant(right.bucket, right.prefix, right.mode)
            known = await self.issue(
                driver,
                user,
                [(grant, right)],
                lifetime=LIFETIME,
                purpose=FOR_BROWSER,
            )
            self._signers = {
                key: session
                for key, session in self._signers.items()
                if not session.expired
            }
            self._signers[(user, right)] = known
        return known.key

    async def of(self, user: str) -> list[Issued]:
        """Return the keys of a user's programs that are still good."""
        t = tables.sessions
        query = (
            sa.select(t)
            .where(t.c.user == user, t.c.purpose != FOR_BROWSER)
            .where(t.c.revoked.is_(None), t.c.expires > datetime.now(UTC))
            .order_by(t.c.created.desc())
            .limit(500)
        )
        return await self._select(query)

    async def revoke(self, driver: CredentialDriver, name: str, user: str) -> Issued:
        """End one of a user's sessions now.

        Raises:
            NotThere: the user has none of this name that is still good.
            StorageError: it may still work.
        """
        for issued in await self.of(user):
            if issued.session.name == name:
                await self._end(driver, issued)
                return issued
        raise NotThere("You have no such keys, or they have ended.")

    async def end_share(self, driver: CredentialDriver, share: str) -> int:
        """End every session that rests on a share; return how many.

        Raises:
            StorageError: some may still work; ask again.
        """
        t = tables.sessions
        query = sa.select(t).where(
            t.c.revoked.is_(None),
            t.c.expires > datetime.now(UTC),
            t.c.shares.contains(json.dumps(share), autoescape=True),
        )
        self._signers = {
            key: session
            for key, session in self._signers.items()
            if key[1].share != share
        }
        found = await self._select(query)
        for issued in found:
            await self._end(driver, issued)
        return len(found)

    async def forget(self, before: datetime) -> None:
        """Forget sessions that ended before then."""
        t = tables.sessions
        delete = sa.delete(t).where(t.c.expires < before)
        await self._database.run(lambda c: c.execute(delete))

    async def _end(self, driver: CredentialDriver, issued: Issued) -> None:
        await driver.revoke(issued.session)
        t = tables.sessions
        change = sa.update(t).where(t.c.name == issued.session.name)
        change = change.values(revoked=datetime.now(UTC))
        await self._database.run(lambda c: c.execute(change))

    async def _select(self, query: sa.Select[tuple[object, ...]]) -> list[Issued]:
        def work(connection: Connection) -> list[Issued]:
            return [_from_row(row) for row in connection.execute(query).mappings()]

        return await self._database.run(work)


def _grant_json(grant: Grant) -> list[str]:
    return [grant.bucket, grant.prefix, grant.mode.value]


def _from_row(row: RowMapping) -> Issued:
    grants = tuple(
        Grant(bucket, prefix, Mode(mode))
        for bucket, prefix, mode in json.loads(row["grants"])
    )
    session = Session(
        name=row["name"],
        driver=row["driver"],
        key=AccessKey("", ""),  # never kept
        grants=grants,
        identity=row["identity"],
        expires=row["expires"],
    )
    return Issued(session, row["user"], row["purpose"], row["created"])
