"""Keys by an admin API, for stores without STS: one user each, with an end.

A key's user is called ``lb-EXPIRY-USER--TAG`` (EXPIRY in seconds since 1970), so the
store itself knows when it is due and the reaper needs no list of ours: whatever has
expired is deleted by the next :meth:`AdminUsersDriver.tidy`, also after a crash.
Until the reaper has run, such a key still works: run it every minute.

Two admin APIs: :class:`IamUsers` (IAM 2010-05-08: SeaweedFS) and
:class:`RgwUsers` (Ceph's Admin Ops, whose caps must hold ``users=*``,
``user-policy=*`` and ``metadata=read``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from lxml import etree

from ..s3.answers import parse_xml, tag, text_of
from ..s3.client import S3Client
from ..s3.errors import AccessDenied, NotFound, StorageError, StoreAnswerInvalid
from ..s3.signing import encode_query
from ..s3.transport import Answer, S3Request
from ..s3.values import AccessKey, Grant, Session
from .driver import LIFETIME, check_lifetime, new_tag
from .policies import session_name, session_policy

_NAME = re.compile(r"lb-(\d{10})-(.+--[0-9a-f]{16})")
_POLICY = "landbridge-session"
_LONGEST_NAME = 64


class AdminUsers(Protocol):
    """How a store makes, lists and deletes users."""

    @property
    def denies(self) -> bool:
        """Whether its user policies may hold a Deny."""

    async def create(self, name: str, policy: str) -> AccessKey:
        """Make a user that may do what ``policy`` says, and return its key."""

    async def names(self) -> list[str]:
        """Return the names of all users."""

    async def delete(self, name: str, access_key: str | None) -> None:
        """Delete a user with all its keys; one that is gone is no error."""


class AdminUsersDriver:
    """A user of the store for each session; see ``CredentialDriver``.

    Args:
        client: any client of the store.
        users: its admin API.
    """

    name = "keys"
    by_bucket = False

    def __init__(self, client: S3Client, users: AdminUsers) -> None:
        self._client = client
        self._users = users

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return a new user's key for exactly ``grants``."""
        expires = datetime.now(UTC) + timedelta(seconds=check_lifetime(lifetime))
        unique = new_tag()
        room = _LONGEST_NAME - len("lb-0123456789-")
        shown = session_name(user, unique).removesuffix(f"--{unique}")
        name = f"{shown[: room - 18]}--{unique}"
        account = f"lb-{int(expires.timestamp()):010d}-{name}"
        policy = session_policy(grants, deny=self._users.denies)
        try:
            key = await self._users.create(account, policy)
        except BaseException:
            await self._discard(account)
            raise
        return Session(name, self.name, key, tuple(grants), account, expires)

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Delete the session's user, and see that its key is refused."""
        await self._users.delete(session.identity, session.key.access_key or None)
        if not session.key.access_key:
            # A session of the past, whose key nobody has kept.
            if session.identity in await self._users.names():
                raise StorageError(f"The store still has the user of {session.name}.")
            return
        try:
            await self._client.signed_by(session.key).buckets.list()
        except AccessDenied:
            return
        raise StorageError(
            f"The store still takes the key of {session.name}, whose user is deleted."
        )

    async def escapes(self, session: Session) -> bool:
        """Whether the user may give itself another policy."""
        own = self._client.signed_by(session.key)
        policy = session_policy(session.grants, deny=False)
        try:
            await set_user_policy(own, session.identity, policy)
        except AccessDenied:
            return False
        return True

    async def tidy(self) -> int:
        """Delete the users whose time has passed."""
        now = datetime.now(UTC).timestamp()
        due = [name for name in await self._users.names() if _due(name, now)]
        for name in due:
            await self._users.delete(name, None)
        return len(due)

    async def _discard(self, account: str) -> None:
        try:
            await self._users.delete(account, None)
        except StorageError:
            return  # the reaper finds it by its name


def _due(name: str, now: float) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and int(match[1]) <= now


class IamUsers:
    """The IAM API on the store's own endpoint.

    Args:
        client: signed by a key that may manage users.
        denies: SeaweedFS 4.48 takes ``Allow`` only (and ignores ACL headers).
    """

    def __init__(self, client: S3Client, *, denies: bool = False) -> None:
        self._client = client
        self.denies = denies

    async def create(self, name: str, policy: str) -> AccessKey:
        """Make a user with a policy and a key."""
        # SeaweedFS's spelling; it refuses the name that AWS and its own STS use.
        policy = policy.replace("s3:ListMultipartUploadParts", "s3:ListParts")
        await self._ask("CreateUser", UserName=name)
        await set_user_policy(self._client, name, policy)
        root = await self._ask("CreateAccessKey", UserName=name)
        key = next(_deep(root, "AccessKey"), None)
        if key is None:
            raise StoreAnswerInvalid("The store made a key and does not tell it.")
        return AccessKey(text_of(key, "AccessKeyId"), text_of(key, "SecretAccessKey"))

    async def names(self) -> list[str]:
        """Return the names of all users, page by page."""
        names: list[str] = []
        marker = ""
        while True:
            page = {"Marker": marker} if marker else {}
            root = await self._ask("ListUsers", **page)
            names += [item.text or "" for item in _deep(root, "UserName")]
            more = next(_deep(root, "IsTruncated"), None)
            following = next(_deep(root, "Marker"), None)
            if more is None or more.text != "true" or following is None:
                return names
            if (following.text or "") in {"", marker}:
                raise StoreAnswerInvalid("The store lists its users in circles.")
            marker = following.text or ""

    async def delete(self, name: str, access_key: str | None) -> None:
        """Delete keys, policy and user, in the order that IAM wants."""
        try:
            root = await self._ask("ListAccessKeys", UserName=name)
        except NotFound:
            return
        keys = {item.text or "" for item in _deep(root, "AccessKeyId")}
        for key in keys | ({access_key} if access_key else set()):
            await self._gone("DeleteAccessKey", UserName=name, AccessKeyId=key)
        await self._gone("DeleteUserPolicy", UserName=name, PolicyName=_POLICY)
        await self._gone("DeleteUser", UserName=name)

    async def _gone(self, action: str, **form: str) -> None:
        try:
            await self._ask(action, **form)
        except NotFound:
            return

    async def _ask(self, action: str, **form: str) -> etree._Element:
        answer = await ask_iam(self._client, action, form)
        return parse_xml(answer.body)


class RgwUsers:
    """Ceph RGW's Admin Ops API, and its IAM call for user policies."""

    denies = True

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def create(self, name: str, policy: str) -> AccessKey:
        """Make a user with a policy and a key."""
        query = {"uid": name, "display-name": name, "max-buckets": "-1"}
        user = await self._ask("PUT", "/admin/user", query)
        await set_user_policy(self._client, name, policy)
        try:
            key = user["keys"][0]  # type: ignore[index]
            return AccessKey(str(key["access_key"]), str(key["secret_key"]))
        except (LookupError, TypeError):
            raise StoreAnswerInvalid("The store made a user without a key.") from None

    async def names(self) -> list[str]:
        """Return the names of all users."""
        names = await self._ask("GET", "/admin/metadata/user", {})
        if not isinstance(names, list):
            raise StoreAnswerInvalid("The store lists its users in another way.")
        return [str(name) for name in names]

    async def delete(self, name: str, access_key: str | None) -> None:
        """Delete a user; its keys go with it."""
        try:
            await self._ask("DELETE", "/admin/user", {"uid": name})
        except NotFound:
            return

    async def _ask(self, method: str, path: str, query: Mapping[str, str]) -> object:
        call = S3Request(
            method,
            query={"format": "json", **query},
            what=f"manage user {query.get('uid', '')}",
            path=path,
        )
        answer = await self._client.transport.ask(call)
        if not answer.body.strip():
            return None
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise StoreAnswerInvalid("The store's admin answer is no JSON.") from None


async def set_bucket_quota(client: S3Client, bucket: str, size: int) -> None:
    """Have Ceph's gateway refuse what would make a bucket larger than ``size`` bytes.

    By its Admin Ops; the caps must hold ``buckets=*``.

    Raises:
        StorageError: it does not.
    """
    ask = S3Request(
        "GET",
        query={"format": "json", "bucket": bucket, "stats": "true"},
        what=f"see the owner of {bucket}",
        path="/admin/bucket",
    )
    try:
        owner = json.loads((await client.transport.ask(ask)).body)["owner"]
    except (LookupError, TypeError, ValueError, RecursionError):
        raise StoreAnswerInvalid(
            f"The store does not tell who owns {bucket}."
        ) from None
    # Not as a JSON body, to which 16.2 answers 501.
    limit = {"enabled": "true", "max-size-kb": str(-(-size // 1024))}
    call = S3Request(
        "PUT",
        query={"quota": "", "uid": str(owner), "bucket": bucket, **limit},
        what=f"set the quota of {bucket}",
        path="/admin/bucket",
    )
    await client.transport.ask(call)


async def set_user_policy(client: S3Client, name: str, policy: str) -> None:
    """Give a user its one policy."""
    form = {"UserName": name, "PolicyName": _POLICY, "PolicyDocument": policy}
    await ask_iam(client, "PutUserPolicy", form)


async def ask_iam(client: S3Client, action: str, form: Mapping[str, str]) -> Answer:
    """Return the answer to an IAM call."""
    body = encode_query({"Action": action, "Version": "2010-05-08", **form})
    call = S3Request(
        "POST",
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        body=body.encode("ascii"),
        what=f"{action} {form.get('UserName', '')}".strip(),
        service="iam",
        path="/",
        repeatable=not action.startswith("Create"),
    )
    return await client.transport.ask(call)


def _deep(root: etree._Element, name: str) -> Iterator[etree._Element]:
    """Yield what is called ``name`` anywhere below: stores nest differently."""
    return (element for element in root.iter() if tag(element) == name)
