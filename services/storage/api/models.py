"""What is sent to the storage service and what it answers, as closed shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from services.common.spec import Model
from services.common.work import Phase

LONGEST_KEY = 1024


def _key(value: object) -> str:
    """Return a key as it is: any text of 1 to 1,024 bytes."""
    text = _prefix(value)
    if not text:
        raise ValueError("a key has at least one character")
    return text


def _prefix(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("this must be text")  # noqa: TRY004 - pydantic wants it
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise ValueError("this is no text that a store can hold") from None
    if size > LONGEST_KEY:
        raise ValueError(f"a key has at most {LONGEST_KEY} bytes")
    return value


_KEY_SCHEMA = {"type": "string", "maxLength": LONGEST_KEY}
Key = Annotated[
    str, PlainValidator(_key), WithJsonSchema(_KEY_SCHEMA | {"minLength": 1})
]
"""The name of an object: opaque, byte-faithful, never a path."""
Prefix = Annotated[str, PlainValidator(_prefix), WithJsonSchema(_KEY_SCHEMA)]
"""The beginning of keys; may be empty."""

BucketName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63)
]
ModeName = Literal["read", "read-write"]
# Ids of all stores that are known; a slash would be a path to those that keep files.
UploadId = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9._~+=:-]+$")
]
Token = Annotated[str, Field(max_length=4096)]
ContentType = Annotated[
    str,
    Field(max_length=200, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+;= -]+$"),
]
Size = Annotated[int, Field(ge=0, le=5 * 2**40)]
Checksum = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{6}==$")]


class Me(Model):
    """Who asks, and what there is for them."""

    user: str
    groups: list[str]
    scopes: list[str]
    bucket: str = Field(description="The default bucket; empty if there is none.")
    region: str
    endpoint: str = Field(description="Where programs reach S3.")
    gateway: str = Field(
        description="The same, where it is the gateway's own address; else empty."
    )
    path: str = Field(description="The path of `/s3/`; empty if browsers go direct.")
    pages: str = Field(
        description="Where browsers find this service, with a slash at the end, if it "
        "has a host of its own; else empty."
    )
    embedded: bool
    public_links: bool
    credentials: Literal["sts", "web-identity", "keys", "pasted", "none"] = Field(
        description="How programs get keys; `pasted`: the caller enters one (`key`)."
    )
    quota: int | None = Field(
        description="Bytes that all of the caller's buckets may hold; null: no limit."
    )
    used: int = Field(description="Bytes that they hold or expect, as last counted.")
    may_create: bool = Field(description="Whether one more bucket may be created.")


class Usage(Model):
    """What a bucket held when it was last measured."""

    bytes: int
    objects: int
    measured: datetime
    complete: bool = Field(description="False: it holds at least this much.")


class Bucket(Model):
    """A bucket, or a prefix of one, that the caller may use."""

    name: str
    prefix: str
    mode: ModeName
    why: Literal["own", "group", "site", "share", "key"]
    owner: str = Field(description="Who shared it, or the group; else empty.")
    share: str = Field(description="The share's id, or empty.")
    expires: datetime | None
    quota: int | None = Field(
        description="Bytes that all buckets of its owner may hold; null: no limit."
    )
    usage: Usage | None


class Buckets(Model):
    """Every bucket that the caller may use."""

    buckets: list[Bucket]


class NewBucket(Model):
    """A bucket to create; its full name is `OWN--NAME`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$")]


class ListQuery(Model):
    """One page of a bucket."""

    bucket: BucketName
    prefix: Prefix = ""
    delimiter: Literal["", "/"] = "/"
    token: Token = Field("", description="Of the page before.")
    start_after: Prefix = Field("", description="Only keys after this: a jump.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000


class Entry(Model):
    """One object of a page; `size` in bytes."""

    key: Key
    size: int
    modified: datetime
    etag: str
    storage_class: str


class Page(Model):
    """Objects and "folders" directly under a prefix, in the store's order."""

    objects: list[Entry]
    prefixes: list[Prefix]
    token: str | None = Field(description="Gives the next page; null at the end.")


class ObjectQuery(Model):
    """One object, or one version of it."""

    bucket: BucketName
    key: Key
    version: Annotated[str, Field(max_length=1024)] = ""


class Head(Model):
    """The facts of one object."""

    key: Key
    size: int
    modified: datetime | None
    etag: str
    content_type: str
    content_encoding: str
    metadata: dict[str, str]
    checksums: dict[str, str]
    version: str | None
    storage_class: str


class VersionsQuery(Model):
    """One page of versions."""

    bucket: BucketName
    prefix: Prefix = ""
    key_marker: Prefix = ""
    version_marker: Annotated[str, Field(max_length=1024)] = ""


class VersionEntry(Model):
    """One version of an object; a deleted one is a delete marker."""

    key: Key
    version: str
    latest: bool
    modified: datetime
    size: int
    etag: str
    deleted: bool


class Versions(Model):
    """One page of versions; both markers give the next one."""

    versions: list[VersionEntry]
    key_marker: str | None
    version_marker: str | None


class Tags(Model):
    """The tags of an object."""

    tags: dict[str, str]


class NewTags(Model):
    """The tags that an object shall have, and no others."""

    bucket: BucketName
    key: Key
    tags: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=128)],
            Annotated[str, Field(max_length=256)],
        ],
        Field(max_length=10),
    ]


class Selection(Model):
    """Objects of a bucket: some keys, or all under a prefix."""

    bucket: BucketName
    keys: Annotated[tuple[Key, ...], Field(max_length=1000)] = ()
    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=100)] = ()


class KeysToDelete(Model):
    """Objects to delete now."""

    bucket: BucketName
    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=1000)]


class Deleted(Model):
    """How many objects are gone, and why others are not."""

    deleted: int
    failures: list[dict[str, str]]


class Count(Model):
    """What a selection holds now; nothing is changed by asking."""

    objects: int
    bytes: int
    complete: bool = Field(description="False: it holds at least this much.")


class NewTask(Model):
    """Long work on a selection.

    A key `K` that lies under a selected prefix `a/b/` goes to `TARGET_PREFIX` +
    `b/...`; a selected key to `TARGET_PREFIX` + its last part. `delete` has no target.
    """

    kind: Literal["copy", "move", "delete"]
    source: Selection
    bucket: BucketName | None = Field(None, description="Where to.")
    prefix: Prefix = Field("", description="The new prefix there.")
    name: Prefix | None = Field(
        None, description="For one key or prefix: its new last part (rename)."
    )
    overwrite: bool = Field(default=False, description="Replace what is there.")


class TaskAnswer(Model):
    """A piece of long work and how far it is."""

    id: str
    kind: str
    phase: Phase
    facts: dict[str, object]
    created: datetime
    updated: datetime
    done: int
    total: int | None
    bytes_done: int
    failed: int
    failures: list[dict[str, str]]
    cancel_wanted: bool
    message: str


class TaskList(Model):
    """The caller's newest tasks."""

    tasks: list[TaskAnswer]
