"""Uploads over REST: URLs that are rights, and the state of what comes in parts.

The bytes go between browser and store, not through here; what the service decides,
it binds into the signature: length, checksum, and that nothing is overwritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from services.common.web.auth import Caller
from services.common.web.errors import BadRequest, InTheWay
from services.common.web.paging import CursorQuery, PageAnswer
from services.common.web.routes import Call, Model, Nothing

from ..access.rights import Right
from ..db.upload_rows import PendingUpload
from ..s3.errors import KeyRefused, ObjectNotFound
from ..s3.uploads import part_size
from ..s3.values import Mode, Part
from ..service import Storage
from .downloads import reachable
from .fields import BucketName, Checksum, ContentType, Key, Prefix, Size, UploadId
from .markers import marker_of, next_after
from .objects import Stored
from .urls import Url, presigner_for, url_of


class UploadUrl(Model):
    """An object to be uploaded in one piece."""

    bucket: BucketName
    key: Key
    size: Annotated[int, Field(ge=0, le=5 * 2**30)]
    """In bytes; the URL takes exactly as many."""
    content_type: ContentType = "application/octet-stream"
    crc32: Checksum | None = Field(None, description="Base64 of the 4 bytes.")
    overwrite: bool = False
    """Whether an object of this name may be replaced."""
    if_match: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,80}$")] | None = Field(
        None, description="ETag that the object must have: nobody changed it."
    )


class NewUpload(Model):
    """An object to be uploaded in parts."""

    bucket: BucketName
    key: Key
    size: Size
    content_type: ContentType = "application/octet-stream"
    overwrite: bool = False
    """Whether an object of this name may be replaced."""


class UploadStart(Model):
    """An upload that was begun: the parts have `part_size` bytes but the last."""

    bucket: BucketName
    key: Key
    upload_id: str
    """The store's."""
    part_size: int
    """Bytes of each part but the last."""
    parts: int
    """How many parts it is to have."""


class PartToSign(Model):
    """One part that will be sent."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    """Counted from 1."""
    crc32: Checksum | None = None
    """Base64 of the 4 bytes; null: not checked."""


class PartsToSign(Model):
    """Parts that will be sent now."""

    bucket: BucketName
    key: Key
    upload_id: UploadId
    parts: Annotated[list[PartToSign], Field(min_length=1, max_length=100)]
    """Those that will be sent now."""


class PartUrls(Model):
    """One URL for each part, in the order of the request."""

    urls: list[Url]
    """In the order of the request."""


class UploadQuery(Model):
    """One upload that was begun."""

    bucket: BucketName
    key: Key
    upload_id: UploadId


class PartFact(Model):
    """A part that has arrived."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    """Counted from 1."""
    etag: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,80}$")]
    """As the store answered the part."""
    size: int = 0
    """In bytes."""


class Parts(Model):
    """What has arrived of an upload, by number: enough to go on after a reload."""

    parts: list[PartFact]
    """By number."""


class UploadEnd(UploadQuery):
    """The parts that make the object."""

    parts: Annotated[list[PartFact], Field(min_length=1, max_length=10_000)]
    """All of it, each once."""
    overwrite: bool = False
    """Whether an object of this name may be replaced."""


class UploadsQuery(CursorQuery):
    """Unfinished uploads of a bucket."""

    bucket: BucketName
    prefix: Prefix = ""
    """Only names that begin so; empty: all."""
    key_marker: Prefix = ""
    """Of the page before; `cursor` is both markers."""
    upload_marker: Annotated[str, Field(max_length=1024)] = ""
    """Of the page before; `cursor` is both markers."""


class UploadFact(Model):
    """An upload that was begun and neither completed nor aborted."""

    key: Key
    upload_id: str
    """The store's."""
    started: datetime | None
    """When it was begun; null: not told."""


class UploadList(PageAnswer):
    """One page of unfinished uploads."""

    uploads: list[UploadFact]
    """By key."""
    key_marker: str | None
    """A part of `next`; null at the end."""
    upload_marker: str | None
    """A part of `next`; null at the end."""


async def _may_write(
    storage: Storage,
    caller: Caller,
    wish: UploadUrl | NewUpload,
    *,
    overwrite: bool,
) -> tuple[Right, list[str]]:
    """Check right, name, room and what is there, before anything is signed.

    Returns the right, and the ids of what was promised.
    """
    key, size = wish.key, wish.size
    right = await storage.require(caller, wish.bucket, key, Mode.READ_WRITE)
    storage.connection.keys.check(key, empty=size == 0)
    if not reachable(key):
        raise KeyRefused(
            "A browser cannot upload to a name with '.' or '..' between slashes.",
            hint="Use an S3 client, or another name.",
        )
    if not overwrite:
        await _must_be_free(storage, caller, wish.bucket, key)
    return right, await storage.quota.reserve(right, caller.name, [(key, size)])


async def _must_be_free(
    storage: Storage, caller: Caller, bucket: str, key: str
) -> None:
    """Return if there is no object of this name.

    Raises:
        InTheWay: there is one.
    """
    try:
        client = await storage.client_for(caller.name)
        await client.head(bucket, key)
    except ObjectNotFound:
        return
    raise InTheWay(
        "There is an object of this name already.",
        hint="Choose another name, or ask to overwrite it.",
    )


async def sign_upload(storage: Storage, call: Call, body: UploadUrl) -> Url:
    """A URL that uploads one object of exactly this size."""
    overwrite = body.overwrite or body.if_match is not None
    right, _ = await _may_write(storage, call.caller, body, overwrite=overwrite)
    headers = {"content-type": body.content_type, "content-length": str(body.size)}
    if body.crc32:
        headers["x-amz-checksum-crc32"] = body.crc32
    if body.if_match:
        bare = storage.connection.client.dialect.bare_if_match
        headers["if-match"] = body.if_match if bare else f'"{body.if_match}"'
    elif not body.overwrite:
        headers["if-none-match"] = "*"
    presigner = await presigner_for(storage, call, right, body.key)
    signed = presigner.put(
        body.bucket, body.key, storage.settings.url_lifetime, headers=headers
    )
    return url_of(storage, signed)


async def begin_upload(storage: Storage, call: Call, body: NewUpload) -> UploadStart:
    """Begin an upload in parts."""
    _, promised = await _may_write(storage, call.caller, body, overwrite=body.overwrite)
    client = await storage.client_for(call.caller.name)
    upload_id = await client.uploads.create(
        body.bucket, body.key, content_type=body.content_type
    )
    pending = PendingUpload(
        upload_id,
        body.bucket,
        body.key,
        call.caller.name,
        body.size,
        part_size(body.size),
        datetime.now(UTC),
    )
    await storage.uploads.add(pending)
    await storage.quota.rows.take_back(promised)
    return UploadStart(
        bucket=body.bucket,
        key=body.key,
        upload_id=upload_id,
        part_size=pending.part_size,
        parts=pending.parts,
    )


async def _pending(
    storage: Storage, caller: Caller, values: UploadQuery | PartsToSign
) -> tuple[PendingUpload, Right]:
    bucket, key = values.bucket, values.key
    right = await storage.require(caller, bucket, key, Mode.READ_WRITE)
    pending = await storage.uploads.get(values.upload_id, bucket, key, caller.name)
    return pending, right


async def sign_parts(storage: Storage, call: Call, body: PartsToSign) -> PartUrls:
    """URLs that upload parts of exactly their sizes."""
    pending, right = await _pending(storage, call.caller, body)
    presigner = await presigner_for(storage, call, right, body.key)
    urls = []
    for part in body.parts:
        headers = {"content-length": str(pending.length_of(part.number))}
        if part.crc32:
            headers["x-amz-checksum-crc32"] = part.crc32
        signed = presigner.part(
            body.bucket,
            body.key,
            body.upload_id,
            part.number,
            storage.settings.url_lifetime,
            headers=headers,
        )
        urls.append(url_of(storage, signed))
    return PartUrls(urls=urls)


async def list_parts(storage: Storage, call: Call, query: UploadQuery) -> Parts:
    """What has arrived of an upload: enough to go on after a reload."""
    await _pending(storage, call.caller, query)
    client = await storage.client_for(call.caller.name)
    parts = await client.uploads.parts(query.bucket, query.key, query.upload_id)
    return Parts(
        parts=[
            PartFact(number=part.number, etag=part.etag, size=part.size)
            for part in parts
        ]
    )


async def complete_upload(storage: Storage, call: Call, body: UploadEnd) -> Stored:
    """Make the object of its parts; it appears whole or not at all."""
    pending, right = await _pending(storage, call.caller, body)
    if not body.overwrite:
        await _must_be_free(storage, call.caller, body.bucket, body.key)
    if sorted(part.number for part in body.parts) != list(range(1, pending.parts + 1)):
        raise BadRequest(
            f"The parts 1 to {pending.parts} are needed, each once.", field="body.parts"
        )
    parts = [
        Part(part.number, part.etag)
        for part in sorted(body.parts, key=lambda part: part.number)
    ]
    client = await storage.client_for(call.caller.name)
    etag = await client.uploads.complete(body.bucket, body.key, body.upload_id, parts)
    await storage.uploads.remove(body.upload_id, body.bucket, body.key)
    await storage.quota.count_upload(right, body.key, pending.size)
    return Stored(key=body.key, etag=etag)


async def abort_upload(storage: Storage, call: Call, body: UploadQuery) -> Nothing:
    """Throw an upload and its parts away; also one that was not begun here."""
    await storage.require(call.caller, body.bucket, body.key, Mode.READ_WRITE)
    await storage.uploads.require_here(body.upload_id, body.bucket, body.key)
    client = await storage.client_for(call.caller.name)
    await client.uploads.abort(body.bucket, body.key, body.upload_id)
    await storage.uploads.remove(body.upload_id, body.bucket, body.key)
    return Nothing()


async def list_uploads(storage: Storage, call: Call, query: UploadsQuery) -> UploadList:
    """One page of the unfinished uploads under a prefix, whoever began them."""
    await storage.require(call.caller, query.bucket, query.prefix, Mode.READ_WRITE)
    client = await storage.client_for(call.caller.name)
    key, upload_id = marker_of(query, "uploads", query.key_marker, query.upload_marker)
    page = await client.uploads.list(
        query.bucket, query.prefix, key_marker=key, upload_marker=upload_id
    )
    return UploadList(
        uploads=[
            UploadFact(
                key=upload.key, upload_id=upload.upload_id, started=upload.started
            )
            for upload in page.uploads
            # Stores that do not know prefixes here list the whole bucket.
            if upload.key.startswith(query.prefix)
        ],
        key_marker=page.key_marker,
        upload_marker=page.upload_marker,
        next=next_after("uploads", page.key_marker, page.upload_marker),
    )
