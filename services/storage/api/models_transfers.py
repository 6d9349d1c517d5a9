"""What browsers send and get around uploads and downloads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.common.spec import Model

from .models import (
    BucketName,
    Checksum,
    ContentType,
    Key,
    ObjectQuery,
    Prefix,
    Size,
    UploadId,
)


class DownloadUrl(ObjectQuery):
    """An object to be downloaded."""

    inline: bool = Field(
        default=False,
        description="For fetch() by a page of the gateway: no attachment.",
    )


class VersionToRestore(Model):
    """A version of an object that shall be the current one again."""

    bucket: BucketName
    key: Key
    version: Annotated[str, Field(min_length=1, max_length=1024)]


class UploadUrl(Model):
    """An object to be uploaded in one piece."""

    bucket: BucketName
    key: Key
    size: Annotated[int, Field(ge=0, le=5 * 2**30)]
    content_type: ContentType = "application/octet-stream"
    crc32: Checksum | None = Field(None, description="Base64 of the 4 bytes.")
    overwrite: bool = False
    if_match: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,80}$")] | None = Field(
        None, description="ETag that the object must have: nobody changed it."
    )


class Url(Model):
    """A URL that lets its bearer do one thing until it expires."""

    method: str
    url: str
    headers: dict[str, str] = Field(description="Must be sent exactly like this.")
    expires: datetime


class NewUpload(Model):
    """An object to be uploaded in parts."""

    bucket: BucketName
    key: Key
    size: Size
    content_type: ContentType = "application/octet-stream"
    overwrite: bool = False


class UploadStart(Model):
    """An upload that was begun: the parts have `part_size` bytes but the last."""

    bucket: BucketName
    key: Key
    upload_id: str
    part_size: int
    parts: int


class PartToSign(Model):
    """One part that will be sent."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    crc32: Checksum | None = None


class PartsToSign(Model):
    """Parts that will be sent now."""

    bucket: BucketName
    key: Key
    upload_id: UploadId
    parts: Annotated[list[PartToSign], Field(min_length=1, max_length=100)]


class PartUrls(Model):
    """One URL for each part, in the order of the request."""

    urls: list[Url]


class UploadQuery(Model):
    """One upload that was begun."""

    bucket: BucketName
    key: Key
    upload_id: UploadId


class PartFact(Model):
    """A part that has arrived."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    etag: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,80}$")]
    size: int = 0


class Parts(Model):
    """What has arrived of an upload, by number: enough to go on after a reload."""

    parts: list[PartFact]


class UploadEnd(UploadQuery):
    """The parts that make the object."""

    parts: Annotated[list[PartFact], Field(min_length=1, max_length=10_000)]
    overwrite: bool = False


class Stored(Model):
    """The object that is there now."""

    key: Key
    etag: str


class UploadsQuery(Model):
    """Unfinished uploads of a bucket."""

    bucket: BucketName
    prefix: Prefix = ""
    key_marker: Prefix = ""
    upload_marker: Annotated[str, Field(max_length=1024)] = ""


class UploadFact(Model):
    """An upload that was begun and neither completed nor aborted."""

    key: Key
    upload_id: str
    started: datetime | None


class UploadList(Model):
    """One page of unfinished uploads; both markers give the next one."""

    uploads: list[UploadFact]
    key_marker: str | None
    upload_marker: str | None
