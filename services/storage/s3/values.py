"""What a store holds and answers, as values: buckets, objects, pages, sessions.

Keys are text with the store's own bytes: whatever is no UTF-8 is kept by Python's
``surrogateescape``, so that ``key.encode("utf-8", "surrogateescape")`` gives exactly
what the store has. A key is never a path. ETags are without quotation marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where stores differ and a client must know; found by the probe.

    Attributes:
        plus_is_blank: listings write a blank as ``+``; AWS does, RGW does not.
        bare_if_match: conditions of a PUT compare the ETag without its quotation
            marks; RGW 16.2 takes no other form.
        single_deletes: sessions may not delete many objects by one request, whatever
            their policy says; RGW 16.2 refuses each key to a role's session.
        conditional_deletes: ``If-Match`` of a DELETE is obeyed; RGW 16.2 ignores it.
    """

    plus_is_blank: bool = True
    bare_if_match: bool = False
    single_deletes: bool = False
    conditional_deletes: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket; ``created`` is ``None`` where the store does not tell."""

    name: str
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as a listing shows it. ``size`` in bytes."""

    key: str
    size: int
    modified: datetime
    etag: str = ""
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a bucket's keys, in the store's order.

    Attributes:
        objects: what lies directly under the prefix.
        prefixes: with a delimiter, the "folders" under it, each whole.
        token: gives the next page; ``None`` at the end.
    """

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """The facts of one object.

    Attributes:
        metadata: the user's own, names in lower case without ``x-amz-meta-``.
        headers: what readers are told besides (``cache-control`` and the like).
        checksums: by algorithm (``crc32``, ``sha256`` ...), base64, as the store
            keeps them; of a multipart upload with ``-PARTS`` at the end.
        version: ``None`` in a bucket without versions.
    """

    key: str
    size: int
    modified: datetime | None
    etag: str
    content_type: str
    content_encoding: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    storage_class: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """Bytes of an object, with ``start`` of ``size`` bytes in all."""

    data: bytes
    start: int
    size: int
    etag: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object; a ``deleted`` one is a delete marker."""

    key: str
    version: str
    latest: bool
    modified: datetime
    size: int = 0
    etag: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions; both markers give the next one."""

    versions: tuple[Version, ...]
    prefixes: tuple[str, ...] = ()
    key_marker: str | None = None
    version_marker: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class UploadPage:
    """One page of unfinished uploads; both markers give the next one."""

    uploads: tuple[Upload, ...]
    key_marker: str | None = None
    upload_marker: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload. Numbers go from 1 to 10,000; ``size`` in bytes."""

    number: int
    etag: str
    size: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why one key of many could not be deleted: the store's code and its words."""

    key: str
    code: str
    message: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Which pages may call a bucket from a browser; ``max_age`` in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ("*",)
    expose: tuple[str, ...] = ()
    max_age: int = 600


class Mode(StrEnum):
    """What a grant allows under its prefix."""

    READ = "read"
    READ_WRITE = "read-write"


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to a bucket, or to the keys under a prefix (``""``: all)."""

    bucket: str
    prefix: str = ""
    mode: Mode = Mode.READ

    def covers(self, key: str) -> bool:
        """Whether ``key`` of this bucket lies under the grant."""
        return key.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What signs requests. Its secrets are never in its ``repr``."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """Short-lived keys that a driver gave out.

    Attributes:
        name: ``USER--ID``, by which one session is told from another.
        driver: which driver made it, and revokes it.
        identity: what the store calls it in policies (an ARN), or its user name.
        expires: ``None`` only for a pasted key, which ends when its owner says.
    """

    name: str
    driver: str
    key: AccessKey
    grants: tuple[Grant, ...]
    identity: str
    expires: datetime | None

    @property
    def expired(self) -> bool:
        """Whether its time has passed."""
        return self.expires is not None and self.expires <= datetime.now(UTC)
