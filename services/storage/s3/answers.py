"""Reads the XML of S3, STS and IAM answers without trusting it.

Source of the formats: the Amazon S3 API reference (2006-03-01), the STS and IAM
query APIs, and recorded answers of SeaweedFS 4.48 and Ceph RGW 16.2. Namespaces are
ignored, since stores disagree about them. No entity is expanded, no DTD allowed, and
an answer over :data:`LONGEST_ANSWER` is refused before it is parsed.

Every ``parse_*`` raises :class:`~.errors.StoreAnswerInvalid` for anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from lxml import etree

from .errors import StoreAnswerInvalid
from .values import AccessKey, Bucket, CorsRule, KeyFailure, Part

LONGEST_ANSWER = 32 * 2**20
"""Bytes. A page of 1,000 keys of 1,024 bytes, all percent-encoded, has 7 MB."""

_LONGEST_NUMBER = 20
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r")


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What a store says about a request that it refused."""

    code: str
    message: str


def parse_xml(
    body: bytes, expected: str = "", *, lenient: bool = False
) -> etree._Element:
    """Return the root element.

    Args:
        body: the answer.
        expected: the root's name, if only one will do.
        lenient: drop control characters: stores repeat keys as they are in answers
            where we do not read them.
    """
    if lenient:
        body = body.translate(None, _CONTROLS)
    if len(body) > LONGEST_ANSWER:
        raise StoreAnswerInvalid(f"The store's answer has {len(body)} bytes of XML.")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise StoreAnswerInvalid(f"The store's answer is no XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise StoreAnswerInvalid("The store's answer has a document type.")
    if expected and tag(root) != expected:
        raise StoreAnswerInvalid(
            f"The store answered <{tag(root)}> where <{expected}> was due."
        )
    return root


def tag(element: etree._Element) -> str:
    """Return an element's name without its namespace."""
    name = element.tag
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Yield the children called ``name``."""
    return (child for child in element if tag(child) == name)


def text_of(element: etree._Element, *path: str) -> str:
    """Return the text at ``path`` of names below ``element``, or ``""``."""
    for name in path:
        child = next(children(element, name), None)
        if child is None:
            return ""
        element = child
    return element.text or ""


def whole_number(text: str, what: str = "number") -> int:
    """Return a count of the store; none is negative or absurd."""
    if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        raise StoreAnswerInvalid(f"The store sent {text!r} as {what}.")
    return int(text)


def moment(text: str) -> datetime:
    """Return a time of the store, which is always UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise StoreAnswerInvalid(f"The store sent {text!r} as a time.") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def http_moment(text: str | None) -> datetime | None:
    """Return the time in a header, or ``None`` if there is none or it is odd."""
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def plain_etag(text: str) -> str:
    """Return an ETag without its quotation marks."""
    return text.strip().removeprefix('"').removesuffix('"')


def decode_key(text: str, *, encoded: bool, plus_is_blank: bool) -> str:
    """Return a key from a listing, byte for byte.

    Args:
        text: as it stands in the XML.
        encoded: the page has ``<EncodingType>url``.
        plus_is_blank: this store writes a blank as ``+`` (AWS does, RGW does not).
    """
    if not encoded or ("%" not in text and "+" not in text):
        return text
    if plus_is_blank:
        text = text.replace("+", " ")
    return unquote(text, errors="surrogateescape")


def parse_error(body: bytes) -> ErrorAnswer | None:
    """Return the error in ``body``; ``None`` if there is none to read.

    S3 answers ``<Error>``, STS and IAM ``<ErrorResponse><Error>``; also with status
    200, from a copy or a completed upload that failed late.
    """
    try:
        root = parse_xml(body, lenient=True)
    except StoreAnswerInvalid:
        return None
    if tag(root) == "ErrorResponse":
        inner = next(children(root, "Error"), None)
        if inner is None:
            return None
        root = inner
    if tag(root) != "Error":
        return None
    return ErrorAnswer(text_of(root, "Code"), text_of(root, "Message"))


def parse_buckets(body: bytes) -> tuple[Bucket, ...]:
    """Return the buckets of a ``ListAllMyBucketsResult``."""
    root = parse_xml(body, "ListAllMyBucketsResult")
    buckets = []
    for holder in children(root, "Buckets"):
        for item in children(holder, "Bucket"):
            created = text_of(item, "CreationDate")
            buckets.append(
                Bucket(text_of(item, "Name"), moment(created) if created else None)
            )
    return tuple(buckets)


def parse_deleted(body: bytes) -> tuple[KeyFailure, ...]:
    """Return the keys of a ``DeleteResult`` that were not deleted."""
    root = parse_xml(body, "DeleteResult")
    return tuple(
        KeyFailure(
            text_of(item, "Key"),
            text_of(item, "Code"),
            text_of(item, "Message"),
            text_of(item, "VersionId") or None,
        )
        for item in children(root, "Error")
    )


def parse_tags(body: bytes) -> dict[str, str]:
    """Return the tags of a ``Tagging`` document."""
    root = parse_xml(body, "Tagging")
    return {
        text_of(item, "Key"): text_of(item, "Value")
        for holder in children(root, "TagSet")
        for item in children(holder, "Tag")
    }


def parse_parts(body: bytes) -> tuple[tuple[Part, ...], int | None]:
    """Return the parts of a ``ListPartsResult``, and the marker of the next page."""
    root = parse_xml(body, "ListPartsResult", lenient=True)
    parts = tuple(
        Part(
            whole_number(text_of(item, "PartNumber"), "part number"),
            plain_etag(text_of(item, "ETag")),
            whole_number(text_of(item, "Size"), "size"),
            checksums_in(item),
        )
        for item in children(root, "Part")
    )
    more = text_of(root, "IsTruncated") == "true"
    marker = text_of(root, "NextPartNumberMarker")
    return parts, whole_number(marker, "part number") if more and marker else None


def checksums_in(element: etree._Element) -> dict[str, str]:
    """Return the ``ChecksumCRC32`` and the like below ``element``, by algorithm."""
    return {
        tag(child).removeprefix("Checksum").lower(): child.text or ""
        for child in element
        if tag(child).startswith("Checksum") and tag(child) != "ChecksumType"
    }


def parse_cors(body: bytes) -> tuple[CorsRule, ...]:
    """Return the rules of a ``CORSConfiguration``."""
    root = parse_xml(body, "CORSConfiguration")

    def texts(rule: etree._Element, name: str) -> tuple[str, ...]:
        return tuple(item.text or "" for item in children(rule, name))

    return tuple(
        CorsRule(
            texts(rule, "AllowedOrigin"),
            texts(rule, "AllowedMethod"),
            texts(rule, "AllowedHeader"),
            texts(rule, "ExposeHeader"),
            whole_number(text_of(rule, "MaxAgeSeconds") or "0", "age"),
        )
        for rule in children(root, "CORSRule")
    )


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """What STS gave: the keys, their end, and the session's ARN."""

    key: AccessKey
    expires: datetime
    arn: str


def parse_assumed_role(body: bytes, action: str) -> AssumedRole:
    """Return the session in an ``AssumeRole...Response``."""
    root = parse_xml(body, f"{action}Response")
    result = next(children(root, f"{action}Result"), None)
    if result is None:
        raise StoreAnswerInvalid("The store's STS answer holds no result.")
    key = AccessKey(
        text_of(result, "Credentials", "AccessKeyId"),
        text_of(result, "Credentials", "SecretAccessKey"),
        text_of(result, "Credentials", "SessionToken"),
    )
    if not (key.access_key and key.secret_key and key.token):
        raise StoreAnswerInvalid("The store's STS answer lacks a part of the key.")
    return AssumedRole(
        key,
        moment(text_of(result, "Credentials", "Expiration")),
        text_of(result, "AssumedRoleUser", "Arn"),
    )


def retry_after(text: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, at most a minute."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return min(60.0, max(0.0, seconds)) if math.isfinite(seconds) else None
