"""Copies of any size inside a store, which appear whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .answers import parse_error
from .errors import NotSupported, PreconditionFailed
from .headers import copy_source
from .refusals import error_for
from .signing import encode_query
from .transport import S3Request, Transport
from .uploads import Uploads
from .values import ObjectHead

_COPY_OF = "landbridge-copy-of"
"""Metadata of what was copied in parts: the ETag of the original.

Its own ETag is another one, so that nothing else would tell what it is a copy of.
"""


class Client(Protocol):
    """What a copy asks a store; see :class:`~services.storage.s3.client.S3Client`."""

    transport: Transport
    uploads: Uploads

    async def head(
        self, bucket: str, key: str, *, version: str | None = None
    ) -> ObjectHead:
        """Return the facts of an object."""

    async def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Store ``data`` whole and return its ETag."""

    async def tags(
        self, bucket: str, key: str, *, version: str | None = None
    ) -> dict[str, str]:
        """Return an object's tags."""

    async def set_tags(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Give an object these tags and no others."""


def is_copy(target: ObjectHead, source: ObjectHead) -> bool:
    """Whether an object is known to be a copy of ``source`` as that is."""
    if target.size != source.size:
        return False
    if target.etag == source.etag:
        return True
    marked = target.metadata.get(_COPY_OF) == source.etag
    return marked and not _lost(source, target)


async def copy_object(
    client: Client,
    source_bucket: str,
    source: ObjectHead,
    bucket: str,
    key: str,
    *,
    version: str | None,
    single: int,
) -> str:
    """Copy an object and return the new one's ETag; see ``S3Client.copy``."""
    if source.size > single:
        return await _copy_in_parts(client, source_bucket, source, bucket, key, single)
    if source.size == 0 and source.key.endswith("/") and key.endswith("/"):
        # SeaweedFS 4.48 says of a folder's marker that there is none to copy.
        kind, metadata = source.content_type, source.metadata
        return await client.put(bucket, key, b"", content_type=kind, metadata=metadata)
    call = S3Request(
        "PUT",
        bucket,
        key,
        headers={
            "x-amz-copy-source": copy_source(source_bucket, source.key, version),
            "x-amz-copy-source-if-match": f'"{source.etag}"',
        },
        what=f"copy {source_bucket}/{source.key} to {bucket}/{key}",
    )
    answer = await client.transport.ask(call)
    # It may fail after the headers, with status 200.
    if parse_error(answer.body) is not None:
        raise error_for(500, answer.headers, answer.body, call)
    return (await client.head(bucket, key)).etag


async def _copy_in_parts(
    client: Client,
    source_bucket: str,
    source: ObjectHead,
    bucket: str,
    key: str,
    step: int,
) -> str:
    """Copy ``step`` bytes at a time.

    Raises:
        NotSupported: it is there, but the store did not keep all that belongs to it.
    """
    uploads = client.uploads
    tags = await client.tags(source_bucket, source.key, version=source.version)
    headers = dict(source.headers)
    if tags:
        headers["x-amz-tagging"] = encode_query(tags)
    upload_id = await uploads.create(
        bucket,
        key,
        content_type=source.content_type,
        metadata={**source.metadata, _COPY_OF: source.etag},
        headers=headers,
    )
    try:
        parts = await uploads.copy_parts(
            source_bucket, source, bucket, key, upload_id, step=step
        )
        await _check_unchanged(client, source_bucket, source)
        await uploads.complete(bucket, key, upload_id, parts)
    except BaseException:
        await uploads.abort_quietly(bucket, key, upload_id)
        raise
    # RGW 16.2 takes no tags with an upload.
    if tags and await client.tags(bucket, key) != tags:
        await client.set_tags(bucket, key, tags)
    copied = await client.head(bucket, key)
    if lost := _lost(source, copied):
        raise NotSupported(
            f"{bucket}/{key} was copied, but the store did not keep its "
            f"{', '.join(lost)}."
        )
    return copied.etag


def _lost(source: ObjectHead, copied: ObjectHead) -> list[str]:
    """Name what a copy lacks of what its source says of itself."""
    headers = [n for n, v in source.headers.items() if copied.headers.get(n) != v]
    metadata = [
        f"metadata {name}"
        for name, value in source.metadata.items()
        if name != _COPY_OF and copied.metadata.get(name) != value
    ]
    return headers + metadata


async def _check_unchanged(client: Client, bucket: str, source: ObjectHead) -> None:
    """RGW 16.2 ignores ``x-amz-copy-source-if-match``, so look again."""
    now = await client.head(bucket, source.key, version=source.version)
    if now.etag != source.etag:
        raise PreconditionFailed(
            f"{bucket}/{source.key} was changed while it was copied."
        )
