"""The gateway's storage service, as a notebook server asks it for its user's keys.

The service is found beside the hub's API, and asked with the server's own token:
``GET me``, ``GET buckets`` and ``POST credentials`` of its ``api/v1/``.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any  # JSON
from urllib.parse import quote, urlencode, urlsplit

_PATIENCE_SECONDS = 20.0
# A page of 1,000 names of 1,024 bytes, each byte written as \u and four digits.
_LONGEST_ANSWER = 8 * 2**20
_LOOPBACK = ("127.", "localhost", "::1")
_GONE = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class ServiceFailed(Exception):
    """The service gives no answer that can be used; the text is for users.

    Attributes:
        status: of HTTP, as it is passed on.
        final: asking again later makes no sense.
    """

    def __init__(self, message: str, *, status: int = 503, final: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.final = final


@dataclass(frozen=True, slots=True)
class Grant:
    """A right to a bucket, or to what begins with ``prefix`` in it.

    Attributes:
        mode: ``read`` or ``read-write``.
    """

    bucket: str
    prefix: str = ""
    mode: str = "read-write"

    def to_json(self) -> dict[str, str]:
        """Return it as the service takes it."""
        return {"bucket": self.bucket, "prefix": self.prefix, "mode": self.mode}

    def touches(self, bucket: str, prefix: str) -> bool:
        """Whether it gives something of what begins with ``prefix``."""
        apart = not (self.prefix.startswith(prefix) or prefix.startswith(self.prefix))
        return self.bucket == bucket and not apart

    def covers(self, start: str, mode: str) -> bool:
        """Whether all that begins with ``start`` may be used so."""
        return start.startswith(self.prefix) and mode in ("read", self.mode)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of an S3 client, good until ``expires``.

    Attributes:
        id: what the service calls them.
        rights: its word for all that their user might then.
        grants: what they are for.
        left_out: what was asked for, and they are not for.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime
    id: str = ""
    rights: str = ""
    grants: tuple[Grant, ...] = ()
    left_out: tuple[Grant, ...] = ()

    def to_json(self) -> dict[str, str]:
        """Return them in the form of AWS's container credentials."""
        return {
            "AccessKeyId": self.access_key,
            "SecretAccessKey": self.secret_key,
            "Token": self.token,
            "Expiration": self.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where S3 is for programs on this machine.

    Attributes:
        endpoint: a URL.
        region: what the store calls its region.
        bucket: the user's own; ``""`` for none.
        elsewhere: a URL for other machines; ``""`` if there is none.
        own_keys: users bring keys of their own, which nobody can narrow.
    """

    endpoint: str
    region: str
    bucket: str
    elsewhere: str = ""
    own_keys: bool = False

    def to_json(self) -> dict[str, str]:
        """Return it as the loopback address tells it."""
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
        }


@dataclass(frozen=True, slots=True)
class StorageService:
    """The service at ``url`` (its ``api/v1/``).

    Attributes:
        token: of the hub, for this server's user.
        ca_file: PEM that signs the gateway's certificate; ``""``: the system's.
        patience: seconds to wait for an answer.
    """

    url: str
    token: str = field(repr=False)
    ca_file: str = ""
    patience: float = _PATIENCE_SECONDS

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> StorageService | None:
        """Return the service of the hub that started us; ``None`` without a hub."""
        api = environment.get("JUPYTERHUB_API_URL", "").rstrip("/")
        token = environment.get("JUPYTERHUB_API_TOKEN", "")
        if not api.endswith("/hub/api") or not token:
            return None
        base = api.removesuffix("hub/api")
        ca_file = environment.get("JUPYTERHUB_SSL_CLIENT_CA", "")
        return cls(f"{base}services/storage/api/v1/", token, ca_file)

    def with_patience(self, seconds: float) -> StorageService:
        """Return the same, that waits for so long."""
        return replace(self, patience=seconds)

    def place(self) -> Place:
        """Return where S3 is, as programs on this machine reach it.

        Raises:
            ServiceFailed: the service is not there, or S3 cannot be reached.
        """
        me = self._call("GET", "me")
        # Of an embedded store the gateway: its own port may be anybody's for a while.
        endpoint = elsewhere = str(me.get("gateway") or me["endpoint"])
        if _is_loopback(endpoint):
            elsewhere = ""
            if not is_here(urlsplit(self.url).hostname):
                raise ServiceFailed(
                    "The store is on the gateway's machine, and the gateway has no "
                    "address that reaches it from here. Operators: set hub.public_url.",
                    final=True,
                )
        region, bucket = str(me["region"]), str(me.get("bucket") or "")
        own_keys = me.get("credentials") == "pasted"
        return Place(endpoint, region, bucket, elsewhere, own_keys)

    def buckets(self) -> Mapping[str, Any]:
        """Return the service's list of buckets.

        Raises:
            ServiceFailed: it cannot be had.
        """
        return self._call("GET", "buckets")

    def rights(self, bucket: str) -> tuple[Grant, ...]:
        """Return what the user may do in a bucket, in whole or in parts.

        Raises:
            ServiceFailed: it cannot be had.
        """
        buckets = self.buckets().get("buckets") or []
        return _grants(
            [
                {**entry, "bucket": bucket}
                for entry in buckets
                if entry.get("name") == bucket
            ]
        )

    def are_current(self, keys: Keys, *, whole: bool) -> bool:
        """Whether keys are still good and, if ``whole``, for all that their user may.

        Raises:
            ServiceFailed: it cannot be known.
        """
        try:
            state = self._call("GET", f"credentials/{quote(keys.id, safe='')}")
        except ServiceFailed as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return not whole or state.get("rights") == keys.rights

    def objects(self, bucket: str, prefix: str, after: str) -> Mapping[str, Any]:
        """Return one page of what lies under a prefix, from a key on.

        Raises:
            ServiceFailed: it cannot be had.
        """
        query = {"bucket": bucket, "prefix": prefix, "delimiter": ""}
        query |= {"start_after": after} if after else {}
        return self._call("GET", f"objects?{_query(query)}")

    def head(self, bucket: str, key: str) -> Mapping[str, Any]:
        """Return the facts of an object.

        Raises:
            ServiceFailed: there is none (404), or they cannot be had.
        """
        return self._call(
            "GET", f"objects/head?{_query({'bucket': bucket, 'key': key})}"
        )

    def count(
        self, bucket: str, keys: list[str], prefixes: list[str]
    ) -> Mapping[str, Any]:
        """Return how many objects these are, and their bytes.

        Raises:
            ServiceFailed: it cannot be had.
        """
        body = {"bucket": bucket, "keys": keys, "prefixes": prefixes}
        return self._call("POST", "objects/count", body)

    def check_upload(
        self, bucket: str, key: str, size: int, *, overwrite: bool
    ) -> None:
        """Return if the store would keep an object of this name as it is.

        Raises:
            ServiceFailed: it would not, or the user may not write it.
        """
        body = {"bucket": bucket, "key": key, "size": size, "overwrite": overwrite}
        self._call("POST", "urls/upload", body)

    def issue(self, grants: Sequence[Grant], purpose: str) -> Keys:
        """Return new keys.

        Args:
            grants: what they are for; all that the user may if there are none.
            purpose: what the user's list of keys says of them.

        Raises:
            ServiceFailed: they are refused, or cannot be had.
        """
        body: dict[str, object] = {"purpose": purpose}
        if grants:
            body["grants"] = [grant.to_json() for grant in grants]
        found = self._call("POST", "credentials", body)
        return _keys(found)

    def end(self, name: str) -> None:
        """End keys now, by their ``id``.

        Raises:
            ServiceFailed: they may still work, or there are none of that name.
        """
        self._call("DELETE", f"credentials/{quote(name, safe='')}")

    def _call(self, method: str, path: str, body: object = None) -> Mapping[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the hub's own URL
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            method=method,
        )
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.url.startswith("https:"):
            context = ssl.create_default_context(cafile=self.ca_file or None)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(
                request, timeout=self.patience
            ) as answer:
                text = answer.read(_LONGEST_ANSWER + 1)
            if len(text) > _LONGEST_ANSWER:
                raise ServiceFailed("The storage service's answer is too long.")
            document = json.loads(text)
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (OSError, ValueError) as error:
            raise ServiceFailed(
                f"The gateway's storage service does not answer: {error}"
            ) from error
        if not isinstance(document, dict):
            raise ServiceFailed("The storage service answered what nobody expected.")
        return document


def _query(values: Mapping[str, str]) -> str:
    # Names are carried as they are, bytes that are no text among them.
    return urlencode(values, quote_via=quote, safe="", errors="surrogateescape")


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "").startswith(_LOOPBACK)


def _grants(grants: Sequence[Mapping[str, Any]]) -> tuple[Grant, ...]:
    """Return rights, each bucket and prefix as far as the service says."""
    return tuple(
        Grant(
            str(grant["bucket"]),
            str(grant.get("prefix") or ""),
            "read" if grant.get("mode") == "read" else "read-write",
        )
        for grant in grants
    )


def _keys(answer: Mapping[str, Any]) -> Keys:
    soon = datetime.now(UTC) + timedelta(hours=1)
    expires = answer.get("expires")
    try:
        return Keys(
            str(answer["access_key"]),
            str(answer["secret_key"]),
            str(answer.get("session_token") or ""),
            datetime.fromisoformat(str(expires)) if expires else soon,
            str(answer.get("id") or ""),
            str(answer.get("rights") or ""),
            _grants(answer.get("grants") or ()),
            _grants(answer.get("left_out") or ()),
        )
    except (KeyError, ValueError) as error:
        raise ServiceFailed("The storage service answered no keys.") from error


def _refused(error: urllib.error.HTTPError) -> ServiceFailed:
    """Return the service's own words."""
    problem: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        problem = dict(json.loads(error.read(_LONGEST_ANSWER)).get("error") or {})
    words = [str(problem.get("message") or ""), str(problem.get("hint") or "")]
    text = " ".join(word for word in words if word)
    final = error.code in _GONE
    if not text:
        text = f"The storage service answered {error.code} {error.reason}."
        if error.code == HTTPStatus.NOT_FOUND:
            text = "This gateway has no storage service."
    return ServiceFailed(text, status=error.code, final=final)


def is_here(host: str | None) -> bool:
    """Whether ``host`` is this machine: one of its addresses can be bound here."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
            return True
    return False
