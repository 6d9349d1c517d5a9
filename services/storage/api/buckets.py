"""Buckets over REST: who asks, what there is for them, and what it holds."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.exc import IntegrityError

from services.common.web.errors import BadRequest, InTheWay, TooMany
from services.common.web.routes import Call, Model, Nothing

from ..access.rights import Right, own_bucket_name, require_owner
from ..db.usage_rows import Measured
from ..s3.client import S3Client
from ..s3.errors import Conflict, StorageError, StoreUnavailable
from ..s3.values import Mode
from ..service import Storage
from .fields import ModeName

log = logging.getLogger(__name__)

_CLOCKS_DIFFER = timedelta(minutes=1)


class Me(Model):
    """Who asks, and what there is for them."""

    user: str
    """The caller's name at the hub."""
    groups: list[str]
    """The hub's groups that the caller is in."""
    scopes: list[str]
    """What this session or token may."""
    bucket: str = Field(description="The default bucket; empty if there is none.")
    region: str
    """For signatures of S3."""
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
    """Whether the store is the gateway's own."""
    public_links: bool
    """Whether the site allows public links."""
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
    """The size of all objects in it."""
    objects: int
    """How many."""
    measured: datetime
    """When it was counted."""
    complete: bool = Field(description="False: it holds at least this much.")


class Bucket(Model):
    """A bucket, or a prefix of one, that the caller may use."""

    name: str
    """The bucket's full name."""
    prefix: str
    """Only keys that begin so; empty: all of it."""
    mode: ModeName
    """What the caller may do."""
    why: Literal["own", "group", "site", "share", "key"]
    """By what right: her own, her group's, for all of the site, shared with her, or by
    a key that she brought.
    """
    owner: str = Field(description="Who shared it, or the group; else empty.")
    share: str = Field(description="The share's id, or empty.")
    expires: datetime | None
    """When the right ends; null: not by itself."""
    quota: int | None = Field(
        description="Bytes that all buckets of its owner may hold; null: no limit."
    )
    usage: Usage | None
    """What it held when last measured; null: not measured, or only a part is the
    caller's.
    """


class Buckets(Model):
    """Every bucket that the caller may use."""

    buckets: list[Bucket]
    """The strongest right first."""


class NewBucket(Model):
    """A bucket to create; its full name is `OWN--NAME`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$")]
    """The part of the name that the caller chooses."""


async def show_me(storage: Storage, call: Call) -> Me:
    """Who asks, and what there is for them."""
    caller, settings = call.caller, storage.settings
    made = await storage.rows.bucket_count(caller.name)
    store = storage.connection
    own = Right(storage.default_bucket(caller.name), "", Mode.READ_WRITE, "own")
    counted = await storage.quota.counted(own, caller.name)
    return Me(
        user=caller.name,
        groups=sorted(caller.groups),
        scopes=sorted(scope for scope in caller.scopes if scope.startswith("custom:")),
        bucket=storage.default_bucket(caller.name),
        region=settings.region,
        endpoint=store.endpoint,
        gateway=store.gateway,
        path=storage.prefix,
        pages=storage.pages,
        embedded=store.embedded,
        public_links=settings.public_links,
        quota=storage.quota.limit_of(own),
        used=await storage.quota.rows.held(counted),
        credentials="none" if store.driver is None else settings.kind,
        may_create=made < settings.own_buckets,
    )


async def list_buckets(storage: Storage, call: Call) -> Buckets:
    """All that the caller may use, with what it held when last measured."""
    caller = call.caller
    rights = await storage.rights(caller.name, sorted(caller.groups))
    for right in rights:
        await storage.ensure(right)
        storage.quota.used(right.bucket)
    usage = await storage.quota.rows.known([right.bucket for right in rights])
    return Buckets(
        buckets=[_bucket(storage, right, usage.get(right.bucket)) for right in rights],
    )


def _bucket(storage: Storage, right: Right, measured: Measured | None) -> Bucket:
    return Bucket(
        name=right.bucket,
        prefix=right.prefix,
        mode=right.mode.value,
        why=right.why,
        owner=right.owner,
        share=right.share,
        expires=right.expires,
        quota=storage.quota.limit_of(right),
        # What lies beside a shared prefix is not the guest's to know.
        usage=_usage(measured) if measured and not right.prefix else None,
    )


def _usage(measured: Measured) -> Usage:
    return Usage(
        bytes=measured.bytes,
        objects=measured.objects,
        measured=measured.measured,
        complete=measured.complete,
    )


async def create_bucket(storage: Storage, call: Call, body: NewBucket) -> Bucket:
    """Create one more bucket of the caller's own."""
    user = call.caller.name
    name = own_bucket_name(user, body.name)
    most = storage.settings.own_buckets
    if until := await storage.sessions.of_others(name, user):
        raise InTheWay(
            f"Keys that were given out for an earlier bucket {name} are good until "
            f"{until:%H:%M} UTC, and would open this one.",
            hint="Choose another name, or wait until then.",
        )
    try:
        if not await storage.rows.add_bucket(name, user, most=most):
            raise TooMany(
                f"You may have {most} buckets besides your own.", hint="Delete one."
            )
    except IntegrityError:
        raise InTheWay(f"There is a bucket {name} already.") from None
    client, began = await storage.client_for(user), datetime.now(UTC)
    try:
        await client.buckets.create(name)
    except BaseException as error:
        if isinstance(error, Conflict) and await _made_lately(storage, client, name):
            log.info("Bucket %s was made when no answer came", name)
        else:
            await storage.rows.remove_bucket(name)
            if isinstance(error, StoreUnavailable):
                storage.unsure.setdefault(name, began)
            if isinstance(error, Conflict):
                raise InTheWay(f"The store has a bucket {name} already.") from error
            raise
    storage.unsure.pop(name, None)
    await _deny_again(storage, client, name, user)
    await storage.rows.note(user, "create-bucket", name)
    return _bucket(storage, Right(name, "", Mode.READ_WRITE, "own"), None)


async def _deny_again(storage: Storage, client: S3Client, name: str, user: str) -> None:
    """Deny what denied keys of an earlier bucket would open; else there is no bucket.

    Raises:
        StorageError: they may still work, so the bucket was removed.
    """
    if storage.connection.driver is None:
        return
    try:
        await storage.sessions.deny_again(storage.connection.driver, name, user)
    except BaseException:
        with suppress(StorageError):
            await client.buckets.delete(name)
        await storage.rows.remove_bucket(name)
        raise


async def _made_lately(storage: Storage, client: S3Client, name: str) -> bool:
    """Whether a bucket that is there was made by a request whose answer was lost.

    That is one that is empty, and no older than the first of these requests.
    """
    began = storage.unsure.get(name)
    if began is None:
        return False
    for bucket in await client.buckets.list():
        if bucket.name == name and bucket.created is not None:
            young = bucket.created >= began - _CLOCKS_DIFFER
            return young and not (await client.list(name, limit=1)).objects
    return False


async def delete_bucket(storage: Storage, call: Call) -> Nothing:
    """Delete an empty bucket that the caller created."""
    caller, bucket = call.caller, call.path["bucket"]
    rights = await storage.rights(caller.name, sorted(caller.groups))
    require_owner(rights, bucket)
    if bucket == storage.default_bucket(caller.name):
        raise BadRequest(
            "Your own bucket comes with your account and stays.",
            hint="Delete the objects in it instead.",
        )
    await (await storage.client_for(caller.name)).buckets.delete(bucket)
    storage.forget(bucket)
    await storage.rows.remove_bucket(bucket)
    await storage.rows.note(caller.name, "delete-bucket", bucket)
    return Nothing()


async def measure_bucket(storage: Storage, call: Call) -> Usage:
    """What a bucket holds: as measured lately, or measured now."""
    bucket = call.path["bucket"]
    await storage.require(call.caller, bucket, "", Mode.READ)
    return _usage(await storage.quota.of(bucket, call.caller.name))
