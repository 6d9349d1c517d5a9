"""Headers of S3 requests and answers: checksums, copy sources, an object's facts."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator

import httpx

from .answers import http_moment, plain_etag, whole_number
from .signing import quote_key
from .values import ObjectHead

METADATA = "x-amz-meta-"
CHECKSUM = "x-amz-checksum-"
_STORED = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
"""What a PUT may carry and a GET repeats, besides type and metadata."""


def crc32(data: bytes) -> str:
    """Return the CRC32 of ``data`` as S3's headers write it: big-endian, base64."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    """Return ``data``'s ``Content-MD5``."""
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def copy_source(bucket: str, key: str, version: str | None = None) -> str:
    """Return the header that names what is copied."""
    suffix = f"?versionId={version}" if version else ""
    return f"/{bucket}/{quote_key(key)}{suffix}"


def version_query(version: str | None) -> dict[str, str]:
    """Return the query that names a version, if one is meant."""
    return {} if version is None else {"versionId": version}


def total_in(headers: httpx.Headers, start: int) -> int:
    """Return the whole object's size, from ``Content-Range: bytes A-B/SIZE``."""
    size = headers.get("content-range", "").rpartition("/")[2]
    if size.isdecimal():
        return whole_number(size, "size")
    return start + whole_number(headers.get("content-length", "0"), "length")


def head_in(key: str, headers: httpx.Headers) -> ObjectHead:
    """Return the facts of ``key`` that a HEAD answers."""
    metadata, checksums = {}, {}
    for name, value in _texts(headers):
        if name.startswith(METADATA):
            metadata[name.removeprefix(METADATA)] = value
        elif name.startswith(CHECKSUM) and not name.endswith("-type"):
            checksums[name.removeprefix(CHECKSUM)] = value
    return ObjectHead(
        key,
        whole_number(headers.get("content-length", ""), "size"),
        http_moment(headers.get("last-modified")),
        plain_etag(headers.get("etag", "")),
        headers.get("content-type", ""),
        headers.get("content-encoding", ""),
        metadata,
        checksums,
        headers.get("x-amz-version-id"),
        headers.get("x-amz-storage-class", ""),
        {name: headers[name] for name in _STORED if name in headers},
    )


def _texts(headers: httpx.Headers) -> Iterator[tuple[str, str]]:
    """Yield names and values, each in UTF-8 if it is that, else in Latin 1."""
    for name, value in headers.raw:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        yield name.decode("latin-1").lower(), text
