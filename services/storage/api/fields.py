"""Fields of requests and answers that several nouns share, as closed types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from ..s3.object_names import LONGEST_KEY


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
    str,
    PlainValidator(_key),
    WithJsonSchema(_KEY_SCHEMA | {"minLength": 1}),
    Field(description="The name of an object."),
]
"""The name of an object: opaque, byte-faithful, never a path."""
Prefix = Annotated[str, PlainValidator(_prefix), WithJsonSchema(_KEY_SCHEMA)]
"""The beginning of keys; may be empty."""

BucketName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        max_length=63,
        description="The bucket's full name.",
    ),
]
ModeName = Literal["read", "read-write"]
# Ids of all stores that are known; a slash would be a path to those that keep files.
UploadId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z0-9._~+=:-]+$",
        description="The store's, as the upload was begun.",
    ),
]
LONGEST_TOKEN = 4096
Token = Annotated[str, Field(max_length=LONGEST_TOKEN)]
ContentType = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+;= -]+$",
        description="What the object is, for whoever downloads it.",
    ),
]
Size = Annotated[int, Field(ge=0, le=5 * 2**40, description="In bytes.")]
Checksum = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{6}==$")]
