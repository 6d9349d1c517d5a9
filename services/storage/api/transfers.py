"""Uploads and downloads over REST: URLs that are rights, and the state of uploads.

The bytes go between browser and store, not through here; what the service decides,
it binds into the signature: length, checksum, and that nothing is overwritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from services.common.errors import BadRequest, InTheWay
from services.common.spec import Call, Nothing

from ..access.rights import Right
from ..db.rows import NAMED
from ..db.upload_rows import Begun
from ..s3.client import S3Client
from ..s3.errors import KeyRefused, ObjectNotFound
from ..s3.signing import PresignedUrl, Presigner
from ..s3.uploads import part_size
from ..s3.values import Mode, Part
from ..service import Storage
from . import models as m
from . import models_transfers as t
from .downloads import attachment, reachable

_NOT_FOR_SCRIPTS = frozenset({"content-length", "host"})


def _answer(storage: Storage, signed: PresignedUrl) -> t.Url:
    headers = dict(signed.headers)
    return t.Url(
        method=signed.method,
        url=signed.url,
        # A browser sets these itself, and lets no script do so.
        headers={k: v for k, v in headers.items() if k not in _NOT_FOR_SCRIPTS},
        expires=storage.expires_in(storage.settings.url_lifetime),
    )


async def _presigner(
    storage: Storage, call: Call, right: Right, *, writes: bool = True
) -> Presigner:
    return await storage.presigner(
        call.caller.name, right, call.origin, object_key=call.body.key, writes=writes
    )


async def sign_download(storage: Storage, call: Call) -> t.Url:
    """A URL that downloads one object."""
    b = call.body
    right = await storage.require(call.caller, b.bucket, b.key, Mode.READ)
    lifetime = storage.settings.url_lifetime
    if not reachable(b.key):
        where = {"bucket": b.bucket, "key": b.key, "version": b.version}
        query = urlencode(where, errors="surrogateescape")
        return t.Url(
            method="GET",
            url=storage.page(f"content?{query}", call.origin),
            headers={},
            expires=storage.expires_in(lifetime),
        )
    presigner = await _presigner(storage, call, right, writes=False)
    signed = presigner.get(
        b.bucket,
        b.key,
        lifetime,
        version=b.version or None,
        disposition="" if b.inline else attachment(b.key),
    )
    return _answer(storage, signed)


async def _may_write(
    storage: Storage, call: Call, key: str, size: int, *, overwrite: bool
) -> tuple[Right, list[str]]:
    """Check right, name, room and what is there, before anything is signed.

    Returns the right, and the ids of what was promised.
    """
    right = await storage.require(call.caller, call.body.bucket, key, Mode.READ_WRITE)
    storage.store.keys.check(key, empty=size == 0)
    if not reachable(key):
        raise KeyRefused(
            "A browser cannot upload to a name with '.' or '..' between slashes.",
            hint="Use an S3 client, or another name.",
        )
    if not overwrite:
        await must_be_free(storage, call, key)
    return right, await storage.meter.reserve(right, call.caller.name, [(key, size)])


async def must_be_free(storage: Storage, call: Call, key: str) -> None:
    """Return if there is no object of this name.

    Raises:
        InTheWay: there is one.
    """
    try:
        client = await storage.acting(call.caller.name)
        await client.head(call.body.bucket, key)
    except ObjectNotFound:
        return
    raise InTheWay(
        "There is an object of this name already.",
        hint="Choose another name, or ask to overwrite it.",
    )


async def sign_upload(storage: Storage, call: Call) -> t.Url:
    """A URL that uploads one object of exactly this size."""
    b = call.body
    overwrite = b.overwrite or b.if_match is not None
    right, _ = await _may_write(storage, call, b.key, b.size, overwrite=overwrite)
    headers = {"content-type": b.content_type, "content-length": str(b.size)}
    if b.crc32:
        headers["x-amz-checksum-crc32"] = b.crc32
    if b.if_match:
        bare = storage.store.client.dialect.bare_if_match
        headers["if-match"] = b.if_match if bare else f'"{b.if_match}"'
    elif not b.overwrite:
        headers["if-none-match"] = "*"
    presigner = await _presigner(storage, call, right)
    signed = presigner.put(
        b.bucket, b.key, storage.settings.url_lifetime, headers=headers
    )
    return _answer(storage, signed)


async def begin_upload(storage: Storage, call: Call) -> t.UploadStart:
    """Begin an upload in parts."""
    b = call.body
    _, promised = await _may_write(storage, call, b.key, b.size, overwrite=b.overwrite)
    client = await storage.acting(call.caller.name)
    upload_id = await client.uploads.create(
        b.bucket, b.key, content_type=b.content_type
    )
    begun = Begun(
        upload_id,
        b.bucket,
        b.key,
        call.caller.name,
        b.size,
        part_size(b.size),
        datetime.now(UTC),
    )
    await storage.uploads.add(begun)
    await storage.meter.rows.take_back(promised)
    return t.UploadStart(
        bucket=b.bucket,
        key=b.key,
        upload_id=upload_id,
        part_size=begun.part_size,
        parts=begun.parts,
    )


async def _begun(
    storage: Storage, call: Call, values: t.UploadQuery | t.PartsToSign
) -> tuple[Begun, Right]:
    caller, bucket, key = call.caller, values.bucket, values.key
    right = await storage.require(caller, bucket, key, Mode.READ_WRITE)
    begun = await storage.uploads.get(values.upload_id, bucket, key, caller.name)
    return begun, right


async def sign_parts(storage: Storage, call: Call) -> t.PartUrls:
    """URLs that upload parts of exactly their sizes."""
    b = call.body
    begun, right = await _begun(storage, call, b)
    presigner = await _presigner(storage, call, right)
    urls = []
    for part in b.parts:
        headers = {"content-length": str(begun.length_of(part.number))}
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
        urls.append(_answer(storage, signed))
    return t.PartUrls(urls=urls)


async def list_parts(storage: Storage, call: Call) -> t.Parts:
    """What has arrived of an upload: enough to go on after a reload."""
    q = call.query
    await _begun(storage, call, q)
    client = await storage.acting(call.caller.name)
    found = await client.uploads.parts(q.bucket, q.key, q.upload_id)
    return t.Parts(
        parts=[
            t.PartFact(number=part.number, etag=part.etag, size=part.size)
            for part in found
        ]
    )


async def complete_upload(storage: Storage, call: Call) -> t.Stored:
    """Make the object of its parts; it appears whole or not at all."""
    b = call.body
    begun, right = await _begun(storage, call, b)
    if not b.overwrite:
        await must_be_free(storage, call, b.key)
    if sorted(part.number for part in b.parts) != list(range(1, begun.parts + 1)):
        raise BadRequest(
            f"The parts 1 to {begun.parts} are needed, each once.", field="body.parts"
        )
    parts = [
        Part(part.number, part.etag)
        for part in sorted(b.parts, key=lambda part: part.number)
    ]
    client = await storage.acting(call.caller.name)
    etag = await client.uploads.complete(b.bucket, b.key, b.upload_id, parts)
    await storage.uploads.remove(b.upload_id, b.bucket, b.key)
    await storage.meter.arrived(right, b.key, begun.size)
    return t.Stored(key=b.key, etag=etag)


async def abort_upload(storage: Storage, call: Call) -> Nothing:
    """Throw an upload and its parts away; also one that was not begun here."""
    b = call.body
    await storage.require(call.caller, b.bucket, b.key, Mode.READ_WRITE)
    await storage.uploads.require_here(b.upload_id, b.bucket, b.key)
    client = await storage.acting(call.caller.name)
    await client.uploads.abort(b.bucket, b.key, b.upload_id)
    await storage.uploads.remove(b.upload_id, b.bucket, b.key)
    return Nothing()


async def list_uploads(storage: Storage, call: Call) -> t.UploadList:
    """One page of the unfinished uploads under a prefix, whoever began them."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.prefix, Mode.READ_WRITE)
    client = await storage.acting(call.caller.name)
    page = await client.uploads.list(
        q.bucket,
        q.prefix,
        key_marker=q.key_marker or None,
        upload_marker=q.upload_marker or None,
    )
    return t.UploadList(
        uploads=[
            t.UploadFact(
                key=found.key, upload_id=found.upload_id, started=found.started
            )
            for found in page.uploads
            # Stores that do not know prefixes here list the whole bucket.
            if found.key.startswith(q.prefix)
        ],
        key_marker=page.key_marker,
        upload_marker=page.upload_marker,
    )


async def _current(client: S3Client, bucket: str, key: str) -> str | None:
    try:
        return (await client.head(bucket, key)).version
    except ObjectNotFound:
        return None


async def restore_object(storage: Storage, call: Call) -> t.Stored:
    """Make an earlier version of an object the current one again.

    It is copied inside the store: the version that was current stays, as one more.
    """
    b, user = call.body, call.caller.name
    right = await storage.require(call.caller, b.bucket, b.key, Mode.READ_WRITE)
    client = await storage.acting(user)
    head = await client.head(b.bucket, b.key, version=b.version)
    if await _current(client, b.bucket, b.key) == b.version:
        raise InTheWay("This version is the current one already.")
    storage.store.keys.check(b.key, empty=head.size == 0)
    await storage.meter.reserve(right, user, [(b.key, head.size)])
    etag = await client.copy(b.bucket, b.key, b.bucket, b.key, version=b.version)
    await storage.rows.note(user, "restore", b.bucket, key=b.key, version=b.version)
    return t.Stored(key=b.key, etag=etag)


async def delete_objects(storage: Storage, call: Call) -> m.Deleted:
    """Delete up to 1,000 objects at once; prefixes are a task."""
    b, caller = call.body, call.caller
    await storage.require_all(caller, b.bucket, b.keys, Mode.READ_WRITE)
    for key in b.keys:
        storage.store.keys.check_own(key)
    client = await storage.acting(caller.name)
    failures = await client.delete_many(b.bucket, b.keys)
    gone = len(b.keys) - len(failures)
    kept = {found.key for found in failures}
    await storage.rows.note(
        caller.name,
        "delete-objects",
        b.bucket,
        objects=gone,
        first=[key for key in b.keys if key not in kept][:NAMED],
    )
    return m.Deleted(
        deleted=gone,
        failures=[
            {"key": found.key, "code": found.code, "message": found.message}
            for found in failures
        ],
    )
