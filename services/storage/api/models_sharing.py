"""Keys for programs, shares, public links and the audit log, as closed shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.common.spec import Model

from .models import BucketName, Key, ModeName, Prefix


class GrantModel(Model):
    """A right to a bucket, or to the keys under a prefix."""

    bucket: BucketName
    prefix: Prefix = ""
    mode: ModeName = "read-write"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


class NewCredentials(Model):
    """Keys to be made; without `grants`, for all that the caller may."""

    grants: Annotated[tuple[GrantModel, ...], Field(max_length=40)] = ()
    seconds: Annotated[int, Field(ge=900, le=43_200)] = 3600
    purpose: Annotated[
        str,
        Field(max_length=80, description="Who they are for: shown to the caller only."),
        AfterValidator(_printable),
    ] = ""


_RIGHTS = (
    "One word for all that the caller may now. Keys that were made without grants when "
    "it was another one are not for all of it: ask for new ones."
)


class Credentials(Model):
    """Keys for an S3 client, shown once and never again."""

    id: str
    access_key: str
    secret_key: str
    session_token: str | None
    expires: datetime | None
    grants: list[GrantModel]
    left_out: list[GrantModel] = Field(
        description="What had no room in one set of keys: ask for it by `grants`."
    )
    rights: str = Field(description=_RIGHTS)
    endpoint: str
    region: str


class CredentialFact(Model):
    """Keys that were given out, without the keys."""

    id: str
    purpose: str
    grants: list[GrantModel]
    created: datetime
    expires: datetime | None


class CredentialState(CredentialFact):
    """Keys that are still good, and what their user may by now."""

    rights: str = Field(description=_RIGHTS)


class CredentialList(Model):
    """The caller's keys that are still good."""

    credentials: list[CredentialFact]


class NewKey(Model):
    """A key of the store that the caller has, with its secret."""

    access_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    secret_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$", repr=False)]
    session_token: Annotated[
        str, Field(max_length=8192, pattern=r"^[\x21-\x7e]*$", repr=False)
    ] = ""


class KeyFact(Model):
    """The caller's own key, without its secret."""

    access_key: str = Field(description="Empty: the caller has to enter one.")


class NewShare(Model):
    """A bucket or prefix to be shared with a user or a group of the hub."""

    bucket: BucketName
    prefix: Prefix = ""
    mode: ModeName = "read"
    kind: Literal["user", "group"]
    name: Annotated[str, Field(min_length=1, max_length=255)]
    expires: datetime | None = Field(
        None, description="With a zone; null: the longest."
    )


class ShareFact(Model):
    """A share."""

    id: str
    bucket: str
    prefix: str
    mode: ModeName
    by: str
    kind: Literal["user", "group"]
    name: str
    created: datetime
    expires: datetime


class ShareList(Model):
    """What the caller shared."""

    shares: list[ShareFact]


class NewLink(Model):
    """An object that everybody who has the link may download."""

    bucket: BucketName
    key: Key
    expires: datetime | None = Field(None, description="With a zone; null: 7 days.")


class LinkFact(Model):
    """A public link; its URL is told only when it is made."""

    id: str
    bucket: str
    key: Key
    url: str | None
    created: datetime
    expires: datetime
    uses: int
    last_used: datetime | None


class LinkList(Model):
    """The caller's public links."""

    links: list[LinkFact]


class AuditQuery(Model):
    """A page of the audit log, newest first."""

    before: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class AuditFact(Model):
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str
    action: str
    bucket: str
    detail: str


class AuditList(Model):
    """What the caller did, and what others did to the caller's buckets."""

    entries: list[AuditFact]
