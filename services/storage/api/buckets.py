"""Buckets and objects over REST: each function is one route, and says what it may."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

from services.common.errors import BadRequest, InTheWay, TooMany
from services.common.spec import Call, Nothing

from ..access.rights import Right, own_bucket_name, require_owner
from ..db.rows import AuditEntry
from ..db.usage_rows import Measured
from ..s3.client import S3Client
from ..s3.errors import Conflict, ObjectNotFound, StorageError, StoreUnavailable
from ..s3.values import Mode
from ..service import Storage
from . import models as m
from . import models_sharing as sharing

log = logging.getLogger(__name__)

_LONGEST_COUNT_SECONDS = 15.0
_CLOCKS_DIFFER = timedelta(minutes=1)


async def show_me(storage: Storage, call: Call) -> m.Me:
    """Who asks, and what there is for them."""
    caller, settings = call.caller, storage.settings
    made = await storage.rows.bucket_count(caller.name)
    store = storage.store
    own = Right(storage.default_bucket(caller.name), "", Mode.READ_WRITE, "own")
    counted = await storage.meter.counted(own, caller.name)
    return m.Me(
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
        quota=storage.meter.quota(own),
        used=await storage.meter.rows.held(counted),
        credentials="none" if store.driver is None else settings.kind,
        may_create=made < settings.own_buckets,
    )


async def list_buckets(storage: Storage, call: Call) -> m.Buckets:
    """All that the caller may use, with what it held when last measured."""
    caller = call.caller
    rights = await storage.rights(caller.name, sorted(caller.groups))
    for right in rights:
        await storage.ensure(right)
        storage.meter.used(right.bucket)
    usage = await storage.meter.rows.known([right.bucket for right in rights])
    return m.Buckets(
        buckets=[_bucket(storage, right, usage.get(right.bucket)) for right in rights],
    )


def _bucket(storage: Storage, right: Right, measured: Measured | None) -> m.Bucket:
    return m.Bucket(
        name=right.bucket,
        prefix=right.prefix,
        mode=right.mode.value,
        why=right.why,
        owner=right.owner,
        share=right.share,
        expires=right.expires,
        quota=storage.meter.quota(right),
        # What lies beside a shared prefix is not the guest's to know.
        usage=_usage(measured) if measured and not right.prefix else None,
    )


def _usage(measured: Measured) -> m.Usage:
    return m.Usage(
        bytes=measured.bytes,
        objects=measured.objects,
        measured=measured.measured,
        complete=measured.complete,
    )


async def create_bucket(storage: Storage, call: Call) -> m.Bucket:
    """Create one more bucket of the caller's own."""
    user = call.caller.name
    name = own_bucket_name(user, call.body.name)
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
    client, began = await storage.acting(user), datetime.now(UTC)
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
    if storage.store.driver is None:
        return
    try:
        await storage.sessions.deny_again(storage.store.driver, name, user)
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
    for found in await client.buckets.list():
        if found.name == name and found.created is not None:
            young = found.created >= began - _CLOCKS_DIFFER
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
    await (await storage.acting(caller.name)).buckets.delete(bucket)
    storage.forget(bucket)
    await storage.rows.remove_bucket(bucket)
    await storage.rows.note(caller.name, "delete-bucket", bucket)
    return Nothing()


async def measure_bucket(storage: Storage, call: Call) -> m.Usage:
    """What a bucket holds: as measured lately, or measured now."""
    bucket = call.path["bucket"]
    await storage.require(call.caller, bucket, "", Mode.READ)
    return _usage(await storage.meter.of(bucket, call.caller.name))


async def list_objects(storage: Storage, call: Call) -> m.Page:
    """One page of a bucket's objects and "folders"."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.prefix, Mode.READ)
    client = await storage.acting(call.caller.name)
    page = await client.list(
        q.bucket,
        q.prefix,
        delimiter=q.delimiter,
        token=q.token or None,
        start_after=q.start_after,
        limit=q.limit,
    )
    return m.Page(
        objects=[
            m.Entry(
                key=found.key,
                size=found.size,
                modified=found.modified,
                etag=found.etag,
                storage_class=found.storage_class,
            )
            for found in page.objects
        ],
        prefixes=list(page.prefixes),
        token=page.token,
    )


async def head_object(storage: Storage, call: Call) -> m.Head:
    """The facts of one object."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.key, Mode.READ)
    client = await storage.acting(call.caller.name)
    head = await client.head(q.bucket, q.key, version=q.version or None)
    return m.Head(
        key=head.key,
        size=head.size,
        modified=head.modified,
        etag=head.etag,
        content_type=head.content_type,
        content_encoding=head.content_encoding,
        metadata=dict(head.metadata),
        checksums=dict(head.checksums),
        version=head.version,
        storage_class=head.storage_class,
    )


async def list_versions(storage: Storage, call: Call) -> m.Versions:
    """One page of the versions under a prefix."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.prefix, Mode.READ)
    client = await storage.acting(call.caller.name)
    page = await client.buckets.versions(
        q.bucket,
        q.prefix,
        key_marker=q.key_marker or None,
        version_marker=q.version_marker or None,
    )
    return m.Versions(
        versions=[
            m.VersionEntry(
                key=found.key,
                version=found.version,
                latest=found.latest,
                modified=found.modified,
                size=found.size,
                etag=found.etag,
                deleted=found.deleted,
            )
            for found in page.versions
        ],
        key_marker=page.key_marker,
        version_marker=page.version_marker,
    )


async def show_tags(storage: Storage, call: Call) -> m.Tags:
    """The tags of an object."""
    q = call.query
    await storage.require(call.caller, q.bucket, q.key, Mode.READ)
    client = await storage.acting(call.caller.name)
    return m.Tags(tags=await client.tags(q.bucket, q.key))


async def set_tags(storage: Storage, call: Call) -> m.Tags:
    """Give an object these tags and no others."""
    b = call.body
    await storage.require(call.caller, b.bucket, b.key, Mode.READ_WRITE)
    storage.store.keys.check_own(b.key)
    client = await storage.acting(call.caller.name)
    await client.set_tags(b.bucket, b.key, b.tags)
    return m.Tags(tags=b.tags)


async def count_objects(storage: Storage, call: Call) -> m.Count:
    """What a selection holds: the dry run of a deletion or copy."""
    b = call.body
    if starts := (*b.keys, *b.prefixes):
        await storage.require_all(call.caller, b.bucket, starts, Mode.READ)
    client = await storage.acting(call.caller.name)
    count = size = 0
    complete = True
    try:
        async with asyncio.timeout(_LONGEST_COUNT_SECONDS):
            for key in b.keys:
                # What went since the page was loaded is in nobody's way.
                with suppress(ObjectNotFound):
                    size += (await client.head(b.bucket, key)).size
                    count += 1
            for prefix in b.prefixes:
                async for page in client.pages(b.bucket, prefix):
                    count += len(page.objects)
                    size += sum(found.size for found in page.objects)
    except TimeoutError:
        if count == 0:
            raise StoreUnavailable("The store counts too slowly.") from None
        complete = False
    return m.Count(objects=count, bytes=size, complete=complete)


def _shown(entry: AuditEntry, user: str) -> str:
    """Return the facts of an entry that ``user`` may see.

    What somebody's keys are for may name a notebook, which is nobody else's business.
    """
    if entry.actor == user:
        return entry.detail
    facts: dict[str, object] = json.loads(entry.detail)
    facts.pop("purpose", None)
    return json.dumps(facts)


async def list_audit(storage: Storage, call: Call) -> sharing.AuditList:
    """What the caller did, and what was done to the caller's buckets."""
    caller, q = call.caller, call.query
    rights = await storage.rights(caller.name, sorted(caller.groups))
    own = [right.bucket for right in rights if right.why == "own"]
    found = await storage.rows.audit(caller.name, own, before=q.before, limit=q.limit)
    return sharing.AuditList(
        entries=[
            sharing.AuditFact(
                id=entry.id,
                at=entry.at.astimezone(UTC),
                actor=entry.actor,
                action=entry.action,
                bucket=entry.bucket,
                detail=_shown(entry, caller.name),
            )
            for entry in found
        ]
    )
