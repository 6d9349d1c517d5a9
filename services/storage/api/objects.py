"""Objects over REST: listed, looked at, tagged, counted, restored and deleted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from services.common.web.errors import InTheWay
from services.common.web.paging import CursorQuery, LongPageQuery, PageAnswer
from services.common.web.routes import Call, Model

from ..db.rows import NAMED
from ..s3.client import S3Client
from ..s3.errors import ObjectNotFound, StoreUnavailable
from ..s3.values import Mode
from ..service import Storage
from .fields import BucketName, Key, Prefix, Token
from .markers import marker_of, next_after

_LONGEST_COUNT_SECONDS = 15.0


class ListQuery(LongPageQuery):
    """One page of a bucket."""

    bucket: BucketName
    prefix: Prefix = ""
    """Only names that begin so; empty: all."""
    delimiter: Literal["", "/"] = "/"
    """`/`: keys with another slash after the prefix come as one "folder"; empty: all
    keys.
    """
    token: Token = Field("", description="Of the page before; `cursor` is that, too.")
    start_after: Prefix = Field("", description="Only keys after this: a jump.")


class Entry(Model):
    """One object of a page; `size` in bytes."""

    key: Key
    size: int
    """In bytes."""
    modified: datetime
    """When it was stored."""
    etag: str
    """Another one when it is another content."""
    storage_class: str
    """In the store's words."""


class Page(PageAnswer):
    """Objects and "folders" directly under a prefix, in the store's order."""

    objects: list[Entry]
    """The objects."""
    prefixes: list[Prefix]
    """The "folders", with the slash at their end."""
    token: str | None = Field(description="As `next`, in the store's own words.")


class ObjectQuery(Model):
    """One object, or one version of it."""

    bucket: BucketName
    key: Key
    version: Annotated[str, Field(max_length=1024)] = ""
    """Of a version; empty: the current one."""


class Head(Model):
    """The facts of one object."""

    key: Key
    size: int
    """In bytes."""
    modified: datetime | None
    """When it was stored; null: not told."""
    etag: str
    """Another one when it is another content."""
    content_type: str
    """As it was uploaded."""
    content_encoding: str
    """As it was uploaded; else empty."""
    metadata: dict[str, str]
    """What was stored beside it."""
    checksums: dict[str, str]
    """By algorithm, in base64."""
    version: str | None
    """Its version; null: the bucket keeps none."""
    storage_class: str
    """In the store's words."""


class VersionsQuery(CursorQuery):
    """One page of versions."""

    bucket: BucketName
    prefix: Prefix = ""
    """Only names that begin so; empty: all."""
    key_marker: Prefix = ""
    """Of the page before; `cursor` is both markers."""
    version_marker: Annotated[str, Field(max_length=1024)] = ""
    """Of the page before; `cursor` is both markers."""


class VersionEntry(Model):
    """One version of an object; a deleted one is a delete marker."""

    key: Key
    version: str
    """Names it, with the key."""
    latest: bool
    """Whether it is the current one."""
    modified: datetime
    """When it was stored."""
    size: int
    """In bytes."""
    etag: str
    """Another one when it is another content."""
    deleted: bool
    """Whether it says that the object was deleted."""


class Versions(PageAnswer):
    """One page of versions."""

    versions: list[VersionEntry]
    """By key, the newest first."""
    key_marker: str | None
    """A part of `next`; null at the end."""
    version_marker: str | None
    """A part of `next`; null at the end."""


class Tags(Model):
    """The tags of an object."""

    tags: dict[str, str]
    """By name."""


class NewTags(Model):
    """The tags that an object shall have, and no others."""

    bucket: BucketName
    key: Key
    tags: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=128)],
            Annotated[str, Field(max_length=256)],
        ],
        Field(max_length=10),
    ]
    """By name."""


class Selection(Model):
    """Objects of a bucket: some keys, or all under a prefix."""

    bucket: BucketName
    keys: Annotated[tuple[Key, ...], Field(max_length=1000)] = ()
    """The names of objects."""
    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=100)] = ()
    """All objects whose names begin so."""


class KeysToDelete(Model):
    """Objects to delete now."""

    bucket: BucketName
    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=1000)]
    """The names of the objects."""


class Deleted(Model):
    """How many objects are gone, and why others are not."""

    deleted: int
    """How many are gone."""
    failures: list[dict[str, str]]
    """Of each other one: `key`, `code` and `message`."""


class Count(Model):
    """What a selection holds now; nothing is changed by asking."""

    objects: int
    """How many there are."""
    bytes: int
    """Their size together."""
    complete: bool = Field(description="False: it holds at least this much.")


class VersionToRestore(Model):
    """A version of an object that shall be the current one again."""

    bucket: BucketName
    key: Key
    version: Annotated[str, Field(min_length=1, max_length=1024)]
    """The one to be the current one again."""


class Stored(Model):
    """The object that is there now."""

    key: Key
    etag: str
    """Another one when it is another content."""


async def list_objects(storage: Storage, call: Call, query: ListQuery) -> Page:
    """One page of a bucket's objects and "folders"."""
    await storage.require(call.caller, query.bucket, query.prefix, Mode.READ)
    client = await storage.client_for(call.caller.name)
    (token,) = marker_of(query, "objects", query.token)
    page = await client.list(
        query.bucket,
        query.prefix,
        delimiter=query.delimiter,
        token=token,
        start_after=query.start_after,
        limit=query.limit,
    )
    return Page(
        objects=[
            Entry(
                key=item.key,
                size=item.size,
                modified=item.modified,
                etag=item.etag,
                storage_class=item.storage_class,
            )
            for item in page.objects
        ],
        prefixes=list(page.prefixes),
        token=page.token,
        next=next_after("objects", page.token),
    )


async def head_object(storage: Storage, call: Call, query: ObjectQuery) -> Head:
    """The facts of one object."""
    await storage.require(call.caller, query.bucket, query.key, Mode.READ)
    client = await storage.client_for(call.caller.name)
    head = await client.head(query.bucket, query.key, version=query.version or None)
    return Head(
        key=head.key,
        size=head.size,
        modified=head.modified,
        etag=head.etag,
        content_type=head.content_type,
        content_encoding=head.content_encoding,
        metadata=dict(head.metadata),
        checksums=dict(head.checksums),
        version=head.version,
        storage_class=head.storage_class,
    )


async def list_versions(storage: Storage, call: Call, query: VersionsQuery) -> Versions:
    """One page of the versions under a prefix."""
    await storage.require(call.caller, query.bucket, query.prefix, Mode.READ)
    client = await storage.client_for(call.caller.name)
    key, version = marker_of(query, "versions", query.key_marker, query.version_marker)
    page = await client.buckets.versions(
        query.bucket, query.prefix, key_marker=key, version_marker=version
    )
    return Versions(
        versions=[
            VersionEntry(
                key=version.key,
                version=version.version,
                latest=version.latest,
                modified=version.modified,
                size=version.size,
                etag=version.etag,
                deleted=version.deleted,
            )
            for version in page.versions
        ],
        key_marker=page.key_marker,
        version_marker=page.version_marker,
        next=next_after("versions", page.key_marker, page.version_marker),
    )


async def show_tags(storage: Storage, call: Call, query: ObjectQuery) -> Tags:
    """The tags of an object."""
    await storage.require(call.caller, query.bucket, query.key, Mode.READ)
    client = await storage.client_for(call.caller.name)
    return Tags(tags=await client.tags(query.bucket, query.key))


async def set_tags(storage: Storage, call: Call, body: NewTags) -> Tags:
    """Give an object these tags and no others."""
    await storage.require(call.caller, body.bucket, body.key, Mode.READ_WRITE)
    storage.connection.keys.check_own(body.key)
    client = await storage.client_for(call.caller.name)
    await client.set_tags(body.bucket, body.key, body.tags)
    return Tags(tags=body.tags)


async def count_objects(storage: Storage, call: Call, body: Selection) -> Count:
    """What a selection holds: the dry run of a deletion or copy."""
    if starts := (*body.keys, *body.prefixes):
        await storage.require_all(call.caller, body.bucket, starts, Mode.READ)
    client = await storage.client_for(call.caller.name)
    count = size = 0
    complete = True
    try:
        async with asyncio.timeout(_LONGEST_COUNT_SECONDS):
            for key in body.keys:
                # What went since the page was loaded is in nobody's way.
                with suppress(ObjectNotFound):
                    size += (await client.head(body.bucket, key)).size
                    count += 1
            for prefix in body.prefixes:
                async for page in client.pages(body.bucket, prefix):
                    count += len(page.objects)
                    size += sum(item.size for item in page.objects)
    except TimeoutError:
        if count == 0:
            raise StoreUnavailable("The store counts too slowly.") from None
        complete = False
    return Count(objects=count, bytes=size, complete=complete)


async def _current(client: S3Client, bucket: str, key: str) -> str | None:
    try:
        return (await client.head(bucket, key)).version
    except ObjectNotFound:
        return None


async def restore_object(
    storage: Storage, call: Call, body: VersionToRestore
) -> Stored:
    """Make an earlier version of an object the current one again.

    It is copied inside the store: the version that was current stays, as one more.
    """
    user = call.caller.name
    right = await storage.require(call.caller, body.bucket, body.key, Mode.READ_WRITE)
    client = await storage.client_for(user)
    head = await client.head(body.bucket, body.key, version=body.version)
    if await _current(client, body.bucket, body.key) == body.version:
        raise InTheWay("This version is the current one already.")
    storage.connection.keys.check(body.key, empty=head.size == 0)
    await storage.quota.reserve(right, user, [(body.key, head.size)])
    etag = await client.copy(
        body.bucket, body.key, body.bucket, body.key, version=body.version
    )
    await storage.rows.note(
        user, "restore", body.bucket, key=body.key, version=body.version
    )
    return Stored(key=body.key, etag=etag)


async def delete_objects(storage: Storage, call: Call, body: KeysToDelete) -> Deleted:
    """Delete up to 1,000 objects at once; prefixes are a task."""
    caller = call.caller
    await storage.require_all(caller, body.bucket, body.keys, Mode.READ_WRITE)
    for key in body.keys:
        storage.connection.keys.check_own(key)
    client = await storage.client_for(caller.name)
    failures = await client.delete_many(body.bucket, body.keys)
    gone = len(body.keys) - len(failures)
    kept = {failure.key for failure in failures}
    await storage.rows.note(
        caller.name,
        "delete-objects",
        body.bucket,
        objects=gone,
        first=[key for key in body.keys if key not in kept][:NAMED],
    )
    return Deleted(
        deleted=gone,
        failures=[
            {"key": failure.key, "code": failure.code, "message": failure.message}
            for failure in failures
        ],
    )
