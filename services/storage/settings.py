"""The storage service's section of ``gateway.toml``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from services.common.service import ServiceSection
from spawners.common.settings import Duration, Memory, Section

NAME = "storage"
PAGE = "Storage"

Credentials = Literal["auto", "sts", "web-identity", "keys", "pasted", "none"]


class BucketRule(Section):
    """A bucket, or a prefix of one, that the site lets some people use."""

    bucket: str = Field(description="The bucket's name on the store.")
    prefix: str = Field("", description="Only keys that begin with it; empty: all.")
    users: frozenset[str] = Field(frozenset(), description="Who may; `*`: everybody.")
    groups: frozenset[str] = Field(frozenset(), description="Whose members may.")
    mode: Literal["read", "read-write"] = Field("read", description="What they may.")


class StorageSettings(ServiceSection):
    """Object storage: which store, whose buckets, and for how long keys are good."""

    endpoint: str = Field(
        "",
        description="An S3 store of the site: `https://rgw.example.org`. Empty: the "
        "embedded SeaweedFS, which the service starts.",
    )
    region: str = Field("us-east-1", description="What the store calls its region.")
    ca_file: str = Field(
        "", description="PEM that signs the store's certificate; empty: the system's."
    )
    key_file: str = Field(
        "",
        description="For `endpoint`: file (mode 0600) with two lines, the access key "
        "and the secret key of the one account that the service acts as.",
    )
    credentials: Credentials = Field(
        "auto",
        description="How users get keys. `sts`: the account assumes `role_arn`, cut "
        "down for each user. `web-identity`: the user's own token of the identity "
        "provider does ([auth] kind must be `oidc`). `keys`: the account makes a user "
        "of the store for each set of keys, by `admin_api`. `pasted`: users enter keys "
        "that they have, and the service acts by these. `none`: programs get no keys. "
        "`auto`: `sts` where there is a role or the embedded store, else `none`.",
    )
    role_arn: str = Field(
        "",
        description="For `endpoint`, with `sts` and `web-identity`: the role that is "
        "assumed to make short-lived keys.",
    )
    admin_api: Literal["rgw", "iam"] = Field(
        "rgw",
        description="With `credentials` = `keys`: `rgw` is Ceph's Admin Ops, whose "
        "caps the guide names, `iam` AWS's IAM, asked at `endpoint`.",
    )
    store_timeout: Duration = Field(
        timedelta(seconds=30),
        description="How long the store may be silent before what was asked of it "
        "fails; after that long nothing is tried again.",
    )
    probe_bucket: str = Field(
        "landbridge-probe",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="The bucket in which the service tries the store at its start; it "
        "is made if it is not there, and left empty.",
    )
    route: Literal["gateway", "direct"] = Field(
        "gateway",
        description="How browsers reach the store: through the gateway's own `/s3/` "
        "(no CORS needed), or `direct` at `endpoint`, which has to be another host "
        "name than the gateway's.",
    )
    account: str = Field(
        "",
        description="Where the hub is root: the account that the embedded store runs "
        "as. Empty: the system account `landbridge-store`, which is made if need be; "
        "`root`: none of its own.",
    )
    user_bucket: str = Field(
        "{user}",
        description="The bucket that belongs to each user, made at the first use. "
        "`{user}` is filled in, spelled so that it is a bucket's name. Empty: none.",
    )
    group_bucket: str = Field(
        "",
        description="The bucket that the members of each group share, with `{group}` "
        "to fill in: `group-{group}`. Empty: none.",
    )
    own_buckets: int = Field(
        5, ge=0, description="How many more buckets a user may create."
    )
    user_quota: Memory = Field(
        0,
        description="Most bytes in all buckets of a user together, and in each group's "
        'bucket, such as "100 GB"; 0: no limit.',
    )
    store_quota: Literal["none", "rgw"] = Field(
        "none",
        description="`rgw`: give each bucket the quota in Ceph's gateway, too, which "
        "then refuses also what programs write (caps `buckets=*`).",
    )
    buckets: tuple[BucketRule, ...] = Field(
        (),
        description="Buckets that are there already and who may use them, as tables "
        "`[[storage.buckets]]` with `bucket`, `prefix`, `users`, `groups` and `mode` "
        "(`read` or `read-write`).",
    )
    url_lifetime: Duration = Field(
        timedelta(minutes=15),
        description="How long a URL for one upload or download is good.",
    )
    link_lifetime: Duration = Field(
        timedelta(seconds=30),
        description="How long the URL is good that a public link leads to.",
    )
    session_lifetime: Duration = Field(
        timedelta(hours=1), description="How long keys for programs are good."
    )
    longest_share: Duration = Field(
        timedelta(days=365), description="The longest life of a share or public link."
    )
    public_links: bool = Field(
        default=True, description="Users may make links that need no sign-in."
    )
    usage_every: Duration = Field(
        timedelta(minutes=15),
        description="Time between two measurements of what a bucket holds.",
    )
    upload_lifetime: Duration = Field(
        timedelta(days=7),
        description="An upload that was begun this long ago and not finished is "
        "thrown away.",
    )

    @field_validator("endpoint")
    @classmethod
    def _origin(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", value):
            raise ValueError('must be scheme and host: "https://rgw.example.org"')
        return value.rstrip("/")

    @field_validator("user_bucket")
    @classmethod
    def _per_user(cls, value: str) -> str:
        return _pattern(value, "{user}")

    @field_validator("group_bucket")
    @classmethod
    def _per_group(cls, value: str) -> str:
        return _pattern(value, "{group}")

    @property
    def kind(self) -> Literal["sts", "web-identity", "keys", "pasted", "none"]:
        """How users get keys, decided."""
        if self.credentials == "auto":
            return "sts" if self.role_arn or not self.endpoint else "none"
        return self.credentials

    @property
    def acts_alone(self) -> bool:
        """Whether the service acts by an account of its own, and not by users' keys."""
        return self.credentials != "pasted"

    @model_validator(mode="after")
    def _complete(self) -> StorageSettings:
        if self.endpoint and not self.key_file and self.credentials != "pasted":
            raise ValueError("endpoint needs key_file")
        if not self.endpoint and self.credentials not in ("auto", "sts", "none"):
            raise ValueError(f"credentials = {self.credentials} needs endpoint")
        by_role = self.credentials in ("sts", "web-identity") and self.endpoint
        if by_role and not self.role_arn:
            raise ValueError(f"credentials = {self.credentials} needs role_arn")
        if self.store_quota == "rgw" and not self.endpoint:
            raise ValueError("store_quota = rgw needs endpoint")
        if self.role_arn and self.credentials in ("keys", "pasted", "none"):
            raise ValueError(
                f"role_arn has no use with credentials = {self.credentials}"
            )
        if self.route == "direct" and not self.endpoint:
            raise ValueError("route = direct needs endpoint")
        if self.group_bucket == "{group}":
            raise ValueError(
                "group_bucket needs a part of its own, such as group-{group}: a user "
                "may be called like a group"
            )
        return self


def _pattern(value: str, word: str) -> str:
    rest = value.replace(word, "", 1)
    if value and (word not in value or not re.fullmatch(r"[a-z0-9.-]{0,30}", rest)):
        raise ValueError(f"must hold {word}, and else small letters, digits, - and .")
    if "--" in value:
        raise ValueError("must not hold --, by which users' own buckets are told apart")
    return value
