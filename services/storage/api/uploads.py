"""Uploads over REST: URLs that are rights, and the state of what comes in parts.

The bytes go between browser and store, not through here; what the service decides,
it binds into the signature: length, checksum, and that nothing is overwritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from services.common.errors import BadRequest, InTheWay
from services.common.spec import Call, Model, Nothing

from ..access.rights import Right
from ..db.upload_rows import PendingUpload
from ..s3.errors import KeyRefused, ObjectNotFound
from ..s3.uploads import part_size
from ..s3.values import Mode, Part
from ..service import Storage
from .downloads import reachable
from .fields import BucketName, Checksum, ContentType, Key, Prefix, Size, UploadId
from .objects import Stored
from .urls import Url, presigner_for, url_of


class UploadUrl(Model):
    """An object to be uploaded in one piece."""

    bucket: BucketName
    key: Key
    size: Annotated[int, Field(ge=0, le=5 * 2**30)]
    content_type: ContentType = "application/octet-stream"
    crc32: Checksum | None = Field(None, description="Base64 of the 4 bytes.")
    overwrite: bool = False
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


class UploadStart(Model):
    """An upload that was begun: the parts have `part_size` bytes but the last."""

    bucket: BucketName
    key: Key
    upload_id: str
    part_size: int
    parts: int


class PartToSign(Model):
    """One part that will be sent."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    crc32: Checksum | None = None


class PartsToSign(Model):
    """Parts that will be sent now."""

    bucket: BucketName
    key: Key
    upload_id: UploadId
    parts: Annotated[list[PartToSign], Field(min_length=1, max_length=100)]


class PartUrls(Model):
    """One URL for each part, in the order of the request."""

    urls: list[Url]


class UploadQuery(Model):
    """One upload that was begun."""

    bucket: BucketName
    key: Key
    upload_id: UploadId


class PartFact(Model):
    """A part that has arrived."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    etag: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,80}$")]
    size: int = 0


class Parts(Model):
    """What has arrived of an upload, by number: enough to go on after a reload."""

    parts: list[PartFact]


class UploadEnd(UploadQuery):
    """The parts that make the object."""

    parts: Annotated[list[PartFact], Field(min_length=1, max_length=10_000)]
    overwrite: bool = False


class UploadsQuery(Model):
    """Unfinished uploads of a bucket."""

    bucket: BucketName
    prefix: Prefix = ""
    key_marker: Prefix = ""
    upload_marker: Annotated[str, Field(max_length=1024)] = ""


class UploadFact(Model):
    """An upload that was begun and neither completed nor aborted."""

    key: Key
    upload_id: str
    started: datetime | None


class UploadList(Model):
    """One page of unfinished uploads; both markers give the next one."""

    uploads: list[UploadFact]
    key_marker: str | None
    upload_marker: str | None


async def _may_write(
    storage: Storage, call: Call, key: str, size: int, *, overwrite: bool
) -> tuple[Right, list[str]]:
    """Check right, name, room and what is there, before anything is signed.

    Returns the right, and the ids of what was promised.
    """
    right = await storage.require(call.caller, call.body.bucket, key, Mode.READ_WRITE)
    storage.connection.keys.check(key, empty=size == 0)
    if not reachable(key):
        raise KeyRefused(
            "A browser cannot upload to a name with '.' or '..' between slashes.",
            hint="Use an S3 client, or another name.",
        )
    if not overwrite:
        await _must_be_free(storage, call, key)
    return right, await storage.quota.reserve(right, call.caller.name, [(key, size)])


async def _must_be_free(storage: Storage, call: Call, key: str) -> None:
    """Return if there is no object of this name.

    Raises:
        InTheWay: there is one.
    """
    try:
        client = await storage.client_for(call.caller.name)
        await client.head(call.body.bucket, key)
    except ObjectNotFound:
        return
    raise InTheWay(
        "There is an object of this name already.",
        hint="Choose another name, or ask to overwrite it.",
    )


async def sign_upload(storage: Storage, call: Call) -> Url:
    """A URL that uploads one object of exactly this size."""
    b = call.body
    overwrite = b.overwrite or b.if_match is not None
    right, _ = await _may_write(storage, call, b.key, b.size, overwrite=overwrite)
    headers = {"content-type": b.content_type, "content-length": str(b.size)}
    if b.crc32:
        headers["x-amz-checksum-crc32"] = b.crc32
    if b.if_match:
        bare = storage.connection.client.dialect.bare_if_match
        headers["if-match"] = b.if_match if bare else f'"{b.if_match}"'
    elif not b.overwrite:
        headers["if-none-match"] = "*"
    presigner = await presigner_for(storage, call, right)
    signed = presigner.put(
        b.bucket, b.key, storage.settings.url_lifetime, headers=headers
    )
    return url_of(storage, signed)


async def begin_upload(storage: Storage, call: Call) -> UploadStart:
    """Begin an upload in parts."""
    b = call.body
    _, promised = await _may_write(storage, call, b.key, b.size, overwrite=b.overwrite)
    client = await storage.client_for(call.caller.name)
    upload_id = await client.uploads.create(
        b.bucket, b.key, content_type=b.content_type
    )
    pending = PendingUpload(
        upload_id,
        b.bucket,
        b.key,
        call.caller.name,
        b.size,
        part_size(b.size),
        datetime.now(UTC),
    )
    await storage.uploads.add(pending)
    await storage.quota.rows.take_back(promised)
    return UploadStart(
        bucket=b.bucket,
        key=b.key,
        upload_id=upload_id,
        part_size=pending.part_size,
        parts=pending.parts,
    )


async def _pending(
    storage: Storage, call: Call, values: UploadQuery | PartsToSign
) -> tuple[PendingUpload, Right]:
    caller, bucket, key = call.caller, values.bucket, values.key
    right = await storage.require(caller, bucket, key, Mode.READ_WRITE)
    pending = await storage.uploads.get(values.upload_id, bucket, key, caller.name)
    return pending, right


async def sign_parts(storage: Storage, call: Call) -> PartUrls:
    """URLs that upload parts of exactly their sizes."""
    b = call.body
    pending, right = await _pending(storage, call, b)
    presigner = await presigner_for(storage, call, right)
    urls = []
    for part in b.parts:
        headers = {"content-length": str(pending.length_of(part.number))}
        if part.crc32:
            headers["x-amz-checksum-crc32"] = part.crc32
        signed = presigner.part(
            b.bucket,
            b.key,
            b.upload_id,
            part.number,
            storage.settings.url_lifetime,
            headers=headers,
        )
        urls.append(url_of(storage, signed))
    return PartUrls(urls=urls)


async def list_parts(storage: Storage, call: Call) -> Parts:
    """What has arrived of an upload: enough to go on after a reload."""
    q = call.query
    await _pending(storage, call, q)
    client = await storage.client_for(call.caller.name)
    parts = await client.uploads.parts(q.bucket, q.key, q.upload_id)
    return Parts(
        parts=[
            PartFact(number=part.number, etag=part.etag, size=part.size)
            for part in parts
        ]
    )


async def complete_upload(storage: Storage, call: Call) -> Stored:
    """Make the object of its parts; it appears whole or not at all."""
    b = call.body
    pending, right = await _pending(storage, call, b)
    if not b.overwrite:
        await _must_be_free(storage, call, b.key)
    if sorted(part.number for part in b.parts) != list(range(1, pending.parts + 1)):
        raise BadRequest(
            f"The parts 1 to {pending.parts} are needed, each once.", field="body.parts"
        )
    parts = [
        Part(part.number, part.etag)
        for part in sorted(b.parts, key=lambda part: part.number)
    ]
    client = await storage.client_for(call.caller.name)
    etag = await client.uploads.complete(b.bucket, b.key, b.upload_id, parts)
    await storage.uploads.remove(b.upload_id, b.bucket, b.key)
    await storage.quota.count_upload(right, b.key, pending.size)
    return Stored(key=b.key, etag=etag)


async def abort_upload(storage: Storage, call: Call) -> Nothing:
    """Throw an upload and its parts away; also one that was not begun here."""
    b = call.body
    await storage.require(call.caller, b.bucket, b.key, Mode.READ_WRITE)
    await storage.uploads.require_here(b.upload_id, b.bucket, b.key)
    client = await storage.client_for(call.caller.name)
    await client.uploads.abort(b.bucket, b.key, b.upload_id)
    await storage.uploads.remove(b.upload_id, b.bucket, b.key)
    return Nothing()


async def list_uploads(storage: Storage, call: Call) -> UploadList:
    """One page of the unfinished uploads under a prefix, whoever began them."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.prefix, Mode.READ_WRITE)
    client = await storage.client_for(call.caller.name)
    page = await client.uploads.list(
        q.bucket,
        q.prefix,
        key_marker=q.key_marker or None,
        upload_marker=q.upload_marker or None,
    )
    return UploadList(
        uploads=[
            UploadFact(
                key=upload.key, upload_id=upload.upload_id, started=upload.started
            )
            for upload in page.uploads
            # Stores that do not know prefixes here list the whole bucket.
            if upload.key.startswith(q.prefix)
        ],
        key_marker=page.key_marker,
        upload_marker=page.upload_marker,
    )
