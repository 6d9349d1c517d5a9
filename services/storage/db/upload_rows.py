"""Uploads in parts: which were begun here, by whom, and how large they may become.

What was declared at the beginning binds every part, by its length in the signature:
nobody gets more into a bucket than there was room for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from services.common.web.errors import BadRequest, NotThere
from spawners.common.database import Database

from . import tables


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was begun through the service; sizes in bytes."""

    upload_id: str
    bucket: str
    key: str
    user: str
    size: int
    part_size: int
    created: datetime

    @property
    def parts(self) -> int:
        """How many parts it has: at least one."""
        return max(1, -(-self.size // self.part_size))

    def length_of(self, number: int) -> int:
        """Return the bytes of part ``number``.

        Raises:
            BadRequest: it has no such part.
        """
        if number > self.parts:
            raise BadRequest(f"This upload has {self.parts} parts.", field="body.parts")
        if number < self.parts:
            return self.part_size
        return self.size - (self.parts - 1) * self.part_size


class UploadRows:
    """The uploads that are not over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, pending: PendingUpload) -> None:
        """Write down an upload."""
        row = {
            "upload_id": pending.upload_id,
            "bucket": pending.bucket,
            "key": json.dumps(pending.key),
            "user": pending.user,
            "size": pending.size,
            "part_size": pending.part_size,
            "created": pending.created,
        }
        insert = sa.insert(tables.uploads)
        await self._database.run(lambda c: c.execute(insert, [row]))

    async def get(
        self, upload_id: str, bucket: str, key: str, user: str
    ) -> PendingUpload:
        """Return an upload of ``user``.

        Raises:
            NotThere: it is over, was not begun here, or is somebody else's.
        """
        t = tables.uploads
        query = sa.select(t).where(t.c.upload_id == upload_id, t.c.user == user)
        query = query.where(t.c.bucket == bucket, t.c.key == json.dumps(key))

        def work(connection: Connection) -> RowMapping | None:
            return connection.execute(query).mappings().first()

        row = await self._database.read(work)
        if row is None:
            raise NotThere("You have no such upload.", hint="Start it anew.")
        return _from_row(row)

    async def require_here(self, upload_id: str, bucket: str, key: str) -> None:
        """Return if no upload of this id is known, or it is one to this very key.

        Raises:
            NotThere: it goes to another place, where others may have the rights.
        """
        t = tables.uploads
        query = sa.select(t.c.bucket, t.c.key).where(t.c.upload_id == upload_id)

        def work(connection: Connection) -> RowMapping | None:
            return connection.execute(query).mappings().first()

        row = await self._database.read(work)
        if row and (row["bucket"], json.loads(row["key"])) != (bucket, key):
            raise NotThere("You have no such upload.")

    async def remove(self, upload_id: str, bucket: str, key: str) -> None:
        """Forget an upload to ``key`` that is over; one to another place stays."""
        t = tables.uploads
        delete = sa.delete(t).where(t.c.upload_id == upload_id)
        delete = delete.where(t.c.bucket == bucket, t.c.key == json.dumps(key))
        await self._database.run(lambda c: c.execute(delete))

    async def older_than(self, moment: datetime) -> list[PendingUpload]:
        """Return uploads that were begun before then."""
        t = tables.uploads
        query = sa.select(t).where(t.c.created < moment.astimezone(UTC)).limit(500)

        def work(connection: Connection) -> list[PendingUpload]:
            return [_from_row(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def _from_row(row: RowMapping) -> PendingUpload:
    values = dict(row)
    values["key"] = json.loads(values["key"])
    return PendingUpload(**values)
