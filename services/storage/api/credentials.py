"""Keys for programs over REST: issued, listed and revoked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from services.common.web.errors import BadRequest, Forbidden
from services.common.web.paging import LongPageQuery, PageAnswer
from services.common.web.routes import Call, Model, Nothing

from ..access.rights import Right, fingerprint, require
from ..access.sessions import FOR_BROWSER, IssuedSession
from ..drivers.driver import CredentialDriver
from ..drivers.policies import split
from ..registration import WRITE
from ..s3.errors import GrantRefused, GrantWidened, NotSupported, QuotaExceeded
from ..s3.values import Grant, Mode, Session
from ..service import Storage
from .fields import BucketName, ModeName, Prefix

log = logging.getLogger(__name__)


class GrantModel(Model):
    """A right to a bucket, or to the keys under a prefix."""

    bucket: BucketName
    prefix: Prefix = ""
    """Only names that begin so; empty: all."""
    mode: ModeName = "read-write"
    """What may be done."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


class NewCredentials(Model):
    """Keys to be made; without `grants`, for all that the caller may."""

    grants: Annotated[tuple[GrantModel, ...], Field(max_length=40)] = ()
    """What they shall open; empty: all that the caller may."""
    seconds: Annotated[int, Field(ge=900, le=43_200)] = 3600
    """How long they shall be good; the site may allow less."""
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
    """Names them later; no secret."""
    access_key: str
    """For an S3 client."""
    secret_key: str
    """For an S3 client."""
    session_token: str | None
    """For an S3 client; null: these keys need none."""
    expires: datetime | None
    """When they end; null: not by themselves."""
    grants: list[GrantModel]
    """What they open."""
    left_out: list[GrantModel] = Field(
        description="What had no room in one set of keys: ask for it by `grants`."
    )
    rights: str = Field(description=_RIGHTS)
    endpoint: str
    """Where programs reach S3."""
    region: str
    """For signatures of S3."""


class CredentialFact(Model):
    """Keys that were given out, without the keys."""

    id: str
    """Names them; no secret."""
    purpose: str
    """Who they are for, as was said."""
    grants: list[GrantModel]
    """What they open."""
    created: datetime
    """When they were made."""
    expires: datetime | None
    """When they end; null: not by themselves."""


class CredentialState(CredentialFact):
    """Keys that are still good, and what their user may by now."""

    rights: str = Field(description=_RIGHTS)


class CredentialList(PageAnswer):
    """A page of the caller's keys that are still good."""

    credentials: list[CredentialFact]
    """The newest first."""


def _driver(storage: Storage) -> CredentialDriver:
    driver = storage.connection.driver
    if driver is None:
        raise NotSupported(
            "This store gives no short-lived keys.",
            hint="The site's operators choose `credentials` in the settings.",
        )
    return driver


def _model(grant: Grant) -> GrantModel:
    return GrantModel(bucket=grant.bucket, prefix=grant.prefix, mode=grant.mode.value)


async def issue_credentials(
    storage: Storage, call: Call, body: NewCredentials
) -> Credentials:
    """Keys for an S3 client, for what was asked or for all that the caller may."""
    caller, driver = call.caller, _driver(storage)
    if body.purpose == FOR_BROWSER:
        raise BadRequest("That word is the gateway's own.", field="body.purpose")
    rights = await storage.rights(caller.name, sorted(caller.groups))
    may_write = caller.may(WRITE)
    if storage.connection.own_keys is not None and (body.grants or not may_write):
        raise GrantRefused(
            "Your own key cannot be narrowed: it is lent whole or not at all.",
            hint=f"Ask without grants, with a token that has the scope {WRITE}.",
        )
    if body.grants:
        grants = [Grant(g.bucket, g.prefix, Mode(g.mode)) for g in body.grants]
    else:
        grants = [
            Grant(r.bucket, r.prefix, r.mode if may_write else Mode.READ)
            for r in rights
        ]
    covered: dict[Grant, Right] = {}
    for grant in grants:
        if grant.mode is Mode.READ_WRITE and not may_write:
            raise Forbidden("This token may only read.", hint=f"It needs {WRITE}.")
        right = require(rights, grant)
        await storage.ensure(right)
        writes = grant.mode is Mode.READ_WRITE
        if writes and await storage.quota.full(right, caller.name):
            if body.grants:
                raise QuotaExceeded(f"The quota of bucket {grant.bucket} is used up.")
            grant = replace(grant, mode=Mode.READ)
        covered[grant] = right
    groups = split(list(covered))
    if not groups:
        raise BadRequest("There is no bucket that these keys could be for.")
    session = await _issue(
        storage, driver, caller.name, body, [(g, covered[g]) for g in groups[0]]
    )
    missing = set(covered) - set(session.grants)
    await storage.rows.note(
        caller.name,
        "issue-keys",
        session.grants[0].bucket,
        id=session.name,
        purpose=body.purpose,
        grants=len(session.grants),
    )
    return Credentials(
        id=session.name,
        access_key=session.key.access_key,
        secret_key=session.key.secret_key,
        session_token=session.key.token,
        expires=session.expires,
        grants=[_model(grant) for grant in session.grants],
        left_out=[_model(grant) for grant in covered if grant in missing],
        rights=fingerprint(rights),
        endpoint=storage.connection.endpoint,
        region=storage.settings.region,
    )


async def _issue(
    storage: Storage,
    driver: CredentialDriver,
    user: str,
    wish: NewCredentials,
    rights: Sequence[tuple[Grant, Right]],
) -> Session:
    """Return new keys; without grants asked for, but for buckets that widen keys.

    Raises:
        GrantWidened: all do, or just these were asked for.
    """
    left = list(rights)
    lifetime = min(timedelta(seconds=wish.seconds), storage.settings.session_lifetime)
    while True:
        try:
            return await storage.sessions.issue(
                driver, user, left, lifetime=lifetime, purpose=wish.purpose
            )
        except GrantWidened as error:
            kept = [one for one in left if one[0].bucket not in error.buckets]
            if wish.grants or not kept or len(kept) == len(left):
                raise
            log.warning("%s %s", error, error.hint)
            left = kept


async def list_credentials(
    storage: Storage, call: Call, query: LongPageQuery
) -> CredentialList:
    """The caller's keys that are still good; the keys themselves are not kept."""
    page = await storage.sessions.page(call.caller.name, query)
    return CredentialList(credentials=page.of(_issued), next=page.next)


def _issued(issued: IssuedSession) -> CredentialFact:
    return CredentialFact(
        id=issued.session.name,
        purpose=issued.purpose,
        grants=[_model(grant) for grant in issued.session.grants],
        created=issued.created,
        expires=issued.session.expires,
    )


async def show_credentials(storage: Storage, call: Call) -> CredentialState:
    """Whether some of the caller's keys are still good, and for all that she may."""
    caller = call.caller
    issued = await storage.sessions.get(call.path["id"], caller.name)
    rights = await storage.rights(caller.name, sorted(caller.groups))
    return CredentialState(**dict(_issued(issued)), rights=fingerprint(rights))


async def revoke_credentials(storage: Storage, call: Call) -> Nothing:
    """End some of the caller's keys now."""
    name, user = call.path["id"], call.caller.name
    issued = await storage.sessions.revoke(_driver(storage), name, user)
    bucket = issued.session.grants[0].bucket
    await storage.rows.note(
        user, "revoke-keys", bucket, id=name, purpose=issued.purpose
    )
    return Nothing()
