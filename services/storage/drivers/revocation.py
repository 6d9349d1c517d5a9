"""Ends sessions before their time: a Deny for each in the bucket's policy.

The one form that SeaweedFS 4.48 and Ceph RGW 16.2 both enforce, within milliseconds,
is the session's exact ARN as principal. Ours are statements whose ``Sid`` holds the
time after which they are pointless::

    {"Sid": "LandbridgeRevoked1764000000", "Effect": "Deny",
     "Principal": {"AWS": ["arn:aws:sts::…:assumed-role/ROLE/alice--1f…"]},
     "Action": "s3:*", "Resource": ["arn:aws:s3:::B", "arn:aws:s3:::B/*"]}

Statements of others stay as they are. S3 has no conditional write of policies, so
each change reads, writes, reads back and compares; one at a time in this process,
and again when another writer came between. A foreign change within the milliseconds
between our read and our write is lost, which no S3 store lets one avoid.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..s3.client import S3Client
from ..s3.errors import NotFound, StorageError
from .policies import VERSION, Statement

log = logging.getLogger(__name__)

LONGEST_BUCKET_POLICY = 20_480
"""Bytes, by the protocol: some 250 revoked sessions of one bucket."""
ROOM_FOR_OWN = LONGEST_BUCKET_POLICY // 2
"""Bytes up to which users may have sessions of their own denied; the rest is for the
ends of shares, which nobody can be made to wait for by a guest's many sessions."""

_SID = re.compile(r"LandbridgeRevoked(\d{9,12})")
_GRAIN = timedelta(minutes=5)
_ATTEMPTS = 6


class Revocations:
    """The sessions that are denied in each bucket.

    Args:
        client: signed by a key that may read and write bucket policies.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._locks: dict[str, asyncio.Lock] = {}

    async def add(
        self, buckets: Sequence[str], arn: str, until: datetime, *, own: bool = False
    ) -> None:
        """Deny the session ``arn`` in ``buckets`` until it has expired anyway.

        Returns when each bucket's policy was read back with it.

        Args:
            buckets: in which it is denied.
            arn: what the store calls the session.
            until: when it expires.
            own: its user's own wish; see :data:`ROOM_FOR_OWN`.

        Raises:
            StorageError: in some bucket the session may still work.
        """
        room = ROOM_FOR_OWN if own else LONGEST_BUCKET_POLICY
        done = await asyncio.gather(
            *(
                self._change(bucket, arn, until, room=room)
                for bucket in dict.fromkeys(buckets)
            ),
            return_exceptions=True,
        )
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure

    async def tidy(self, buckets: Sequence[str]) -> int:
        """Drop the denials of sessions that have expired; return how many.

        A bucket whose policy is not ours to see keeps what it has.
        """
        count = 0
        for bucket in buckets:
            try:
                count += await self._change(bucket, None, None)
            except StorageError as error:
                log.info("Old denials in bucket %s stay: %s", bucket, error)
        return count

    async def _change(
        self,
        bucket: str,
        arn: str | None,
        until: datetime | None,
        room: int = LONGEST_BUCKET_POLICY,
    ) -> int:
        async with self._locks.setdefault(bucket, asyncio.Lock()):
            for _ in range(_ATTEMPTS):
                try:
                    before = await self._client.buckets.policy(bucket)
                except NotFound:
                    return 0  # no bucket: nothing to reach in it
                revision = revised(before, bucket, arn, until, room=room)
                if not revision.changed:
                    return 0
                await self._client.buckets.set_policy(bucket, revision.document)
                kept = await self._client.buckets.policy(bucket)
                if denied(kept) == denied(revision.document):
                    return revision.dropped
        raise StorageError(
            f"The policy of {bucket} does not keep what is written to it.",
            hint="The store ignores bucket policies, or somebody else writes them.",
        )


@dataclass(frozen=True, slots=True)
class Revision:
    """What a bucket's policy becomes.

    Attributes:
        document: the whole of it; ``None`` stands for no policy.
        changed: whether it must be written; stores spell things their own way, so
            that a comparison of documents would not tell.
        dropped: sessions that are no longer denied, as they have expired.
    """

    document: dict[str, Any] | None
    changed: bool
    dropped: int


def denied(document: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the session ARNs that a bucket's policy denies by our statements."""
    principals: set[str] = set()
    for statement in _as_list((document or {}).get("Statement")):
        if _expiry(statement) is not None and statement.get("Effect") == "Deny":
            principals.update(_principals(statement))
    return frozenset(principals)


def revised(
    document: Mapping[str, Any] | None,
    bucket: str,
    arn: str | None,
    until: datetime | None,
    *,
    room: int = LONGEST_BUCKET_POLICY,
    now: datetime | None = None,
) -> Revision:
    """Return the policy with one denial more and without those that have expired.

    Args:
        document: what it is now.
        bucket: whose it is.
        arn: the session that is denied; ``None`` for none.
        until: how long it is.
        room: bytes that it may have with one denial more.
        now: the time.

    Raises:
        StorageError: it would be longer than a store takes.
    """
    now = now or datetime.now(UTC)
    ours: dict[int, set[str]] = {}
    theirs: list[Any] = []
    dropped = 0
    for statement in _as_list((document or {}).get("Statement")):
        expiry = _expiry(statement)
        if expiry is None:
            theirs.append(statement)
        elif expiry <= now.timestamp():
            dropped += len(_principals(statement))
        else:
            ours.setdefault(expiry, set()).update(_principals(statement))
    denied_now = {denial for arns in ours.values() for denial in arns}
    adding = (
        arn is not None and arn not in denied_now and until is not None and until > now
    )
    if arn is not None and until is not None and adding:
        ours.setdefault(_rounded(until), set()).add(arn)
    # Ours first: on RGW 16.2 the last statement decides what the others are worth to
    # a session, and must be the owner's.
    statements = [
        *(_statement(bucket, end, sorted(arns)) for end, arns in sorted(ours.items())),
        *theirs,
    ]
    changed = adding or dropped > 0
    if not statements:
        return Revision(None, changed, dropped)
    whole = {"Version": VERSION, **(document or {}), "Statement": statements}
    length = len(json.dumps(whole, separators=(",", ":")))
    if adding and length > room:
        raise StorageError(
            f"The policy of {bucket} is full: "
            f"it denies {len(denied_now)} sessions already.",
            hint="Wait until some have expired, which takes an hour at most.",
        )
    return Revision(whole, changed, dropped)


def _rounded(until: datetime) -> int:
    """Few statements: the next full five minutes."""
    grain = int(_GRAIN.total_seconds())
    return -(-int(until.timestamp()) // grain) * grain


def _statement(bucket: str, expiry: int, arns: list[str]) -> Statement:
    return {
        "Sid": f"LandbridgeRevoked{expiry}",
        "Effect": "Deny",
        "Principal": {"AWS": arns},
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }


def _expiry(statement: object) -> int | None:
    """When one of our statements may go; ``None`` for everybody else's."""
    if not isinstance(statement, dict):
        return None
    match = _SID.fullmatch(str(statement.get("Sid", "")))
    return int(match[1]) if match else None


def _principals(statement: Mapping[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    named = principal.get("AWS") if isinstance(principal, dict) else principal
    return [str(arn) for arn in _as_list(named)]


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
