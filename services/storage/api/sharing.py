"""Shares with users and groups, and public links, over REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from services.common.web.errors import BadRequest, Forbidden
from services.common.web.paging import LongPageQuery, PageAnswer
from services.common.web.routes import Call, Model, Nothing

from ..access.rights import require_owner
from ..access.shares import Link, Share
from ..drivers.policies import split
from ..registration import WRITE
from ..s3.errors import KeyRefused, NotSupported
from ..s3.values import Grant, Mode
from ..service import Storage
from .downloads import reachable
from .fields import BucketName, Key, ModeName, Prefix

_LINK_LIFE = timedelta(days=7)


class NewShare(Model):
    """A bucket or prefix to be shared with a user or a group of the hub."""

    bucket: BucketName
    prefix: Prefix = ""
    """Only names that begin so; empty: all."""
    mode: ModeName = "read"
    """What may be done."""
    kind: Literal["user", "group"]
    """With whom: one user, or all of a group."""
    name: Annotated[str, Field(min_length=1, max_length=255)]
    """The user's or group's."""
    expires: datetime | None = Field(
        None, description="With a zone; null: the longest."
    )


class ShareFact(Model):
    """A share."""

    id: str
    """Names it."""
    bucket: str
    """The bucket's full name."""
    prefix: str
    """Only names that begin so; empty: all."""
    mode: ModeName
    """What may be done."""
    by: str
    """Who shared it."""
    kind: Literal["user", "group"]
    """With whom: one user, or all of a group."""
    name: str
    """The user's or group's."""
    created: datetime
    """When it was shared."""
    expires: datetime
    """When it ends."""


class ShareList(PageAnswer):
    """A page of what the caller shared."""

    shares: list[ShareFact]
    """The newest first."""


class NewLink(Model):
    """An object that everybody who has the link may download."""

    bucket: BucketName
    key: Key
    expires: datetime | None = Field(None, description="With a zone; null: 7 days.")


class LinkFact(Model):
    """A public link; its URL is told only when it is made."""

    id: str
    """Names it; no secret."""
    bucket: str
    """The bucket's full name."""
    key: Key
    url: str | None
    """Where everybody can download it; null when it is only listed."""
    created: datetime
    """When it was made."""
    expires: datetime
    """When it ends."""
    uses: int
    """How often it was followed."""
    last_used: datetime | None
    """When it was followed last; null: never."""


class LinkList(PageAnswer):
    """A page of the caller's public links."""

    links: list[LinkFact]
    """The newest first."""


def _end_of(storage: Storage, wanted: datetime | None, usual: timedelta) -> datetime:
    """Return when a share or link ends.

    Raises:
        BadRequest: no zone, in the past, or later than the site allows.
    """
    now = datetime.now(UTC)
    if wanted is None:
        return now + min(usual, storage.settings.longest_share)
    if wanted.tzinfo is None:
        raise BadRequest("A time needs a zone.", field="body.expires")
    if not now < wanted <= now + storage.settings.longest_share:
        raise BadRequest(
            "This must be in the future, and not later than "
            f"{storage.settings.longest_share.days} days from now.",
            field="body.expires",
        )
    return wanted.astimezone(UTC)


def _share_fact(share: Share) -> ShareFact:
    return ShareFact(
        id=share.id,
        bucket=share.grant.bucket,
        prefix=share.grant.prefix,
        mode=share.grant.mode.value,
        by=share.by,
        kind="group" if share.kind == "group" else "user",
        name=share.name,
        created=share.created,
        expires=share.expires,
    )


async def create_share(storage: Storage, call: Call, body: NewShare) -> ShareFact:
    """Share a bucket or prefix of the caller's own with a user or group."""
    caller = call.caller
    if storage.connection.own_keys is not None:
        raise NotSupported(
            "Nothing can be shared through keys that users bring.",
            hint="The store's own portal may have a way.",
        )
    rights = await storage.rights(caller.name, sorted(caller.groups))
    await storage.ensure(require_owner(rights, body.bucket))
    mode = Mode(body.mode)
    if mode is Mode.READ_WRITE and not caller.may(WRITE):
        raise Forbidden("This token may only read.", hint=f"It needs {WRITE}.")
    if body.kind == "user" and await storage.people.groups_of(body.name) is None:
        raise BadRequest("There is no such user.", field="body.name")
    if body.kind == "group" and not await storage.people.has_group(body.name):
        raise BadRequest("There is no such group.", field="body.name")
    ends = _end_of(storage, body.expires, storage.settings.longest_share)
    grant = Grant(body.bucket, body.prefix, mode)
    split([grant])  # what no policy can say cannot be shared
    share = await storage.shares.add(caller.name, grant, body.kind, body.name, ends)
    await storage.rows.note(
        caller.name,
        "share",
        body.bucket,
        id=share.id,
        prefix=body.prefix,
        mode=body.mode,
        to=f"{body.kind} {body.name}",
        until=ends.isoformat(),
    )
    return _share_fact(share)


async def list_shares(storage: Storage, call: Call, query: LongPageQuery) -> ShareList:
    """What the caller shares."""
    page = await storage.shares.page(call.caller.name, query)
    return ShareList(shares=page.of(_share_fact), next=page.next)


async def end_share(storage: Storage, call: Call) -> Nothing:
    """End a share; keys and URLs that rest on it are dead when this returns."""
    user = call.caller.name
    share = await storage.shares.end(call.path["id"], user)
    await storage.rows.note(
        user,
        "end-share",
        share.grant.bucket,
        id=share.id,
        prefix=share.grant.prefix,
        to=f"{share.kind} {share.name}",
    )
    await storage.end_dependents(share)
    return Nothing()


def _link_fact(link: Link, url: str | None = None) -> LinkFact:
    return LinkFact(
        id=link.id,
        bucket=link.bucket,
        key=link.key,
        url=url,
        created=link.created,
        expires=link.expires,
        uses=link.uses,
        last_used=link.last_used,
    )


async def create_link(storage: Storage, call: Call, body: NewLink) -> LinkFact:
    """Make a link by which everybody may download one object of the caller's own."""
    caller = call.caller
    if not storage.settings.public_links:
        raise Forbidden("This site allows no public links.")
    rights = await storage.rights(caller.name, sorted(caller.groups))
    await storage.ensure(require_owner(rights, body.bucket))
    if not reachable(body.key):
        raise KeyRefused("A browser cannot ask for this name by a link.")
    await (await storage.client_for(caller.name)).head(body.bucket, body.key)
    ends = _end_of(storage, body.expires, _LINK_LIFE)
    link, secret = await storage.shares.add_link(
        caller.name, body.bucket, body.key, ends
    )
    await storage.rows.note(
        caller.name,
        "make-link",
        body.bucket,
        id=link.id,
        key=body.key,
        until=ends.isoformat(),
    )
    url = storage.page(f"link/{secret}", call.origin)
    return _link_fact(link, url)


async def list_links(storage: Storage, call: Call, query: LongPageQuery) -> LinkList:
    """The caller's public links that still work."""
    page = await storage.shares.links(call.caller.name, query)
    return LinkList(links=page.of(_link_fact), next=page.next)


async def end_link(storage: Storage, call: Call) -> Nothing:
    """End a public link now."""
    user = call.caller.name
    link = await storage.shares.end_link(call.path["id"], user)
    await storage.rows.note(user, "end-link", link.bucket, id=link.id, key=link.key)
    return Nothing()
