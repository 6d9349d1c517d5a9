"""Keys that were given out: to whom, for what, and how they end early.

A user's programs get theirs by :meth:`Sessions.issue`. Browsers get URLs that are
signed by keys of the same kind (:meth:`Sessions.url_key`), so a URL can never do more
than its user. Whoever ends a share ends what rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any  # what rows hold

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from services.common.web.errors import NotThere, TooMany
from services.common.web.paging import Keyset, Page, PageQuery
from spawners.common.database import Database

from ..db import tables
from ..drivers.driver import LIFETIME, SHORTEST, CredentialDriver
from ..s3.values import AccessKey, Grant, Mode, Session
from .rights import Right
from .shares import Share

FOR_BROWSER = "browser"
MOST = 150
"""Keys of a user's programs that may be good, or denied until their end, at a time:
a bucket's policy has room for so many denials."""
_GRANT, _SHARE, _GROUP = "grant", "share", "group"


@dataclass(frozen=True, slots=True)
class IssuedSession:
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

        Raises:
            TooMany: the user has :data:`MOST`.
        """
        if purpose != FOR_BROWSER:
            await self._require_room(user)
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
            "purpose": purpose,
            "created": datetime.now(UTC),
            "expires": session.expires,
            "revoked": None,
        }
        rests_on = _rests_on(session, (right for _, right in rights))

        def write(connection: Connection) -> None:
            connection.execute(sa.insert(tables.sessions), [row])
            if rests_on:
                connection.execute(sa.insert(tables.session_rights), rests_on)

        await self._database.run(write)
        if await self._has_ended({right.share for _, right in rights}):
            # Whoever ended it may not have seen this session.
            await self._end(driver, _remembered(session, user, purpose))
            raise NotThere("A share ended while keys were made.", hint="Ask again.")
        return session

    async def _require_room(self, user: str) -> None:
        t = tables.sessions
        query = sa.select(sa.func.count(), sa.func.min(t.c.expires)).where(
            t.c.user == user,
            t.c.expires > datetime.now(UTC),
            t.c.purpose != FOR_BROWSER,
        )
        count, first = await self._database.read(lambda c: c.execute(query).one())
        if count >= MOST:
            raise TooMany(
                f"Your programs were given {count} sets of keys that have not expired.",
                hint=f"Use one of them again, or wait until {first:%H:%M} UTC.",
            )

    async def _has_ended(self, shares: set[str]) -> bool:
        """Whether one of these is no longer there; ``""`` always is."""
        ids = shares - {""}
        t = tables.shares
        live = sa.select(sa.func.count()).where(
            t.c.id.in_(ids), t.c.revoked.is_(None), t.c.expires > datetime.now(UTC)
        )
        count = await self._database.read(lambda c: c.scalar(live)) if ids else 0
        return count != len(ids)

    async def url_key(
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
            self._drop_signers(lambda _, __, session: session.expired)
            self._signers[(user, right)] = known
        return known.key

    def _drop_signers(self, dead: Callable[[str, Right, Session], bool]) -> None:
        """Sign no more URLs by these: told by user, right and session."""
        self._signers = {
            (user, right): session
            for (user, right), session in self._signers.items()
            if not dead(user, right, session)
        }

    async def page(self, user: str, asked: PageQuery) -> Page[IssuedSession]:
        """Return a page of the keys of a user's programs that are still good.

        Raises:
            BadRequest: it is no page of theirs.
        """
        t = tables.sessions
        newest = Keyset("credentials", (t.c.created, t.c.name), _from_row)
        return await self._database.read(newest.page(_live(user), asked))

    async def revoke(
        self, driver: CredentialDriver, name: str, user: str
    ) -> IssuedSession:
        """End one of a user's sessions now.

        Raises:
            NotThere: the user has none of this name that is still good.
            StorageError: it may still work.
        """
        issued = await self.get(name, user)
        await self._end(driver, issued, own=True)
        return issued

    async def get(self, name: str, user: str) -> IssuedSession:
        """Return one of a user's sessions.

        Raises:
            NotThere: the user has none of this name that is still good.
        """
        sessions = await self._select(_live(user).where(tables.sessions.c.name == name))
        if not sessions:
            raise NotThere("You have no such keys, or they have ended.")
        return sessions[0]

    async def end_share(self, driver: CredentialDriver, share: Share) -> int:
        """End every session that rests on a share, in the share's bucket.

        Elsewhere they go on, where the store can do that: a guest's programs keep her
        own buckets. Returns how many there were.

        Raises:
            StorageError: some may still work; ask again.
        """
        query = _good().where(_rests(_SHARE, tables.session_rights.c.name == share.id))
        self._drop_signers(lambda _, right, __: right.share == share.id)
        sessions = await self._select(query)
        for issued in sessions:
            if driver.by_bucket:
                await driver.revoke(_within(issued.session, share.grant.bucket))
            else:
                await self._end(driver, issued)
        return len(sessions)

    async def by_groups(self) -> dict[str, set[str]]:
        """Return whose live sessions rest on membership of each group."""
        query = _memberships().with_only_columns(
            tables.session_rights.c.name, tables.sessions.c.user
        )

        def work(connection: Connection) -> dict[str, set[str]]:
            members: dict[str, set[str]] = {}
            for group, user in connection.execute(query.distinct()):
                members.setdefault(group, set()).add(user)
            return members

        return await self._database.read(work)

    async def end_membership(
        self, driver: CredentialDriver, user: str, group: str
    ) -> None:
        """End what a user's sessions may because she was in a group.

        Raises:
            StorageError: some may still work; ask again.
        """
        t, r = tables.sessions, tables.session_rights
        query = _memberships().where(t.c.user == user, r.c.name == group)
        query = query.add_columns(r.c.bucket)
        self._drop_signers(lambda who, right, _: (who, right.via) == (user, group))

        def read(connection: Connection) -> dict[str, tuple[IssuedSession, set[str]]]:
            lost: dict[str, tuple[IssuedSession, set[str]]] = {}
            for row in connection.execute(query).mappings():
                _, buckets = lost.setdefault(row["name"], (_from_row(row), set()))
                buckets.add(row["bucket"])
            return lost

        for issued, buckets in (await self._database.read(read)).values():
            if not driver.by_bucket:
                await self._end(driver, issued)
                continue
            for bucket in buckets:
                await driver.revoke(_within(issued.session, bucket))
            await self._leave(issued.session.name, group)

    async def _leave(self, session: str, group: str) -> None:
        """Write down that a session rests on a membership no more."""
        t = tables.session_rights
        delete = sa.delete(t).where(
            t.c.session == session, t.c.kind == _GROUP, t.c.name == group
        )
        await self._database.run(lambda c: c.execute(delete))

    async def users(self) -> set[str]:
        """Return who has sessions that still work."""
        column = tables.sessions.c.user
        query = _good().with_only_columns(column).distinct()
        return await self._database.read(lambda c: set(c.scalars(query)))

    async def end_user(self, driver: CredentialDriver, user: str) -> None:
        """End every session of a user.

        Raises:
            StorageError: some may still work; ask again.
        """
        self._drop_signers(lambda who, _, __: who == user)
        for issued in await self._select(_good().where(tables.sessions.c.user == user)):
            await self._end(driver, issued)

    async def of_others(self, bucket: str, owner: str) -> datetime | None:
        """Return when the last keys of others end that know a bucket by its name."""
        t = tables.sessions
        last = sa.select(sa.func.max(t.c.expires))
        query = _unexpired(last, bucket).where(t.c.user != owner)
        return await self._database.read(lambda c: c.scalar(query))

    async def deny_again(
        self, driver: CredentialDriver, bucket: str, owner: str
    ) -> None:
        """Deny the ended sessions of a bucket's owner in it, once it was made anew.

        They know it by its name, and what denied them lay in the policy of an earlier
        bucket.

        Raises:
            StorageError: some may work in it.
        """
        if not driver.by_bucket:
            return
        t = tables.sessions
        query = _unexpired(sa.select(t), bucket)
        ended = query.where(t.c.user == owner, t.c.revoked.is_not(None))
        for issued in await self._select(ended):
            await driver.revoke(_within(issued.session, bucket))

    async def forget(self, before: datetime) -> None:
        """Forget sessions that ended before then."""
        t, r = tables.sessions, tables.session_rights
        over = t.c.expires < before

        def work(connection: Connection) -> None:
            names = sa.select(t.c.name).where(over)
            connection.execute(sa.delete(r).where(r.c.session.in_(names)))
            connection.execute(sa.delete(t).where(over))

        await self._database.run(work)

    async def _end(
        self, driver: CredentialDriver, issued: IssuedSession, *, own: bool = False
    ) -> None:
        await driver.revoke(issued.session, own=own)
        t = tables.sessions
        change = sa.update(t).where(t.c.name == issued.session.name)
        change = change.values(revoked=datetime.now(UTC))
        await self._database.run(lambda c: c.execute(change))

    async def _select(
        self, query: sa.Select[tuple[object, ...]]
    ) -> list[IssuedSession]:
        def work(connection: Connection) -> list[IssuedSession]:
            return [_from_row(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def _good() -> sa.Select[tuple[object, ...]]:
    """The sessions that still work, browsers' too."""
    t = tables.sessions
    live = sa.select(t).where(t.c.revoked.is_(None))
    return live.where(t.c.expires > datetime.now(UTC))


def _unexpired(query: sa.Select[Any], bucket: str) -> sa.Select[Any]:
    """Of these, sessions that know a bucket by its name, ended ones too."""
    t = tables.sessions
    knows = _rests(_GRANT, tables.session_rights.c.bucket == bucket)
    return query.where(t.c.expires > datetime.now(UTC), knows)


def _rests(kind: str, which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether a session has a row of this kind of which this is true."""
    t = tables.session_rights
    return (
        sa.select(t.c.session)
        .where(t.c.session == tables.sessions.c.name, t.c.kind == kind, which)
        .correlate(tables.sessions)
        .exists()
    )


def _memberships() -> sa.Select[tuple[object, ...]]:
    """Sessions that still work, each beside every membership that it rests on."""
    t = tables.session_rights
    return _good().where(t.c.session == tables.sessions.c.name, t.c.kind == _GROUP)


def _rests_on(session: Session, rights: Iterable[Right]) -> list[dict[str, str]]:
    """Rows of the buckets that a session opens, and of what it ends with there."""
    buckets = {grant.bucket for grant in session.grants}
    rows = {(bucket, _GRANT, "") for bucket in buckets}
    for right in rights:
        if right.share:
            rows.add((right.bucket, _SHARE, right.share))
        if right.via:
            rows.add((right.bucket, _GROUP, right.via))
    return [
        {"session": session.name, "bucket": bucket, "kind": kind, "name": name}
        for bucket, kind, name in sorted(rows)
    ]


def _live(user: str) -> sa.Select[tuple[object, ...]]:
    """The keys of a user's programs that are still good."""
    t = tables.sessions
    return _good().where(t.c.user == user, t.c.purpose != FOR_BROWSER)


def _remembered(session: Session, user: str, purpose: str) -> IssuedSession:
    return IssuedSession(session, user, purpose, datetime.now(UTC))


def _within(session: Session, bucket: str) -> Session:
    grants = tuple(grant for grant in session.grants if grant.bucket == bucket)
    return replace(session, grants=grants)


def _grant_json(grant: Grant) -> list[str]:
    return [grant.bucket, grant.prefix, grant.mode.value]


def _from_row(row: RowMapping) -> IssuedSession:
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
    return IssuedSession(session, row["user"], row["purpose"], row["created"])
