"""Signatures (AWS version 4) for requests that we send and for URLs we hand out.

:class:`Signer` signs headers of our own requests. :class:`Presigner` makes URLs for
browsers: signed for ``/BUCKET/KEY`` at the gateway's own authority, with the
gateway's path prefix put in afterwards, because HAProxy cuts it off again.

The arithmetic is botocore's. Keys are percent-encoded exactly once, all bytes but
the unreserved ones and ``/``, and nothing normalises them later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .values import AccessKey

LONGEST_URL = timedelta(days=7)
"""How long a presigned URL may live, by the protocol."""


def quote_key(key: str) -> str:
    """Return ``key`` as it stands in a path: its bytes, each encoded once."""
    return quote(key.encode("utf-8", "surrogateescape"), safe="-._~/")


def encode_query(query: Mapping[str, str]) -> str:
    """Return a query as the signature wants it: sorted, ``%20`` for a blank."""
    pairs = (
        (_quote_all(name), _quote_all(value)) for name, value in sorted(query.items())
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def object_path(bucket: str, key: str | None) -> str:
    """Return ``/``, ``/BUCKET`` or ``/BUCKET/KEY`` (path style), encoded."""
    if not bucket:
        return "/"
    if key is None:
        return f"/{quote(bucket, safe='-._~')}"
    return f"/{quote(bucket, safe='-._~')}/{quote_key(key)}"


def _quote_all(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="-._~")


def _credentials(key: AccessKey) -> Credentials:
    return Credentials(key.access_key, key.secret_key, key.token)


class Signer:
    """Signs requests to one store.

    Args:
        key: whose signature.
        region: what the store calls its region.
        service: ``"s3"``; ``"sts"`` and ``"iam"`` sign the same in another name.
    """

    def __init__(self, key: AccessKey, region: str, service: str = "s3") -> None:
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        self._auth = kind(_credentials(key), service, region)

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """Return ``headers`` with date, body hash, token and signature."""
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        self._auth.add_auth(request)
        return {str(name): str(value) for name, value in request.headers.items()}


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL that is a right: never logged.

    Attributes:
        url: with the signature.
        headers: must be sent exactly like this, since they are signed too.
    """

    method: str
    url: str
    headers: Mapping[str, str]


class Presigner:
    """Makes URLs that let their bearer do one thing for a while.

    Args:
        key: whose right it is; a URL never outlives the key's own session.
        region: what the store calls its region.
        authority: scheme and authority under which browsers reach the store, e.g.
            ``https://gateway.example.org``.
        prefix: the path on that authority that leads to the store, e.g. ``/s3``;
            it is not signed.
    """

    def __init__(
        self, key: AccessKey, region: str, authority: str, prefix: str = ""
    ) -> None:
        parts = urlsplit(authority)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError(f"not scheme and authority: {authority!r}")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError(f"more than scheme and authority: {authority!r}")
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._prefix = prefix.rstrip("/")
        self._key = key
        self._region = region

    def get(
        self,
        bucket: str,
        key: str,
        lifetime: timedelta,
        *,
        version: str | None = None,
        disposition: str = "attachment",
        content_type: str = "application/octet-stream",
    ) -> PresignedUrl:
        """Return a URL that downloads; the answer never shows as a page.

        Args:
            bucket: the bucket.
            key: the object.
            lifetime: from now.
            version: of the object; ``None`` for the newest.
            disposition: the answer's ``Content-Disposition``; ``""`` leaves it.
            content_type: the answer's type; ``""`` leaves the object's own.
        """
        query = {}
        if version is not None:
            query["versionId"] = version
        if disposition:
            query["response-content-disposition"] = disposition
        if content_type:
            query["response-content-type"] = content_type
        return self.url("GET", bucket, key, lifetime, query=query)

    def put(
        self,
        bucket: str,
        key: str,
        lifetime: timedelta,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> PresignedUrl:
        """Return a URL that uploads one object; ``headers`` are bound to it."""
        return self.url("PUT", bucket, key, lifetime, headers=headers)

    def part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        lifetime: timedelta,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> PresignedUrl:
        """Return a URL that uploads part ``number``; ``headers`` are bound to it."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self.url("PUT", bucket, key, lifetime, query=query, headers=headers)

    def url(
        self,
        method: str,
        bucket: str,
        key: str,
        lifetime: timedelta,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> PresignedUrl:
        """Return a URL for any request to one object.

        Raises:
            ValueError: a lifetime of no time or of more than :data:`LONGEST_URL`.
        """
        if not timedelta(seconds=1) <= lifetime <= LONGEST_URL:
            raise ValueError(f"a URL cannot live for {lifetime}")
        path = object_path(bucket, key)
        target = f"{self._base}{path}"
        if query:
            target += f"?{encode_query(query)}"
        bound = {name.lower(): value for name, value in (headers or {}).items()}
        request = AWSRequest(method=method, url=target, headers=bound)
        S3SigV4QueryAuth(
            _credentials(self._key), "s3", self._region, int(lifetime.total_seconds())
        ).add_auth(request)
        signed = str(request.url).removeprefix(self._base)
        return PresignedUrl(method, f"{self._base}{self._prefix}{signed}", bound)
