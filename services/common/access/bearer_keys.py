"""Keys for programs: what a key opens, until when, and whether one that is shown does.

A key is random text, told once, when it is made; a database holds only its hash. It
opens one *resource* (a noun of its service, as ``endpoint:alice/iris``) for some
*verbs* until it expires or is revoked. Who shows a key that is unknown, expired or
revoked is told one and the same, and who shows many wrong ones has to wait.

Each service has the table in a database of its own (:func:`bearer_keys_table`). A data
plane that checks keys by their hashes itself reads :meth:`BearerKeys.live` and is told
of each change (:meth:`BearerKeys.listen`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from spawners.common.database import Database, UtcDateTime

from ..web.auth import KEY_BEGINNING
from ..web.errors import Forbidden, NotSignedIn, NotThere, TooMany
from ..web.limits import Limit, Limiter
from ..web.paging import Keyset, Page, PageQuery

log = logging.getLogger(__name__)

MOST = 200
"""Keys of one owner that may be good at a time."""
_KEY = re.compile(rf"{KEY_BEGINNING}[A-Za-z0-9_-]{{43}}")
_SHOWN = len(KEY_BEGINNING) + 4
_USE_EVERY = timedelta(minutes=1)
_WRONG = Limit(per_second=0.2, burst=20)
_MOST_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class BearerKey:
    """One key, without what is secret of it.

    Attributes:
        id: names it; no secret.
        shown: its beginning, by which its owner knows it again.
        owner: the user who made it, and in whose name it acts.
        name: what its owner calls it.
        resource: the one thing that it opens.
        verbs: what may be done with that.
        created, expires: from when until when it is good.
        last_used: to the minute; ``None``: never.
    """

    id: str
    shown: str
    owner: str
    name: str
    resource: str
    verbs: frozenset[str]
    created: datetime
    expires: datetime
    last_used: datetime | None = None


def hash_of(secret: str) -> str:
    """Return what is kept of a secret that is random and long: its SHA-256, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def bearer_keys_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """Return the table of a service's keys, for its database and its migrations."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("shown", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("resource", sa.String(512), nullable=False, index=True),
        sa.Column("verbs", sa.Text, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.Column("last_used", UtcDateTime),
        sa.Column("revoked", UtcDateTime),
    )


class BearerKeys:
    """All keys of a service.

    Args:
        database: holds ``table``.
        table: made by :func:`bearer_keys_table`.
        wrong: how often one source may show a key that is not good.
    """

    def __init__(
        self, database: Database, table: sa.Table, *, wrong: Limit = _WRONG
    ) -> None:
        self._database = database
        self._table = table
        self._wrong_limit = wrong
        self._wrong = Limiter()
        # Hashes that were good once: who shows them waits for nobody's wrong ones.
        self._good: OrderedDict[str, None] = OrderedDict()
        self._used: OrderedDict[str, datetime] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after each key that is made or revoked."""
        self._listeners.append(changed)

    async def make(
        self,
        owner: str,
        name: str,
        resource: str,
        verbs: Collection[str],
        expires: datetime,
    ) -> tuple[BearerKey, str]:
        """Return a new key and its text, which is told to nobody ever again.

        That ``owner`` may do so much with ``resource`` is checked by the caller.

        Raises:
            TooMany: ``owner`` has :data:`MOST` that are good.
        """
        text = KEY_BEGINNING + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        key = BearerKey(
            id=secrets.token_hex(12),
            shown=text[:_SHOWN],
            owner=owner,
            name=name,
            resource=resource,
            verbs=frozenset(verbs),
            created=now,
            expires=expires,
        )
        row = {
            "id": key.id,
            "hash": hash_of(text),
            "shown": key.shown,
            "owner": owner,
            "name": name,
            "resource": resource,
            "verbs": json.dumps(sorted(key.verbs)),
            "created": now,
            "expires": expires,
            "last_used": None,
            "revoked": None,
        }
        count = self._live().where(self._table.c.owner == owner)

        def work(connection: Connection) -> bool:
            having = connection.scalar(count.with_only_columns(sa.func.count())) or 0
            if having < MOST:
                connection.execute(sa.insert(self._table), [row])
            return having < MOST

        if not await self._database.run(work):
            raise TooMany(f"You have {MOST} keys that are good.", hint="Revoke one.")
        self._tell()
        return key, text

    async def page(
        self, asked: PageQuery, *, owner: str = "", resource: str = ""
    ) -> Page[BearerKey]:
        """Return a page of the keys that are good, the newest first.

        Args:
            asked: which page.
            owner: only hers; ``""``: everybody's.
            resource: only to this; ``""``: to all.

        Raises:
            BadRequest: it is no page of them.
        """
        t = self._table
        query = self._live()
        if owner:
            query = query.where(t.c.owner == owner)
        if resource:
            query = query.where(t.c.resource == resource)
        newest = Keyset("keys", (t.c.created, t.c.id), _from_row)
        return await self._database.read(newest.page(query, asked))

    async def revoke(self, key_id: str, owner: str) -> BearerKey:
        """End a key of ``owner`` now, and return it.

        Raises:
            NotThere: she has none with this id that is good.
        """
        t = self._table
        query = self._live().where(t.c.id == key_id, t.c.owner == owner)

        def work(connection: Connection) -> BearerKey | None:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            connection.execute(self._end().where(t.c.id == key_id))
            return _from_row(row)

        key = await self._database.run(work)
        if key is None:
            raise NotThere("You have no such key, or it has ended.")
        self._tell()
        return key

    async def revoke_all(self, *, owner: str = "", resource: str = "") -> int:
        """End all keys of an owner whose account is gone, or to what is no more.

        Returns:
            How many that were.
        """
        if not (owner or resource):
            raise ValueError("whose keys, or to what?")
        t = self._table
        change = self._end().where(t.c.revoked.is_(None))
        if owner:
            change = change.where(t.c.owner == owner)
        if resource:
            change = change.where(t.c.resource == resource)
        count = await self._database.run(lambda c: c.execute(change).rowcount)
        if count:
            self._tell()
        return count

    async def owners(self) -> set[str]:
        """Return who has keys that are good."""
        query = self._live().with_only_columns(self._table.c.owner).distinct()
        return await self._database.read(lambda c: set(c.scalars(query)))

    async def live(self) -> dict[str, BearerKey]:
        """Return all keys that are good, by hash, for who checks them by that."""
        query = self._live()

        def work(connection: Connection) -> dict[str, BearerKey]:
            rows = connection.execute(query).mappings()
            return {row["hash"]: _from_row(row) for row in rows}

        return await self._database.read(work)

    async def check(
        self, text: str, resource: str, verb: str, *, source: str
    ) -> BearerKey:
        """Return the key that is shown, if it opens ``resource`` for ``verb``.

        Args:
            text: what was shown.
            resource: what is asked for.
            verb: what is to be done with it.
            source: the address that shows it.

        Raises:
            NotSignedIn: it is unknown, expired or revoked: all told the same.
            TooMany: this source showed too many of those.
            Forbidden: it is good, and not for this.
        """
        key = await self._good_key(text, source)
        if key.resource != resource or verb not in key.verbs:
            raise Forbidden(
                "This key may not do this.", hint="Make one for what it is to do."
            )
        await self._note_use(key)
        return key

    async def _good_key(self, text: str, source: str) -> BearerKey:
        digest = hash_of(text)
        if digest not in self._good and self._wrong.is_empty(self._wrong_limit, source):
            self._wrong.take(self._wrong_limit, source)
        query = self._live().where(self._table.c.hash == digest)

        def work(connection: Connection) -> BearerKey | None:
            row = connection.execute(query).mappings().first()
            return _from_row(row) if row else None

        # By its hash: that takes as long however much of a wrong key is right.
        key = await self._database.read(work) if _KEY.fullmatch(text) else None
        if key is None:
            self._good.pop(digest, None)
            self._wrong.take(self._wrong_limit, source)
            raise NotSignedIn(
                "This key is not good, or not any more.", hint="Make another one."
            )
        _remember(self._good, digest, None)
        return key

    async def _note_use(self, key: BearerKey) -> None:
        now = datetime.now(UTC)
        last = self._used.get(key.id) or key.last_used
        if last is not None and now - last < _USE_EVERY:
            return
        _remember(self._used, key.id, now)
        t = self._table
        change = sa.update(t).where(t.c.id == key.id).values(last_used=now)
        await self._database.run(lambda c: c.execute(change))

    async def forget(self, before: datetime) -> None:
        """Forget keys that ended before then."""
        t = self._table
        old = sa.or_(t.c.expires < before, t.c.revoked < before)
        await self._database.run(lambda c: c.execute(sa.delete(t).where(old)))

    def _tell(self) -> None:
        for changed in self._listeners:
            changed()

    def _live(self) -> sa.Select[Any]:
        t = self._table
        live = sa.select(t).where(t.c.revoked.is_(None))
        return live.where(t.c.expires > datetime.now(UTC))

    def _end(self) -> sa.Update:
        return sa.update(self._table).values(revoked=datetime.now(UTC))


def _remember(kept: OrderedDict[str, Any], name: str, value: object) -> None:
    kept.pop(name, None)
    kept[name] = value
    while len(kept) > _MOST_REMEMBERED:
        kept.popitem(last=False)


def _from_row(row: RowMapping) -> BearerKey:
    return BearerKey(
        id=row["id"],
        shown=row["shown"],
        owner=row["owner"],
        name=row["name"],
        resource=row["resource"],
        verbs=frozenset(json.loads(row["verbs"])),
        created=row["created"],
        expires=row["expires"],
        last_used=row["last_used"],
    )
