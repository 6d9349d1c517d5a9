"""Keys by STS: AssumeRole with a session policy, or with a web identity's token.

One broker key and one role that trusts it alone; each session is cut down by its own
policy. The request is a form with ``%20`` for blanks, which every store decodes.
Source: the STS API (2011-06-15), SeaweedFS 4.48 and Ceph RGW 16.2 as they answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..s3.answers import AssumedRole, parse_assumed_role, parse_xml, text_of
from ..s3.client import S3Client
from ..s3.errors import AccessDenied, GrantWidened, NotFound, StoreAnswerInvalid
from ..s3.signing import encode_query
from ..s3.transport import Answer, S3Request
from ..s3.values import Grant, Session
from .driver import LIFETIME, SHORTEST, check_lifetime, new_tag
from .policies import session_name, session_policy
from .revocation import Revocations

_VERSION = "2011-06-15"
_LIMIT = 65_536
_CHECKED_SECONDS = 60.0
_NOT_TRUSTED = (
    "Sign out of the gateway and in again. If that does not help, the gateway's "
    "operators must look at what the store trusts; its log says more."
)


@dataclass(frozen=True, slots=True)
class StsSettings:
    """Which role is assumed.

    Attributes:
        role_arn: as the store writes it.
        longest: sessions that are asked for longer get this.
    """

    role_arn: str
    longest: timedelta = timedelta(hours=1)


class StsDriver:
    """Sessions of the broker's role; see :class:`~.driver.CredentialDriver`.

    Args:
        client: signed by the broker.
        settings: the role.
    """

    name = "sts"
    by_bucket = True

    def __init__(self, client: S3Client, settings: StsSettings) -> None:
        self._client = client
        self._settings = settings
        self.revocations = Revocations(client)
        self._bounds = Bounds(client)
        self._buckets: set[str] = set()

    async def issue(
        self, user: str, grants: Sequence[Grant], lifetime: timedelta = LIFETIME
    ) -> Session:
        """Return a session for exactly ``grants``.

        Raises:
            GrantWidened: a bucket's policy gives it more.
        """
        seconds = check_lifetime(min(lifetime, self._settings.longest))
        name = session_name(user, new_tag())
        form = {
            "RoleArn": self._settings.role_arn,
            "RoleSessionName": name,
            "DurationSeconds": str(seconds),
            "Policy": session_policy(grants),
        }
        role = await ask_sts(self._client, "AssumeRole", form)
        given = tuple(grants)
        session = Session(name, self.name, role.key, given, role.arn, role.expires)
        await self._bounds.check(session)
        return session

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Deny the session in each of its buckets; read back."""
        if session.expires is None or session.expired:
            return
        buckets = [grant.bucket for grant in session.grants]
        self._buckets.update(buckets)
        await self.revocations.add(buckets, session.identity, session.expires, own=own)

    async def escapes(self, session: Session) -> bool:
        """Whether the session may assume its role again, and so be all of it."""
        return await may_assume(self._client, session, self._settings.role_arn)

    async def tidy(self) -> int:
        """Drop the denials of sessions that have expired, in all buckets."""
        names = {bucket.name for bucket in await self._client.buckets.list()}
        return await self.revocations.tidy(sorted(names | self._buckets))


class WebIdentityDriver:
    """Sessions by the identity provider's own token, which the service passes on.

    Args:
        client: signed by a key that may write bucket policies, for revoking; the
            request itself is signed by nobody.
        settings: the role that trusts the provider.
    """

    name = "web-identity"
    by_bucket = True

    def __init__(self, client: S3Client, settings: StsSettings) -> None:
        self._client = client
        self._anonymous = client.signed_by(None)
        self._settings = settings
        self.revocations = Revocations(client)
        self._bounds = Bounds(client)

    async def issue(
        self,
        user: str,
        token: str,
        grants: Sequence[Grant],
        lifetime: timedelta = LIFETIME,
    ) -> Session:
        """Return a session for ``grants``, at most what the role gives this token.

        Raises:
            AccessDenied: the store does not trust the token, or it has expired.
            GrantWidened: a bucket's policy gives the session more.
        """
        seconds = check_lifetime(min(lifetime, self._settings.longest))
        name = session_name(user, new_tag())
        form = {
            "RoleArn": self._settings.role_arn,
            "RoleSessionName": name,
            "DurationSeconds": str(seconds),
            "WebIdentityToken": token,
            "Policy": session_policy(grants),
        }
        try:
            role = await ask_sts(self._anonymous, "AssumeRoleWithWebIdentity", form)
        except AccessDenied as error:
            raise AccessDenied(
                "The store does not take your sign-in at the identity provider.",
                hint=_NOT_TRUSTED,
                code=error.code,
                status=error.status,
            ) from None
        # SeaweedFS leaves the session's ARN out of this answer.
        arn = role.arn or await caller_arn(self._client.signed_by(role.key))
        given = tuple(grants)
        session = Session(name, self.name, role.key, given, arn, role.expires)
        await self._bounds.check(session)
        return session

    async def revoke(self, session: Session, *, own: bool = False) -> None:
        """Deny the session in each of its buckets; read back."""
        if session.expires is None or session.expired:
            return
        buckets = [grant.bucket for grant in session.grants]
        await self.revocations.add(buckets, session.identity, session.expires, own=own)

    async def escapes(self, session: Session) -> bool:
        """Whether the session may assume its role again, and so be all of it."""
        return await may_assume(self._client, session, self._settings.role_arn)

    async def tidy(self) -> int:
        """Drop the denials of sessions that have expired, in all buckets."""
        names = [bucket.name for bucket in await self._client.buckets.list()]
        return await self.revocations.tidy(names)


class Bounds:
    """Whether buckets' own policies leave sessions as narrow as they were made.

    On Ceph RGW 16.2 a session counts as the user who assumed its role. A bucket
    policy that allows that user something allows it to all of her sessions, whatever
    these were cut down to, unless the policy's last statement names the role too, or
    somebody else. So each new session asks for what none is ever granted: the bucket's
    policy, its open uploads, and the names outside of its prefixes. A session that
    gets any of it is given to nobody.

    Args:
        client: any client of the store.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._checked: dict[tuple[str, bool], float] = {}

    async def check(self, session: Session) -> None:
        """Return if the session is narrow in all its buckets, as known for a minute.

        Raises:
            GrantWidened: it is not.
            StorageError: the store does not let one know.
        """
        narrowed = self._client.signed_by(session.key)
        late = time.monotonic() - _CHECKED_SECONDS
        self._checked = {pair: at for pair, at in self._checked.items() if at > late}
        whole = {grant.bucket for grant in session.grants if not grant.prefix}
        pairs = {(grant.bucket, grant.bucket in whole) for grant in session.grants}
        new = sorted(pairs - self._checked.keys())
        wide = await asyncio.gather(
            *(
                self._is_wide(narrowed, bucket, whole=all_of_it)
                for bucket, all_of_it in new
            )
        )
        self._checked |= dict.fromkeys(
            (pair for pair, is_wide in zip(new, wide, strict=True) if is_wide is False),
            time.monotonic(),
        )
        if any(wide):
            raise GrantWidened(
                [
                    bucket
                    for (bucket, _), is_wide in zip(new, wide, strict=True)
                    if is_wide
                ]
            )

    async def _is_wide(
        self, narrowed: S3Client, bucket: str, *, whole: bool
    ) -> bool | None:
        """Whether the session does what it may not; ``None``: there is no bucket."""
        requests: list[Awaitable[object]] = [
            narrowed.buckets.policy(bucket),
            narrowed.uploads.list(bucket, limit=1),
        ]
        if not whole:
            requests.append(narrowed.list(bucket, limit=1))
        answers = await asyncio.gather(*requests, return_exceptions=True)
        if any(isinstance(answer, NotFound) for answer in answers):
            return None
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(
                answer, AccessDenied
            ):
                raise answer
        return not all(isinstance(answer, AccessDenied) for answer in answers)


async def caller_arn(client: S3Client) -> str:
    """Return what policies call the one whose key signs.

    Raises:
        StorageError: the store does not tell, so that nobody could revoke it.
    """
    answer = await _post(client, "GetCallerIdentity", {})
    root = parse_xml(answer.body, "GetCallerIdentityResponse")
    arn = text_of(root, "GetCallerIdentityResult", "Arn")
    if not arn:
        raise StoreAnswerInvalid("The store does not tell a session's ARN.")
    return arn


async def may_assume(client: S3Client, session: Session, role_arn: str) -> bool:
    """Whether ``session`` gets keys of the role without a policy of ours."""
    seconds = str(int(SHORTEST.total_seconds()))
    form = {
        "RoleArn": role_arn,
        "RoleSessionName": "escape",
        "DurationSeconds": seconds,
    }
    try:
        await ask_sts(client.signed_by(session.key), "AssumeRole", form)
    except AccessDenied:
        return False
    return True


async def ask_sts(
    client: S3Client, action: str, form: Mapping[str, str]
) -> AssumedRole:
    """Return what ``action`` gives.

    Raises:
        StorageError: refused; RGW gives no reason.
    """
    answer = await _post(client, action, form)
    return parse_assumed_role(answer.body, action)


async def _post(client: S3Client, action: str, form: Mapping[str, str]) -> Answer:
    body = encode_query({"Action": action, "Version": _VERSION, **form})
    call = S3Request(
        "POST",
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        body=body.encode("ascii"),
        what=f"get keys for {form.get('RoleSessionName', 'a session')}",
        service="sts",
        path="/",
        limit=_LIMIT,
    )
    return await client.transport.ask(call)
