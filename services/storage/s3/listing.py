"""Pages of keys, versions and unfinished uploads, as the store lists them.

Only ``list-type=2`` with ``encoding-type=url`` is asked for: the one form in which
every key is legible. Paging stays with the store; nothing counts or collects.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from .answers import (
    children,
    decode_key,
    moment,
    parse_xml,
    plain_etag,
    tag,
    text_of,
    whole_number,
)
from .errors import StoreAnswerInvalid
from .values import ListPage, ObjectInfo, Upload, UploadPage, Version, VersionPage

LARGEST_PAGE = 1_000
"""Keys in one page, by the protocol."""


def list_query(
    prefix: str,
    *,
    delimiter: str = "",
    token: str | None = None,
    start_after: str = "",
    limit: int = LARGEST_PAGE,
) -> dict[str, str]:
    """Return the query of one page.

    Raises:
        ValueError: a limit that is not from 1 to :data:`LARGEST_PAGE`.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"a page has 1 to {LARGEST_PAGE} keys, not {limit}")
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit)}
    if prefix:
        query["prefix"] = prefix
    if delimiter:
        query["delimiter"] = delimiter
    if token is not None:
        query["continuation-token"] = token
    if start_after:
        query["start-after"] = start_after
    return query


def parse_page(body: bytes, *, plus_is_blank: bool = True) -> ListPage:
    """Return a ``ListBucketResult`` of ``list-type=2``."""
    root = parse_xml(body, "ListBucketResult")
    encoded = text_of(root, "EncodingType") == "url"

    def key_of(text: str) -> str:
        return decode_key(text, encoded=encoded, plus_is_blank=plus_is_blank)

    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    token, truncated = "", False
    for child in root:
        name = tag(child)
        if name == "Contents":
            objects.append(_object(child, key_of))
        elif name == "CommonPrefixes":
            prefixes.append(key_of(text_of(child, "Prefix")))
        elif name == "NextContinuationToken":
            token = child.text or ""
        elif name == "IsTruncated":
            truncated = child.text == "true"
    if truncated and not token:
        raise StoreAnswerInvalid("The store's page has a next one, but no token.")
    return ListPage(tuple(objects), tuple(prefixes), token if truncated else None)


def _object(element: etree._Element, key_of: Callable[[str], str]) -> ObjectInfo:
    # The names are compared at their end: one pass, no namespace lookups.
    key, size, modified, etag, storage_class = "", "", "", "", ""
    for child in element:
        name = child.tag
        if not isinstance(name, str):
            continue
        if name.endswith("Key"):
            key = child.text or ""
        elif name.endswith("LastModified"):
            modified = child.text or ""
        elif name.endswith("ETag"):
            etag = child.text or ""
        elif name.endswith("Size"):
            size = child.text or ""
        elif name.endswith("StorageClass"):
            storage_class = child.text or ""
    if not key:
        raise StoreAnswerInvalid("The store lists an object without a key.")
    return ObjectInfo(
        key_of(key),
        whole_number(size, "size"),
        moment(modified),
        plain_etag(etag),
        storage_class,
    )


def parse_versions(body: bytes, *, plus_is_blank: bool = True) -> VersionPage:
    """Return a ``ListVersionsResult``."""
    root = parse_xml(body, "ListVersionsResult")
    encoded = text_of(root, "EncodingType") == "url"

    def key_of(text: str) -> str:
        return decode_key(text, encoded=encoded, plus_is_blank=plus_is_blank)

    versions = []
    for child in root:
        kind = tag(child)
        if kind not in {"Version", "DeleteMarker"}:
            continue
        deleted = kind == "DeleteMarker"
        versions.append(
            Version(
                key_of(text_of(child, "Key")),
                text_of(child, "VersionId"),
                text_of(child, "IsLatest") == "true",
                moment(text_of(child, "LastModified")),
                0 if deleted else whole_number(text_of(child, "Size"), "size"),
                plain_etag(text_of(child, "ETag")),
                deleted,
            )
        )
    more = text_of(root, "IsTruncated") == "true"
    marker = text_of(root, "NextKeyMarker")
    return VersionPage(
        tuple(versions),
        tuple(
            key_of(text_of(item, "Prefix")) for item in children(root, "CommonPrefixes")
        ),
        key_of(marker) if more else None,
        text_of(root, "NextVersionIdMarker") if more else None,
    )


def parse_uploads(body: bytes, *, plus_is_blank: bool = True) -> UploadPage:
    """Return a ``ListMultipartUploadsResult``."""
    root = parse_xml(body, "ListMultipartUploadsResult", lenient=True)
    encoded = text_of(root, "EncodingType") == "url"

    def key_of(text: str) -> str:
        return decode_key(text, encoded=encoded, plus_is_blank=plus_is_blank)

    uploads = []
    for item in children(root, "Upload"):
        begun = text_of(item, "Initiated")
        uploads.append(
            Upload(
                key_of(text_of(item, "Key")),
                text_of(item, "UploadId"),
                moment(begun) if begun else None,
            )
        )
    more = text_of(root, "IsTruncated") == "true"
    return UploadPage(
        tuple(uploads),
        key_of(text_of(root, "NextKeyMarker")) if more else None,
        text_of(root, "NextUploadIdMarker") if more else None,
    )
