"""Grants as policies of a session, and refusals as policies of a bucket.

A session policy (2012-10-17) is compact JSON of at most 2,048 characters: stores cut
there, and Ceph RGW 16.2 does not decode blanks written as ``+``. It also denies
public ACL headers, because a session with PutObject could otherwise publish an
object on RGW by one header.

The conditions used are ``s3:prefix`` and ``s3:x-amz-acl`` with ``StringLike``, which
SeaweedFS 4.48 and RGW 16.2 both evaluate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..s3.errors import GrantRefused
from ..s3.values import Grant, Mode

LONGEST_POLICY = 2_048
"""Characters of a session policy, by STS."""
VERSION = "2012-10-17"
_ARN = "arn:aws:s3:::"
# Who may read objects may read what they were before; a store asks for both.
_READ = ("s3:GetObject", "s3:GetObjectVersion")
_WRITE = (
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
# Characters that a policy reads as a pattern or a variable.
_PATTERN = re.compile(r"[*?]|\$\{")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_USER = re.compile(r"[^A-Za-z0-9_=,.@-]")

Statement = dict[str, Any]


def session_policy(grants: Sequence[Grant], *, deny: bool = True) -> str:
    """Return what a session may do, as compact JSON.

    Args:
        grants: what is allowed; nothing else is.
        deny: with the denial of public ACL headers.

    Raises:
        GrantRefused: nothing is granted, a name is a pattern, or it is too long;
            :func:`split` gives several sessions' worth.
    """
    if not grants:
        raise GrantRefused("A session needs at least one bucket.")
    for grant in grants:
        _check(grant)
    text = json.dumps(
        {"Version": VERSION, "Statement": list(_statements(grants, deny=deny))},
        separators=(",", ":"),
    )
    if len(text) > LONGEST_POLICY:
        raise GrantRefused(
            f"{len(grants)} grants make a policy of {len(text)} characters; a store "
            f"takes {LONGEST_POLICY}.",
            hint="Ask for keys to fewer buckets at once.",
        )
    return text


def split(grants: Sequence[Grant]) -> list[tuple[Grant, ...]]:
    """Return the grants in as few groups as have room in one policy each.

    Raises:
        GrantRefused: one alone has not.
    """
    groups: list[list[Grant]] = []
    for grant in grants:
        session_policy([grant])
        if groups and _has_room([*groups[-1], grant]):
            groups[-1].append(grant)
        else:
            groups.append([grant])
    return [tuple(group) for group in groups]


def _has_room(grants: Sequence[Grant]) -> bool:
    try:
        session_policy(grants)
    except GrantRefused:
        return False
    return True


def _check(grant: Grant) -> None:
    if not _BUCKET.fullmatch(grant.bucket):
        raise GrantRefused(f"{grant.bucket!r} is no bucket name.")
    if _PATTERN.search(grant.prefix):
        raise GrantRefused(
            f"The prefix {grant.prefix!r} has a character that policies read as a "
            "pattern (*, ?, ${).",
            hint="Grant a shorter prefix, or rename the folder.",
        )
    if any("\ud800" <= char <= "\udfff" for char in grant.prefix):
        raise GrantRefused("The prefix is no UTF-8, so no policy can hold it.")


def _statements(grants: Sequence[Grant], *, deny: bool) -> Iterable[Statement]:
    whole = sorted({grant.bucket for grant in grants if not grant.prefix})
    if whole:
        yield _allow(
            ["s3:ListBucket", "s3:GetBucketLocation"], [_ARN + name for name in whole]
        )
    prefixes: dict[str, set[str]] = {}
    for grant in grants:
        if grant.prefix and grant.bucket not in whole:
            prefixes.setdefault(grant.bucket, set()).add(grant.prefix)
    for bucket, starts in sorted(prefixes.items()):
        patterns = [f"{prefix}*" for prefix in sorted(starts)]
        condition = {"StringLike": {"s3:prefix": patterns}}
        yield {**_allow(["s3:ListBucket"], [_ARN + bucket]), "Condition": condition}
    readers = {grant for grant in grants if grant.mode is Mode.READ}
    writers = {grant for grant in grants if grant.mode is Mode.READ_WRITE}
    if readers:
        yield _allow(list(_READ), _objects(readers))
    if writers:
        yield _allow([*_READ, *_WRITE], _objects(writers))
        # RGW asks for the bucket's own name before it judges many deletes one by one.
        # Only this action: on SeaweedFS others would open settings of the bucket.
        names = sorted({_ARN + grant.bucket for grant in writers})
        yield _allow(["s3:DeleteObject"], names)
    if writers and deny:
        yield {
            "Effect": "Deny",
            "Action": ["s3:PutObject"],
            "Resource": sorted({f"{_ARN}{grant.bucket}/*" for grant in writers}),
            "Condition": {
                "StringLike": {"s3:x-amz-acl": ["public*", "authenticated*"]}
            },
        }


def _allow(actions: list[str], resources: list[str]) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _objects(grants: Iterable[Grant]) -> list[str]:
    return sorted({f"{_ARN}{grant.bucket}/{grant.prefix}*" for grant in grants})


def session_name(user: str, tag: str) -> str:
    """Return ``USER--TAG`` in the characters of a session name, at most 64 long.

    ``tag`` must be unique for the user and is never cut; a long or odd user name is,
    so that the name is for people and logs, and the tag is what tells sessions apart.

    Raises:
        ValueError: a tag of other characters, or too long.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{4,32}", tag):
        raise ValueError(f"not a session's tag: {tag!r}")
    plain = _USER.sub("_", user)[: 62 - len(tag)] or "_"
    return f"{plain}--{tag}"
