"""Copies of any size inside a store, which appear whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PreconditionFailed
from .objects import ObjectHead
from .parsing import parse_error
from .refusals import error_for
from .s3_headers import copy_source
from .transport import Call

if TYPE_CHECKING:
    from .s3 import S3Client


async def copy_object(
    client: S3Client,
    source_bucket: str,
    source: str,
    bucket: str,
    key: str,
    *,
    version: str | None,
    single: int,
) -> str:
    """Copy an object and return the new one's ETag; see ``S3Client.copy``."""
    head = await client.head(source_bucket, source, version=version)
    if head.size > single:
        return await _copy_in_parts(client, source_bucket, head, bucket, key, single)
    call = Call(
        "PUT",
        bucket,
        key,
        headers={
            "x-amz-copy-source": copy_source(source_bucket, source, version),
            "x-amz-copy-source-if-match": f'"{head.etag}"',
        },
        what=f"copy {source_bucket}/{source} to {bucket}/{key}",
    )
    answer = await client.transport.ask(call)
    # It may fail after the headers, with status 200.
    if parse_error(answer.body) is not None:
        raise error_for(500, answer.headers, answer.body, call)
    return (await client.head(bucket, key)).etag


async def _copy_in_parts(
    client: S3Client,
    source_bucket: str,
    source: ObjectHead,
    bucket: str,
    key: str,
    step: int,
) -> str:
    uploads = client.uploads
    upload_id = await uploads.create(
        bucket, key, content_type=source.content_type, metadata=source.metadata
    )
    try:
        parts = await uploads.copy_parts(
            source_bucket, source, bucket, key, upload_id, step=step
        )
        await _check_unchanged(client, source_bucket, source)
        return await uploads.complete(bucket, key, upload_id, parts)
    except BaseException:
        await uploads.abort_quietly(bucket, key, upload_id)
        raise


async def _check_unchanged(client: S3Client, bucket: str, source: ObjectHead) -> None:
    """RGW 16.2 ignores ``x-amz-copy-source-if-match``, so look again."""
    now = await client.head(bucket, source.key, version=source.version)
    if now.etag != source.etag:
        raise PreconditionFailed(
            f"{bucket}/{source.key} was changed while it was copied."
        )
