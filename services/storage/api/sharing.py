"""Keys for programs, shares, public links and long work over REST."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from services.common.errors import BadRequest, Forbidden
from services.common.spec import Call, Nothing
from services.common.work import Task

from ..access.rights import Right, fingerprint, require, require_owner
from ..access.sessions import FOR_BROWSER, Issued
from ..access.shares import Link, Share
from ..db.rows import NAMED
from ..drivers.driver import CredentialDriver
from ..drivers.policies import split
from ..s3.errors import (
    GrantRefused,
    GrantWidened,
    KeyRefused,
    NotSupported,
    QuotaExceeded,
)
from ..s3.values import Grant, Mode, Session
from ..service import Storage
from ..work.transfers import Order
from . import models as m
from . import models_sharing as s
from .downloads import reachable

log = logging.getLogger(__name__)

WRITE = "custom:storage:write"
_LINK_LIFE = timedelta(days=7)


def _driver(storage: Storage) -> CredentialDriver:
    driver = storage.store.driver
    if driver is None:
        raise NotSupported(
            "This store gives no short-lived keys.",
            hint="The site's operators choose `credentials` in the settings.",
        )
    return driver


def _model(grant: Grant) -> s.GrantModel:
    return s.GrantModel(bucket=grant.bucket, prefix=grant.prefix, mode=grant.mode.value)


async def issue_credentials(storage: Storage, call: Call) -> s.Credentials:
    """Keys for an S3 client, for what was asked or for all that the caller may."""
    caller, b, driver = call.caller, call.body, _driver(storage)
    if b.purpose == FOR_BROWSER:
        raise BadRequest("That word is the gateway's own.", field="body.purpose")
    rights = await storage.rights(caller.name, sorted(caller.groups))
    may_write = caller.may(WRITE)
    if storage.store.own_keys is not None and (b.grants or not may_write):
        raise GrantRefused(
            "Your own key cannot be narrowed: it is lent whole or not at all.",
            hint=f"Ask without grants, with a token that has the scope {WRITE}.",
        )
    if b.grants:
        asked = [Grant(g.bucket, g.prefix, Mode(g.mode)) for g in b.grants]
    else:
        asked = [
            Grant(r.bucket, r.prefix, r.mode if may_write else Mode.READ)
            for r in rights
        ]
    covered: dict[Grant, Right] = {}
    for grant in asked:
        if grant.mode is Mode.READ_WRITE and not may_write:
            raise Forbidden("This token may only read.", hint=f"It needs {WRITE}.")
        right = require(rights, grant)
        await storage.ensure(right)
        writes = grant.mode is Mode.READ_WRITE
        if writes and await storage.meter.full(right, caller.name):
            if b.grants:
                raise QuotaExceeded(f"The quota of bucket {grant.bucket} is used up.")
            grant = replace(grant, mode=Mode.READ)
        covered[grant] = right
    groups = split(list(covered))
    if not groups:
        raise BadRequest("There is no bucket that these keys could be for.")
    session = await _issue(storage, driver, call, [(g, covered[g]) for g in groups[0]])
    missing = set(covered) - set(session.grants)
    await storage.rows.note(
        caller.name,
        "issue-keys",
        session.grants[0].bucket,
        id=session.name,
        purpose=b.purpose,
        grants=len(session.grants),
    )
    return s.Credentials(
        id=session.name,
        access_key=session.key.access_key,
        secret_key=session.key.secret_key,
        session_token=session.key.token,
        expires=session.expires,
        grants=[_model(grant) for grant in session.grants],
        left_out=[_model(grant) for grant in covered if grant in missing],
        rights=fingerprint(rights),
        endpoint=storage.store.endpoint,
        region=storage.settings.region,
    )


async def _issue(
    storage: Storage,
    driver: CredentialDriver,
    call: Call,
    rights: Sequence[tuple[Grant, Right]],
) -> Session:
    """Return new keys; without grants asked for, but for buckets that widen keys.

    Raises:
        GrantWidened: all do, or just these were asked for.
    """
    b, user, left = call.body, call.caller.name, list(rights)
    lifetime = min(timedelta(seconds=b.seconds), storage.settings.session_lifetime)
    while True:
        try:
            return await storage.sessions.issue(
                driver, user, left, lifetime=lifetime, purpose=b.purpose
            )
        except GrantWidened as error:
            kept = [one for one in left if one[0].bucket not in error.buckets]
            if b.grants or not kept or len(kept) == len(left):
                raise
            log.warning("%s %s", error, error.hint)
            left = kept


async def list_credentials(storage: Storage, call: Call) -> s.CredentialList:
    """The caller's keys that are still good; the keys themselves are not kept."""
    found = await storage.sessions.of(call.caller.name)
    return s.CredentialList(credentials=[_issued(issued) for issued in found])


def _issued(issued: Issued) -> s.CredentialFact:
    return s.CredentialFact(
        id=issued.session.name,
        purpose=issued.purpose,
        grants=[_model(grant) for grant in issued.session.grants],
        created=issued.created,
        expires=issued.session.expires,
    )


async def show_credentials(storage: Storage, call: Call) -> s.CredentialState:
    """Whether some of the caller's keys are still good, and for all that she may."""
    caller = call.caller
    issued = await storage.sessions.get(call.path["id"], caller.name)
    rights = await storage.rights(caller.name, sorted(caller.groups))
    return s.CredentialState(**dict(_issued(issued)), rights=fingerprint(rights))


async def revoke_credentials(storage: Storage, call: Call) -> Nothing:
    """End some of the caller's keys now."""
    name, user = call.path["id"], call.caller.name
    issued = await storage.sessions.revoke(_driver(storage), name, user)
    bucket = issued.session.grants[0].bucket
    await storage.rows.note(
        user, "revoke-keys", bucket, id=name, purpose=issued.purpose
    )
    return Nothing()


# -- shares ------------------------------------------------------------------------


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


def _share_fact(share: Share) -> s.ShareFact:
    return s.ShareFact(
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


async def create_share(storage: Storage, call: Call) -> s.ShareFact:
    """Share a bucket or prefix of the caller's own with a user or group."""
    caller, b = call.caller, call.body
    if storage.store.own_keys is not None:
        raise NotSupported(
            "Nothing can be shared through keys that users bring.",
            hint="The store's own portal may have a way.",
        )
    rights = await storage.rights(caller.name, sorted(caller.groups))
    await storage.ensure(require_owner(rights, b.bucket))
    mode = Mode(b.mode)
    if mode is Mode.READ_WRITE and not caller.may(WRITE):
        raise Forbidden("This token may only read.", hint=f"It needs {WRITE}.")
    if b.kind == "user" and await storage.people.groups_of(b.name) is None:
        raise BadRequest("There is no such user.", field="body.name")
    if b.kind == "group" and not await storage.people.has_group(b.name):
        raise BadRequest("There is no such group.", field="body.name")
    ends = _end_of(storage, b.expires, storage.settings.longest_share)
    grant = Grant(b.bucket, b.prefix, mode)
    split([grant])  # what no policy can say cannot be shared
    share = await storage.shares.add(caller.name, grant, b.kind, b.name, ends)
    await storage.rows.note(
        caller.name,
        "share",
        b.bucket,
        id=share.id,
        prefix=b.prefix,
        mode=b.mode,
        to=f"{b.kind} {b.name}",
        until=ends.isoformat(),
    )
    return _share_fact(share)


async def list_shares(storage: Storage, call: Call) -> s.ShareList:
    """What the caller shares."""
    found = await storage.shares.by(call.caller.name)
    return s.ShareList(shares=[_share_fact(share) for share in found])


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
    await storage.settle(share)
    return Nothing()


# -- public links ------------------------------------------------------------------


def _link_fact(link: Link, url: str | None) -> s.LinkFact:
    return s.LinkFact(
        id=link.id,
        bucket=link.bucket,
        key=link.key,
        url=url,
        created=link.created,
        expires=link.expires,
        uses=link.uses,
        last_used=link.last_used,
    )


async def create_link(storage: Storage, call: Call) -> s.LinkFact:
    """Make a link by which everybody may download one object of the caller's own."""
    caller, b = call.caller, call.body
    if not storage.settings.public_links:
        raise Forbidden("This site allows no public links.")
    rights = await storage.rights(caller.name, sorted(caller.groups))
    await storage.ensure(require_owner(rights, b.bucket))
    if not reachable(b.key):
        raise KeyRefused("A browser cannot ask for this name by a link.")
    await (await storage.acting(caller.name)).head(b.bucket, b.key)
    ends = _end_of(storage, b.expires, _LINK_LIFE)
    link, secret = await storage.shares.add_link(caller.name, b.bucket, b.key, ends)
    await storage.rows.note(
        caller.name,
        "make-link",
        b.bucket,
        id=link.id,
        key=b.key,
        until=ends.isoformat(),
    )
    url = storage.page(f"link/{secret}", call.origin)
    return _link_fact(link, url)


async def list_links(storage: Storage, call: Call) -> s.LinkList:
    """The caller's public links that still work."""
    found = await storage.shares.links_by(call.caller.name)
    return s.LinkList(links=[_link_fact(link, None) for link in found])


async def end_link(storage: Storage, call: Call) -> Nothing:
    """End a public link now."""
    user = call.caller.name
    link = await storage.shares.end_link(call.path["id"], user)
    await storage.rows.note(user, "end-link", link.bucket, id=link.id, key=link.key)
    return Nothing()


# -- long work ---------------------------------------------------------------------


def _task(task: Task) -> m.TaskAnswer:
    values = {name: getattr(task, name) for name in m.TaskAnswer.model_fields}
    facts = {k: v for k, v in task.facts.items() if k not in ("user", "groups")}
    failures = [dict(failure) for failure in task.failures]
    return m.TaskAnswer(**values | {"facts": facts, "failures": failures})


async def begin_task(storage: Storage, call: Call) -> m.TaskAnswer:
    """Begin to copy, move or delete a selection."""
    caller, b = call.caller, call.body
    if not (b.source.keys or b.source.prefixes):
        raise BadRequest("Nothing is selected.", field="body.source")
    if (b.kind == "delete") != (b.bucket is None):
        raise BadRequest("Copy and move need a bucket to go to.", field="body.bucket")
    if b.name is not None and len(b.source.keys) + len(b.source.prefixes) != 1:
        raise BadRequest("Only one thing can be given a name.", field="body.name")
    order = Order(
        user=caller.name,
        source=b.source.bucket,
        keys=b.source.keys,
        prefixes=b.source.prefixes,
        target=b.bucket or "",
        prefix=b.prefix,
        name=b.name,
        overwrite=b.overwrite,
    )
    rights = await storage.rights(caller.name, sorted(caller.groups))
    needed = Mode.READ if b.kind == "copy" else Mode.READ_WRITE
    for start in (*order.keys, *order.prefixes):
        require(rights, Grant(order.source, start, needed))
        storage.store.keys.check_own(start)
    if b.bucket is not None:
        right = require(rights, Grant(b.bucket, b.prefix, Mode.READ_WRITE))
        await storage.ensure(right)
        _check_target(order)
    task = await storage.tasks.begin(b.kind, caller.name, asdict(order))
    await storage.rows.note(
        caller.name,
        b.kind,
        order.source,
        id=task.id,
        to=order.target,
        prefix=order.prefix,
        keys=len(order.keys),
        prefixes=len(order.prefixes),
        first=(*order.prefixes, *order.keys)[:NAMED],
    )
    return _task(task)


def _check_target(order: Order) -> None:
    """Refuse to copy something into itself, which would never end."""
    if order.source != order.target:
        return
    for prefix in order.prefixes:
        if order.destination(prefix, prefix).startswith(prefix):
            raise BadRequest("A folder cannot go into itself.", field="body.prefix")
    for key in order.keys:
        if order.destination(key, None) == key:
            raise BadRequest("An object is there already.", field="body.prefix")


async def list_tasks(storage: Storage, call: Call) -> m.TaskList:
    """The caller's newest tasks."""
    found = await storage.tasks.of(call.caller.name)
    return m.TaskList(tasks=[_task(task) for task in found])


async def show_task(storage: Storage, call: Call) -> m.TaskAnswer:
    """How far one of the caller's tasks is."""
    return _task(await storage.tasks.get(call.path["id"], call.caller.name))


async def cancel_task(storage: Storage, call: Call) -> m.TaskAnswer:
    """End one of the caller's tasks at its next step."""
    return _task(await storage.tasks.cancel(call.path["id"], call.caller.name))
