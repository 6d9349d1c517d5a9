"""Who may use which bucket, decided in this one place.

A person's rights are a list of :class:`Right`: the own bucket, buckets that she made,
those of her groups, what the site's settings give, and what others share with her.
Whatever the service does, it first asks :func:`require` with that list.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from services.common.web.errors import Forbidden, NotThere

from ..s3.values import Grant, Mode
from ..settings import StorageSettings

Why = Literal["own", "group", "site", "share", "key"]

# What a bucket may be called and still be told from those that we make: "--" is ours.
_PLAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
_RESERVED = ("xn--", "sthree-", "amzn-s3-")


@dataclass(frozen=True, slots=True)
class Right:
    """One bucket, or one prefix of it, that somebody may use.

    Attributes:
        bucket, prefix, mode: what.
        why: where the right comes from; only ``own`` may share, and only that and
            ``key`` (a key that the user brought shows it) may delete buckets.
        owner: who shared it, or the group; else ``""``.
        share: the share's id, or ``""``.
        expires: when a share ends.
        via: the group whose members have it; ``""`` if it is the user's own.
    """

    bucket: str
    prefix: str
    mode: Mode
    why: Why
    owner: str = ""
    share: str = ""
    expires: datetime | None = None
    via: str = ""

    def covers(self, grant: Grant) -> bool:
        """Whether it gives everything that ``grant`` asks for."""
        return (
            self.bucket == grant.bucket
            and grant.prefix.startswith(self.prefix)
            and (self.mode is Mode.READ_WRITE or grant.mode is Mode.READ)
        )


def fingerprint(rights: Iterable[Right]) -> str:
    """Return a word that is another one whenever somebody may do other things.

    A share that ended and was given again is another one, and so is a right by another
    group: keys that rest on the first are dead, or will be.
    """
    lines = sorted(
        "\0".join(
            (right.bucket, right.prefix, right.mode.value, right.share, right.via)
        )
        for right in rights
    )
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def bucket_word(name: str) -> str:
    """Return ``name`` as it stands in a bucket's name: never the same for two names.

    Most are left as they are. Others (capitals, ``_``, too long or too short, with
    ``--``) become ``x--`` and a hash, which no other name can be.
    """
    plain = _PLAIN.fullmatch(name) and len(name) > 2 and "--" not in name
    if plain and not name.startswith(_RESERVED):
        return name
    return _hashed(name)


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:15]
    return "x--" + base64.b32encode(digest).decode().lower()


def user_bucket(settings: StorageSettings, user: str) -> str:
    """Return the bucket that belongs to ``user``; ``""`` if users have none."""
    if not settings.acts_alone:
        return ""
    name = settings.user_bucket.replace("{user}", bucket_word(user))
    if name in _lent(settings) or _is_of_a_group(settings, name):
        name = settings.user_bucket.replace("{user}", _hashed(user))
    return name


def _lent(settings: StorageSettings) -> set[str]:
    """The buckets that are there for something else, whatever users are called."""
    return {rule.bucket for rule in settings.buckets} | {settings.probe_bucket}


def _is_of_a_group(settings: StorageSettings, name: str) -> bool:
    if not settings.group_bucket:
        return False
    before, _, after = settings.group_bucket.partition("{group}")
    return name.startswith(before) and name.endswith(after)


def group_bucket(settings: StorageSettings, group: str) -> str:
    """Return the bucket of a group; ``""`` if groups have none."""
    return settings.group_bucket.replace("{group}", bucket_word(group))


def own_bucket_name(user: str, name: str) -> str:
    """Return the full name of one more bucket of ``user``.

    ``--`` stands in no user's word but hashed ones, so it is nobody else's.
    """
    return f"{bucket_word(user)}--{name}"


def site_rights(
    settings: StorageSettings, user: str, groups: Iterable[str]
) -> list[Right]:
    """Return what the settings give to a user: own, groups' and the site's buckets."""
    rights: list[Right] = []
    if settings.user_bucket and settings.acts_alone:
        bucket = user_bucket(settings, user)
        rights.append(Right(bucket, "", Mode.READ_WRITE, "own"))
    member = frozenset(groups)
    if settings.group_bucket and settings.acts_alone:
        for group in sorted(member):
            bucket = group_bucket(settings, group)
            right = Right(bucket, "", Mode.READ_WRITE, "group", owner=group, via=group)
            rights.append(right)
    for rule in settings.buckets:
        right = Right(rule.bucket, rule.prefix, Mode(rule.mode), "site")
        if user in rule.users or "*" in rule.users:
            rights.append(right)
        elif groups_of_it := sorted(member & rule.groups):
            rights.append(replace(right, via=groups_of_it[0]))
    return rights


def require(rights: Sequence[Right], grant: Grant) -> Right:
    """Return the right that covers ``grant``.

    Raises:
        NotThere: there is no such bucket, or it is none of the caller's business.
        Forbidden: the caller may use the bucket, but not so.
    """
    for right in rights:
        if right.covers(grant):
            return right
    if not any(right.bucket == grant.bucket for right in rights):
        raise NotThere(
            f"There is no bucket {grant.bucket} for you.",
            hint="Its owner can share it with you.",
        )
    if grant.mode is Mode.READ_WRITE:
        raise Forbidden(
            f"You may not write there in bucket {grant.bucket}.",
            hint="Ask its owner for a share that allows writing.",
        )
    raise Forbidden(
        f"You may see only a part of bucket {grant.bucket}.",
        hint="The list of buckets tells the prefix.",
    )


def require_owner(rights: Sequence[Right], bucket: str) -> Right:
    """Return the right of the bucket's owner.

    Raises:
        NotThere, Forbidden: the caller is not.
    """
    for right in rights:
        if right.bucket == bucket and right.why in ("own", "key"):
            return right
    require(rights, Grant(bucket, "", Mode.READ))
    raise Forbidden(f"Only the owner of bucket {bucket} may do this.")
