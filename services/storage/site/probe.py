"""What a store really does, found by trying it once at the start.

::

    features = await probe(client, driver)      # StoreFeatures
    features.keys.check("a//b")                 # KeyRefused on SeaweedFS
    features.sessions_usable                    # may sessions be given out at all?

Stores accept what they do not do, so nothing is taken from a version or a header.
Each trial has its own names in one bucket and clears up. A trial that cannot be made
counts as "does not", and ``notes`` says why, in words for an operator.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from ..drivers.driver import CredentialDriver
from ..s3.answers import http_moment
from ..s3.client import S3Client
from ..s3.errors import (
    AccessDenied,
    ChecksumMismatch,
    Conflict,
    PreconditionFailed,
    RequestRefused,
    StorageError,
    StoreUnavailable,
)
from ..s3.headers import crc32
from ..s3.object_names import KeyRules
from ..s3.signing import Presigner
from ..s3.transport import S3Request
from ..s3.values import Dialect
from .probe_sessions import SessionsSeen, try_sessions

log = logging.getLogger(__name__)

PROBE_BUCKET = "landbridge-probe"
WRONG_CRC32 = "AAAAAA=="
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StoreFeatures:
    """What was seen.

    Attributes:
        server: what it calls itself; for people only.
        keys: which names it keeps.
        dialect: what a client must know: ``client.with_dialect(features.dialect)``.
        sessions: the driver gave keys that worked.
        session_policy: they were refused outside of their grant.
        no_escape: they cannot get themselves wider keys.
        public_acl_closed: they cannot publish an object by an ACL header.
        revocation: a revoked session was refused at once.
        checksums: a part with a wrong CRC32 is refused.
        conditional_put: ``If-None-Match`` and ``If-Match`` are obeyed.
        versions: a bucket can keep versions.
        urls_bound: headers that a URL's signature does not cover change nothing.
        clock_difference: the store's clock minus ours, as far as it tells.
        notes: what an operator should know.
    """

    server: str = ""
    keys: KeyRules = field(default_factory=KeyRules)
    dialect: Dialect = field(default_factory=Dialect)
    sessions: bool = False
    session_policy: bool = False
    no_escape: bool = False
    public_acl_closed: bool = False
    revocation: bool = False
    checksums: bool = False
    conditional_put: bool = False
    versions: bool = False
    urls_bound: bool = False
    clock_difference: timedelta | None = None
    notes: tuple[str, ...] = ()

    @property
    def sessions_usable(self) -> bool:
        """Whether sessions may be handed to users: they are narrow and closed."""
        narrow = self.session_policy and self.no_escape
        return self.sessions and narrow and self.public_acl_closed


async def probe(
    client: S3Client,
    driver: CredentialDriver | None = None,
    *,
    bucket: str = PROBE_BUCKET,
) -> StoreFeatures:
    """Try the store and return what it does.

    Args:
        client: signed by the broker.
        driver: gives the sessions that are tried; ``None`` for none.
        bucket: is made if it is not there, and kept; nothing of ours stays in it.

    Raises:
        StorageError: it cannot even be written and read.
    """
    trials = _Trials(client, bucket)
    server, clock = await trials.greet()
    await trials.basics()
    dialect, rules = await asyncio.gather(trials.dialect(), trials.key_rules())
    client = trials.speak(dialect)
    seen = await trials.sessions(driver) if driver else SessionsSeen()
    features = StoreFeatures(
        server=server,
        keys=rules,
        dialect=replace(
            dialect,
            single_deletes=seen.single_deletes,
            conditional_deletes=await trials.holds(
                "deletes", trials.conditional_delete
            ),
        ),
        sessions=seen.given,
        session_policy=seen.narrow,
        no_escape=seen.no_escape,
        public_acl_closed=seen.acl,
        revocation=seen.revoked,
        checksums=await trials.holds("checksums", trials.checksums),
        conditional_put=await trials.holds("conditions", trials.conditional_put),
        versions=await trials.holds("versions", trials.versions),
        urls_bound=await trials.holds("URLs", trials.urls_bound),
        clock_difference=clock,
        notes=tuple(trials.notes),
    )
    log.info("The store %s: %s", client.transport.address.endpoint, features)
    return features


async def doubts(client: S3Client, driver: CredentialDriver, bucket: str) -> str:
    """Return why sessions of ``driver`` are not to be handed out; ``""``: they may be.

    For a driver that has no session of its own to show to :func:`probe`.

    Args:
        client: signed by the broker.
        driver: gives the session that is tried.
        bucket: as :func:`probe` left it.
    """
    trials = _Trials(client, bucket)
    seen = await trials.sessions(driver)
    if seen.given and seen.narrow and seen.no_escape and seen.acl:
        return ""
    return " ".join(trials.notes)


class _Trials:
    """The trials, each with names of its own in one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._root = f"probe-{secrets.token_hex(6)}"
        self.notes: list[str] = []

    async def greet(self) -> tuple[str, timedelta | None]:
        call = S3Request("GET", what="greet the store", accept=frozenset({200, 403}))
        answer = await self._client.transport.ask(call)
        theirs = http_moment(answer.headers.get("date"))
        difference = None if theirs is None else theirs - datetime.now(UTC)
        if difference is not None and abs(difference) > _SKEW:
            self.notes.append(f"Its clock differs from ours by {difference}.")
        return answer.headers.get("server", "")[:80], difference

    async def basics(self) -> None:
        if not await self._client.buckets.exists(self._bucket):
            try:
                await self._client.buckets.create(self._bucket)
            except Conflict:
                log.debug("Somebody else just made %s", self._bucket)
        key = f"{self._root}/plain"
        await self._client.put(self._bucket, key, b"plain")
        stored = await self._client.get(self._bucket, key)
        await self._client.delete(self._bucket, key)
        if stored.data != b"plain":
            raise StoreUnavailable("The store gives back other bytes than it got.")

    async def holds(self, what: str, trial: Callable[[], Awaitable[bool]]) -> bool:
        """Whether ``trial`` succeeds; a failure is a no with a note."""
        try:
            return await trial()
        except StorageError as error:
            self.notes.append(f"{what}: {error}")
            return False

    def speak(self, dialect: Dialect) -> S3Client:
        """Go on in the dialect that was found."""
        self._client = self._client.with_dialect(dialect)
        return self._client

    async def dialect(self) -> Dialect:
        blank = await self._plus_is_blank()
        return Dialect(blank, bare_if_match=await self._bare_if_match())

    async def _bare_if_match(self) -> bool:
        """Whether only an ETag without quotation marks is found to be the same."""
        key = f"{self._root}/etag"
        etag = await self._client.put(self._bucket, key, b"1")
        try:
            if await _accepted(
                self._client.put(self._bucket, key, b"2", if_match=etag)
            ):
                return False
            bare = self._client.with_dialect(Dialect(bare_if_match=True))
            return await _accepted(bare.put(self._bucket, key, b"2", if_match=etag))
        finally:
            await self._drop(key)

    async def _plus_is_blank(self) -> bool:
        folder = f"{self._root}/plus/"
        names = {f"{folder}a b", f"{folder}a+b"}
        for name in names:
            await self._client.put(self._bucket, name, b"")
        raw = self._client.with_dialect(Dialect(plus_is_blank=False))
        page = await raw.list(self._bucket, folder)
        for name in names:
            await self._client.delete(self._bucket, name)
        return {item.key for item in page.objects} != names

    async def key_rules(self) -> KeyRules:
        root = self._root
        kept = {
            "empty_segments": await self._kept(f"{root}/two//slashes"),
            "leading_slash": await self._kept(f"/{root}-lead"),
            "backslash": await self._kept(f"{root}/back\\slash"),
            "trailing_slash_body": await self._kept(f"{root}/trail/"),
            "dot_segments": await self._kept(f"{root}/dots/../up")
            and await self._kept(f"{root}/dot/./same"),
            "control_characters": await self._kept(f"{root}/control\x01\n\r"),
        }
        long = await self._kept(f"{root}/{'n' * 256}")
        return KeyRules(**kept, longest_segment=None if long else 255)

    async def _kept(self, key: str) -> bool:
        """Whether ``key`` holds bytes and is listed under exactly its name."""
        data = secrets.token_bytes(16)
        listed_under = self._root if not key.startswith("/") else key
        try:
            await self._client.put(self._bucket, key, data)
            stored = await self._client.get(self._bucket, key)
            page = await self._client.list(self._bucket, listed_under)
        except StorageError:
            return False
        finally:
            await self._drop(key)
        return stored.data == data and key in {item.key for item in page.objects}

    async def _drop(self, key: str) -> None:
        try:
            await self._client.delete(self._bucket, key)
        except StorageError as error:
            log.debug("Cannot delete the trial %r: %s", key, error)

    async def sessions(self, driver: CredentialDriver) -> SessionsSeen:
        seen, notes = await try_sessions(
            self._client, driver, self._bucket, f"{self._root}/sessions"
        )
        self.notes += notes
        return seen

    async def checksums(self) -> bool:
        key = f"{self._root}/checksum"
        data = b"checksum"
        headers = {"x-amz-checksum-crc32": WRONG_CRC32}
        if crc32(data) == WRONG_CRC32:
            raise StorageError("The wrong checksum is right.")
        call = S3Request(
            "PUT", self._bucket, key, headers=headers, body=data, what="try a checksum"
        )
        try:
            await self._client.transport.ask(call)
        except (ChecksumMismatch, RequestRefused):
            return True
        finally:
            await self._drop(key)
        self.notes.append("It takes parts whose CRC32 is wrong.")
        return False

    async def conditional_put(self) -> bool:
        key = f"{self._root}/condition"
        put = self._client.put
        etag = await put(self._bucket, key, b"1", if_none_match=True)
        try:
            if await _accepted(put(self._bucket, key, b"2", if_none_match=True)):
                return False
            if await _accepted(put(self._bucket, key, b"3", if_match="0" * 32)):
                return False
            await put(self._bucket, key, b"4", if_match=etag)
        finally:
            await self._drop(key)
        return True

    async def conditional_delete(self) -> bool:
        key = f"{self._root}/condition"
        etag = await self._client.put(self._bucket, key, b"1")
        delete = self._client.delete
        try:
            if await _accepted(delete(self._bucket, key, if_match="0" * 32)):
                return False
            await delete(self._bucket, key, if_match=etag)
        finally:
            await self._drop(key)
        return True

    async def urls_bound(self) -> bool:
        """Whether who has a URL cannot copy by it what its signer may read.

        Ceph RGW 16.2 obeys ``x-amz-copy-source`` though nobody signed it.
        """
        key, address = self._client.transport.key, self._client.transport.address
        if key is None:
            return False
        source, target = f"{self._root}/secret", f"{self._root}/copied"
        await self._client.put(self._bucket, source, b"secret")
        signed = Presigner(key, address.region, address.endpoint).put(
            self._bucket, target, timedelta(minutes=1)
        )
        call = S3Request(
            "PUT",
            self._bucket,
            target,
            query=dict(parse_qsl(urlsplit(signed.url).query)),
            headers={"x-amz-copy-source": f"/{self._bucket}/{source}"},
            what="try a URL",
        )
        try:
            await self._client.signed_by(None).transport.ask(call)
            if (await self._client.get(self._bucket, target)).data != b"secret":
                return True
        except (AccessDenied, RequestRefused):
            return True
        finally:
            for name in (source, target):
                await self._drop(name)
        self.notes.append("Who has a URL can add headers that nobody signed.")
        return False

    async def versions(self) -> bool:
        """Only asked: to turn versions on leaves traces in the bucket."""
        await self._client.buckets.versioned(self._bucket)
        await self._client.buckets.versions(self._bucket, self._root, limit=1)
        return True


async def _accepted(request: Awaitable[object]) -> bool:
    try:
        await request
    except PreconditionFailed:
        return False
    return True
