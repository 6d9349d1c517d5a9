"""Shares with users and groups, and public links: rows that end by themselves."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from services.common.access.bearer_keys import hash_of
from services.common.web.errors import NotThere, TooMany
from services.common.web.paging import Keyset, Page, PageQuery
from spawners.common.database import Database

from ..db import tables
from ..s3.values import Grant, Mode
from .rights import Right

MOST = 5_000
"""Shares that one user may have at a time: whoever is shared with reads them all."""


@dataclass(frozen=True, slots=True)
class Share:
    """What ``by`` lets a user or group (``kind``) called ``name`` use."""

    id: str
    grant: Grant
    by: str
    kind: str
    name: str
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """An object that everybody with the link may download."""

    id: str
    bucket: str
    key: str
    by: str
    created: datetime
    expires: datetime
    uses: int = 0
    last_used: datetime | None = None


class Shares:
    """Every share and public link."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, by: str, grant: Grant, kind: str, name: str, expires: datetime
    ) -> Share:
        """Share ``grant``, which ``by`` owns, until ``expires``.

        Raises:
            TooMany: ``by`` has :data:`MOST` shares.
        """
        now = datetime.now(UTC)
        share = Share(secrets.token_hex(12), grant, by, kind, name, now, expires)
        row = {
            "id": share.id,
            "bucket": grant.bucket,
            "prefix": json.dumps(grant.prefix),
            "mode": grant.mode.value,
            "by": by,
            "kind": kind,
            "name": name,
            "created": now,
            "expires": expires,
            "revoked": None,
            "settled": False,
        }
        live = _live_shares(by).with_only_columns(sa.func.count())

        def work(connection: Connection) -> bool:
            if (connection.scalar(live) or 0) >= MOST:
                return False
            connection.execute(sa.insert(tables.shares), [row])
            return True

        if not await self._database.run(work):
            raise TooMany(f"You share {MOST:,} things already.", hint="End a share.")
        return share

    async def page(self, user: str, asked: PageQuery) -> Page[Share]:
        """Return a page of what ``user`` shared and still does, the newest first.

        Raises:
            BadRequest: it is no page of that.
        """
        t = tables.shares
        newest = Keyset("shares", (t.c.created, t.c.id), _share)
        return await self._database.read(newest.page(_live_shares(user), asked))

    async def end(self, share_id: str, user: str) -> Share:
        """End a share of ``user`` now. What rests on it is ended by the caller.

        Raises:
            NotThere: the user has no such share.
        """
        query = _live_shares(user).where(tables.shares.c.id == share_id)

        def work(connection: Connection) -> Share | None:
            row = connection.execute(query).mappings().first()
            return _share(row) if row else None

        share = await self._database.read(work)
        if share is None:
            raise NotThere("You have no such share, or it has ended.")
        await self._revoke(tables.shares, share_id)
        return share

    async def unsettled(self) -> list[Share]:
        """Return shares that ended and on which keys may still rest."""
        t = tables.shares
        over = sa.or_(t.c.revoked.is_not(None), t.c.expires <= datetime.now(UTC))
        query = sa.select(t).where(t.c.settled.is_(False), over).limit(500)

        def work(connection: Connection) -> list[Share]:
            return [_share(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def settle(self, share_id: str) -> None:
        """Write down that nothing rests on a share any more."""
        t = tables.shares
        change = sa.update(t).where(t.c.id == share_id).values(settled=True)
        await self._database.run(lambda c: c.execute(change))

    async def rights(self, user: str, groups: Sequence[str]) -> list[Right]:
        """Return the buckets that ``user`` made, and what others share with her."""
        b, s = tables.buckets, tables.shares
        own = sa.select(b.c.name).where(b.c.owner == user).order_by(b.c.name)
        to_user = sa.and_(s.c.kind == "user", s.c.name == user)
        to_group = sa.and_(s.c.kind == "group", s.c.name.in_(list(groups)))
        shared = (
            sa.select(s)
            .where(sa.or_(to_user, to_group), s.c.revoked.is_(None))
            .where(s.c.expires > datetime.now(UTC), s.c.by != user)
            .order_by(s.c.bucket, s.c.created)
        )

        def work(connection: Connection) -> list[Right]:
            rights = [
                Right(name, "", Mode.READ_WRITE, "own")
                for name in connection.scalars(own)
            ]
            rights += [
                Right(
                    row["bucket"],
                    json.loads(row["prefix"]),
                    Mode(row["mode"]),
                    "share",
                    owner=row["by"],
                    share=row["id"],
                    expires=row["expires"],
                    via=row["name"] if row["kind"] == "group" else "",
                )
                for row in connection.execute(shared).mappings()
            ]
            return rights

        return await self._database.read(work)

    # -- public links --------------------------------------------------------------

    async def add_link(
        self, by: str, bucket: str, key: str, expires: datetime
    ) -> tuple[Link, str]:
        """Return a new link and its secret, which is kept as a hash only."""
        secret = secrets.token_urlsafe(24)
        now = datetime.now(UTC)
        link = Link(secrets.token_hex(12), bucket, key, by, now, expires)
        row = {
            "id": link.id,
            "token_hash": hash_of(secret),
            "bucket": bucket,
            "key": json.dumps(key),
            "by": by,
            "created": now,
            "expires": expires,
            "revoked": None,
            "uses": 0,
            "last_used": None,
        }
        insert = sa.insert(tables.links)
        await self._database.run(lambda c: c.execute(insert, [row]))
        return link, secret

    async def links(self, user: str, asked: PageQuery) -> Page[Link]:
        """Return a page of a user's links that still work, the newest first.

        Raises:
            BadRequest: it is no page of them.
        """
        t = tables.links
        newest = Keyset("links", (t.c.created, t.c.id), _link)
        query = _live_links().where(t.c.by == user)
        return await self._database.read(newest.page(query, asked))

    async def link_of(self, secret: str) -> Link | None:
        """Return the link that has this secret, if it still works."""
        return await self._link(tables.links.c.token_hash == hash_of(secret))

    async def _link(self, *which: sa.ColumnElement[bool]) -> Link | None:
        query = _live_links().where(*which)

        def work(connection: Connection) -> Link | None:
            row = connection.execute(query).mappings().first()
            return _link(row) if row else None

        return await self._database.read(work)

    async def count_use(self, link_id: str) -> None:
        """Write down that a link was used now."""
        t = tables.links
        change = sa.update(t).where(t.c.id == link_id)
        change = change.values(uses=t.c.uses + 1, last_used=datetime.now(UTC))
        await self._database.run(lambda c: c.execute(change))

    async def end_link(self, link_id: str, user: str) -> Link:
        """End a link of ``user`` now.

        Raises:
            NotThere: the user has no such link.
        """
        t = tables.links
        link = await self._link(t.c.id == link_id, t.c.by == user)
        if link is None:
            raise NotThere("You have no such link, or it has ended.")
        await self._revoke(t, link_id)
        return link

    async def _revoke(self, table: sa.Table, row_id: str) -> None:
        change = sa.update(table).where(table.c.id == row_id)
        change = change.values(revoked=datetime.now(UTC))
        await self._database.run(lambda c: c.execute(change))


def _live_shares(user: str) -> sa.Select[tuple[object, ...]]:
    t = tables.shares
    live = sa.select(t).where(t.c.by == user, t.c.revoked.is_(None))
    return live.where(t.c.expires > datetime.now(UTC))


def _live_links() -> sa.Select[tuple[object, ...]]:
    t = tables.links
    live = sa.select(t).where(t.c.revoked.is_(None))
    return live.where(t.c.expires > datetime.now(UTC))


def _share(row: RowMapping) -> Share:
    grant = Grant(row["bucket"], json.loads(row["prefix"]), Mode(row["mode"]))
    return Share(
        row["id"],
        grant,
        row["by"],
        row["kind"],
        row["name"],
        row["created"],
        row["expires"],
    )


def _link(row: RowMapping) -> Link:
    return Link(
        row["id"],
        row["bucket"],
        json.loads(row["key"]),
        row["by"],
        row["created"],
        row["expires"],
        row["uses"],
        row["last_used"],
    )
