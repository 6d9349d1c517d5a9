"""Multipart uploads: begun, sent in parts, completed or aborted, and found again.

An object appears when its upload is completed, whole, and never before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from .answers import parse_error, parse_parts, parse_xml, plain_etag, text_of
from .errors import StorageError, StoreAnswerInvalid, UploadNotFound
from .headers import copy_source
from .listing import LARGEST_PAGE, parse_uploads
from .refusals import error_for
from .transport import S3Request, Transport
from .values import Dialect, ObjectHead, Part, UploadPage

log = logging.getLogger(__name__)

LARGEST_SINGLE = 5 * 2**30
"""Bytes that one PUT or one copy takes at most, by the protocol."""
MOST_PARTS = 10_000
SMALLEST_PART = 5 * 2**20
"""Bytes of every part but the last, at least."""
_COPY_PART = 512 * 2**20


def part_size(size: int, wanted: int = 8 * 2**20) -> int:
    """Return bytes per part, so that an object of ``size`` has at most 9,000."""
    return max(SMALLEST_PART, wanted, -(-size // 9_000))


class Uploads:
    """The multipart uploads of a store; part of ``S3Client``."""

    def __init__(self, transport: Transport, dialect: Dialect) -> None:
        self._transport = transport
        self._plus_is_blank = dialect.plus_is_blank

    async def create(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        checksum: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Begin an upload and return its id.

        Args:
            bucket: the bucket.
            key: the object to be.
            content_type: of the object.
            metadata: the user's own.
            checksum: the algorithm that all parts carry (``CRC32``), or ``""``.
            headers: more that the object is to have.
        """
        sent = {**(headers or {}), "content-type": content_type}
        sent |= {f"x-amz-meta-{k}": v for k, v in (metadata or {}).items()}
        if checksum:
            sent["x-amz-checksum-algorithm"] = checksum
        call = S3Request(
            "POST",
            bucket,
            key,
            query={"uploads": ""},
            headers=sent,
            what=f"begin to upload {bucket}/{key}",
            repeatable=False,  # a second one would be an orphan
        )
        answer = await self._transport.ask(call)
        root = parse_xml(answer.body, "InitiateMultipartUploadResult", lenient=True)
        upload_id = text_of(root, "UploadId")
        if not upload_id:
            raise StoreAnswerInvalid("The store began an upload without an id.")
        return upload_id

    async def part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Part:
        """Send part ``number`` (1 to 10,000); again replaces it."""
        call = S3Request(
            "PUT",
            bucket,
            key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers=headers or {},
            body=data,
            what=f"upload part {number} of {bucket}/{key}",
        )
        answer = await self._transport.ask(call)
        checksums = {
            name.removeprefix("x-amz-checksum-"): value
            for name, value in answer.headers.items()
            if name.startswith("x-amz-checksum-")
        }
        return Part(number, plain_etag(answer.headers["etag"]), len(data), checksums)

    async def copy_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        source: str,
        source_etag: str,
        start: int,
        length: int,
    ) -> Part:
        """Make part ``number`` of bytes of another object.

        Args:
            bucket: where the upload is.
            key: the object to be.
            upload_id: of the upload.
            number: of the part.
            source: as :func:`~services.storage.s3.headers.copy_source` writes it.
            source_etag: the copy fails once the source has another one.
            start: first byte.
            length: how many bytes.
        """
        call = S3Request(
            "PUT",
            bucket,
            key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={
                "x-amz-copy-source": source,
                "x-amz-copy-source-if-match": f'"{source_etag}"',
                "x-amz-copy-source-range": f"bytes={start}-{start + length - 1}",
            },
            what=f"copy part {number} of {bucket}/{key}",
        )
        answer = await self._transport.ask(call)
        if parse_error(answer.body) is not None:
            raise error_for(500, answer.headers, answer.body, call)
        root = parse_xml(answer.body, "CopyPartResult")
        return Part(number, plain_etag(text_of(root, "ETag")), length)

    async def parts(self, bucket: str, key: str, upload_id: str) -> tuple[Part, ...]:
        """Return the parts that have arrived, by number: what a resume needs."""
        parts: dict[int, Part] = {}
        marker: int | None = 0
        while marker is not None:
            query = {"uploadId": upload_id, "max-parts": "1000"}
            if marker:
                query["part-number-marker"] = str(marker)
            call = S3Request(
                "GET", bucket, key, query=query, what=f"parts of {bucket}/{key}"
            )
            answer = await self._transport.ask(call)
            page, following = parse_parts(answer.body)
            if following is not None and following <= marker:
                raise StoreAnswerInvalid("The store lists parts in circles.")
            # SeaweedFS lists a part that was sent twice twice; the later one counts.
            parts.update({part.number: part for part in page})
            marker = following
        return tuple(parts[number] for number in sorted(parts))

    async def complete(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[Part]
    ) -> str:
        """Make the object of its parts and return its ETag.

        An upload that was begun with a checksum algorithm wants each part's checksum
        here, which the listing of parts does not tell: whoever resumes must know it.

        Raises:
            UploadNotFound: completed or aborted before.
        """
        body = _complete_document(parts)
        call = S3Request(
            "POST",
            bucket,
            key,
            query={"uploadId": upload_id},
            headers={"content-type": "application/xml"},
            body=body,
            what=f"complete {bucket}/{key}",
        )
        answer = await self._transport.ask(call)
        if parse_error(answer.body) is not None:
            raise error_for(500, answer.headers, answer.body, call)
        root = parse_xml(answer.body, "CompleteMultipartUploadResult", lenient=True)
        return plain_etag(text_of(root, "ETag"))

    async def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """Throw an upload and its parts away; one that is gone is no error."""
        call = S3Request(
            "DELETE",
            bucket,
            key,
            query={"uploadId": upload_id},
            what=f"abort the upload of {bucket}/{key}",
        )
        try:
            await self._transport.ask(call)
        except UploadNotFound:
            return

    async def list(
        self,
        bucket: str,
        prefix: str = "",
        *,
        key_marker: str | None = None,
        upload_marker: str | None = None,
        limit: int = LARGEST_PAGE,
    ) -> UploadPage:
        """Return one page of uploads that are neither completed nor aborted.

        Without ``encoding-type``: SeaweedFS 4.48 says that it encodes and does not,
        RGW 16.2 encodes and does not say so. Control characters of a key are lost.
        """
        query = {"uploads": "", "max-uploads": str(limit)}
        optional = {
            "prefix": prefix,
            "key-marker": key_marker,
            "upload-id-marker": upload_marker,
        }
        query.update({name: value for name, value in optional.items() if value})
        call = S3Request("GET", bucket, query=query, what=f"list uploads in {bucket}")
        answer = await self._transport.ask(call)
        return parse_uploads(answer.body, plus_is_blank=self._plus_is_blank)

    async def copy_parts(
        self,
        source_bucket: str,
        source: ObjectHead,
        bucket: str,
        key: str,
        upload_id: str,
        *,
        step: int = _COPY_PART,
    ) -> Sequence[Part]:
        """Make all parts of an upload from another object, ``step`` bytes each."""
        origin = copy_source(source_bucket, source.key, source.version)
        step = part_size(source.size, min(step, _COPY_PART))
        return [
            await self.copy_part(
                bucket,
                key,
                upload_id,
                number,
                source=origin,
                source_etag=source.etag,
                start=start,
                length=min(step, source.size - start),
            )
            for number, start in enumerate(range(0, source.size, step), 1)
        ]

    async def abort_quietly(self, bucket: str, key: str, upload_id: str) -> None:
        """Abort, after a failure that matters more than whether this works."""
        try:
            await self.abort(bucket, key, upload_id)
        except StorageError as error:
            # The reaper of unfinished uploads finds it.
            log.warning("Cannot abort an upload in %s: %s", bucket, error)


def _complete_document(parts: Sequence[Part]) -> bytes:
    items = []
    for part in sorted(parts, key=lambda part: part.number):
        checksums = "".join(
            f"<Checksum{name.upper()}>{escape(value)}</Checksum{name.upper()}>"
            for name, value in part.checksums.items()
            if name in {"crc32", "crc32c", "sha1", "sha256"}
        )
        items.append(
            f"<Part><PartNumber>{part.number}</PartNumber>"
            f"<ETag>&quot;{escape(part.etag)}&quot;</ETag>{checksums}</Part>"
        )
    return (
        f"<CompleteMultipartUpload>{''.join(items)}</CompleteMultipartUpload>"
    ).encode()
